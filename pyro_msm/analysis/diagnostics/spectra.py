"""Do single members have the energy of the truth at every scale."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from pyro_msm import scores
from pyro_msm.analysis.ensemble_file import Ensemble
from pyro_msm.analysis.scored_forecast import Comparison

# Shells with less than this share of the truth's energy are rounding, not physics.
NEGLIGIBLE = 1e-6
PERIODS = 3


def spectrum_of(ensemble: Ensemble) -> scores.Spectrum:
    """The spectrum on the grid of an ensemble; where it says nothing, axes are windowed."""
    axes = ensemble.observed.dims[3:]
    shape = ensemble.observed.shape[3:]
    boundary = np.atleast_1d(ensemble.attrs.get("boundary", "open")).astype(str)
    periodic = [name == "periodic" for name in np.broadcast_to(boundary, len(shape))]
    domain = ensemble.attrs.get("domain")
    if domain is None:
        domain = [_length(ensemble, str(axis)) for axis in axes]
    lengths = np.broadcast_to(np.asarray(domain, float), len(shape))
    return scores.Spectrum(shape, lengths.tolist(), periodic)


def _length(ensemble: Ensemble, axis: str) -> float:
    place = np.asarray(ensemble.observed[axis].values, float)
    return float(np.ptp(place) * len(place) / (len(place) - 1)) if len(place) > 1 else 1.0


class MemberSpectra:
    """Spectra of truth, members and ensemble mean, over all times and in thirds of the horizon.

    Noise-free members against the clean truth where it is known, else both with noise.

    Args:
        ensemble: whose grid it is.
        trajectories: how many there are to add.
    """

    def __init__(self, ensemble: Ensemble, trajectories: int) -> None:
        self.spectrum = spectrum_of(ensemble)
        self.lead_time = ensemble.lead_time[1:]
        metrics = {"spectra": scores.Spectra(self.spectrum)}
        self.table = scores.ScoreTable(metrics, trajectories, len(self.lead_time))
        self.sees: Comparison = "noisy" if ensemble.clean is None else "clean"

    def summary(self) -> dict[str, Any] | None:
        """None where no sample of the truth was observed at all points."""
        truth, members, mean = self.table.overall("spectra")
        if not np.isfinite(truth).all():
            return None
        each = self.table.by_time("spectra")
        return {
            "against": self.sees,
            "wavenumber": self.spectrum.wavenumber,
            "truth": truth,
            "members": members,
            "ensemble_mean": mean,
            "log_ratio_rms": log_ratio(truth, members),
            "periods": [self._period(part) for part in self._parts()],
            "by_lead_time": {"log_ratio_rms": [log_ratio(s[0], s[1]) for s in each]},
        }

    def _parts(self) -> list[slice]:
        edges = np.linspace(0, len(self.lead_time), PERIODS + 1).round().astype(int)
        return [slice(int(a), int(b)) for a, b in pairwise(edges) if b > a]

    def _period(self, part: slice) -> dict[str, Any]:
        truth, members, _ = self.table.between(part).overall("spectra")
        lead = self.lead_time[part]
        return {"from": lead[0], "to": lead[-1], "truth": truth, "members": members}


def log_ratio(truth: np.ndarray, members: np.ndarray) -> float:
    """Root mean square of ln(members/truth) over the shells whose energy is not negligible."""
    seen = truth > NEGLIGIBLE * truth.sum()
    if not seen.any() or not (members[seen] > 0).all():
        return float("nan")
    return float(np.sqrt((np.log(members[seen] / truth[seen]) ** 2).mean()))
