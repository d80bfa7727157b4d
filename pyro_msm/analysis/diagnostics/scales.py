"""What the macro and micro parts of the forecast each do."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyro_msm.analysis.diagnostics.latents import latent_statistics
from pyro_msm.analysis.diagnostics.parts import part_scores
from pyro_msm.analysis.diagnostics.spectra import spectrum_of
from pyro_msm.analysis.ensemble_file import Ensemble
from pyro_msm.forecasting.layout import MEMORY

NAMES = ("mean_macro_part", "mean_micro_part")


class _Moments:
    """Sums of macro part a, micro part b and truth y, over points: (time, channel) each."""

    KEYS = ("a", "b", "y", "aa", "bb", "ab", "yy", "ya", "yb")

    def __init__(self) -> None:
        self.sums: dict[str, np.ndarray] = {}
        self.count: np.ndarray | float = 0.0

    def add(self, macro: np.ndarray, micro: np.ndarray, truth: np.ndarray) -> None:
        """Each (time, channel, x[, y]); points where one is not finite are left out."""
        parts = {"a": macro, "b": micro, "y": truth}
        seen = np.isfinite(macro) & np.isfinite(micro) & np.isfinite(truth)
        axes = tuple(range(2, macro.ndim))
        parts = {key: np.where(seen, part, 0).astype(np.float64) for key, part in parts.items()}
        for key in self.KEYS:
            values = parts[key[0]] * (parts[key[1]] if len(key) == 2 else 1)
            self.sums[key] = self.sums.get(key, 0) + values.sum(axes)
        self.count = self.count + seen.sum(axes)

    def covariances(self, overall: bool) -> dict[str, np.ndarray]:
        """Of each pair, about the mean of each channel, then averaged over channels.

        Over all times, a number, or at each of them, (time,).
        """
        over = (0,) if overall else ()
        count = np.asarray(self.count).sum(over)
        sums = {key: total.sum(over) for key, total in self.sums.items()}
        found = {}
        with np.errstate(invalid="ignore", divide="ignore"):
            for key in self.KEYS[3:]:
                product = sums[key[0]] * sums[key[1]] / count**2
                found[key] = (sums[key] / count - product).mean(-1)
        return found


def scales(
    ensemble: Ensemble, trajectories: np.ndarray, memory: int = MEMORY
) -> dict[str, Any] | None:
    """How the forecast's mean is divided between macro and micro part.

    Args:
        ensemble: a rollout.
        trajectories: numbers of those to look at.
        memory: bytes to work with.

    Returns:
        None where the ensemble holds no parts. Otherwise, with a the macro and b the micro part of
        the ensemble mean and y the truth (clean where it is known), each about its channel's mean:
        ``variance_fraction``: of a, of b and of twice their covariance in Var(a + b), which sum
        to 1; ``explained``: 1 − Var(y − a)/Var(y) and 1 − Var(y − a − b)/Var(y); ``correlation``
        of a and b (``field``) and of their energies over times and trajectories (``energy``);
        ``spectrum`` of each; ``latents``; ``parts``, the states scored against their own truth;
        and ``by_lead_time``.
    """
    posterior = ensemble.tree["posterior"].to_dataset()
    if any(name not in posterior for name in NAMES):
        return None
    source = ensemble.observed if ensemble.clean is None else ensemble.clean
    times = slice(1, len(ensemble.time))
    dims = ensemble.observed.dims[1:]
    spectrum, moments, energies = spectrum_of(ensemble), _Moments(), []
    spectra = {name: np.zeros(len(spectrum.wavenumber)) for name in ("macro", "micro")}
    for trajectory in trajectories:
        parts = [
            posterior[name]
            .isel(trajectory=int(trajectory), time=times)
            .mean("chain")
            .transpose(*dims)
            .values
            for name in NAMES
        ]
        truth, mask = ensemble.truth_of(source, int(trajectory), times)
        truth = truth[0] if mask is None else np.where(mask, truth, np.nan)[0]
        moments.add(parts[0], parts[1], truth)
        for name, part in zip(spectra, parts, strict=True):
            spectra[name] += spectrum(part).mean((0, 1)) / len(trajectories)
        space = tuple(range(2, len(dims)))
        centred = [part - part.mean(space, keepdims=True) for part in parts]
        energies.append(np.stack([(part**2).mean((1, *space)) for part in centred]))
    total, each = moments.covariances(True), moments.covariances(False)
    lists = _shares(each)
    return {
        "against": "noisy" if ensemble.clean is None else "clean",
        **_shares(total),
        "correlation": {
            "field": _correlation(total),
            "energy": _pearson(*np.concatenate(energies, 1)),
        },
        "wavenumber": spectrum.wavenumber,
        "spectrum": spectra,
        "latents": latent_statistics(ensemble, trajectories, memory),
        "parts": part_scores(ensemble, trajectories, memory),
        "by_lead_time": {
            "lead_time": ensemble.lead_time[1:],
            "variance_fraction_macro": lists["variance_fraction"]["macro"],
            "variance_fraction_micro": lists["variance_fraction"]["micro"],
            "explained_by_macro": lists["explained"]["macro"],
            "explained_by_both": lists["explained"]["both"],
            "correlation": _correlation(each),
        },
    }


def _shares(c: dict[str, np.ndarray]) -> dict[str, Any]:
    with np.errstate(invalid="ignore", divide="ignore"):
        whole = c["aa"] + c["bb"] + 2 * c["ab"]
        macro = 1 - (c["yy"] - 2 * c["ya"] + c["aa"]) / c["yy"]
        both = 1 - (c["yy"] - 2 * (c["ya"] + c["yb"]) + whole) / c["yy"]
        return {
            "variance_fraction": {
                "macro": c["aa"] / whole,
                "micro": c["bb"] / whole,
                "covariance": 2 * c["ab"] / whole,
            },
            "explained": {"macro": macro, "both": both},
        }


def _correlation(c: dict[str, np.ndarray]) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return c["ab"] / np.sqrt(c["aa"] * c["bb"])


def _pearson(first: np.ndarray, second: np.ndarray) -> float:
    seen = np.isfinite(first) & np.isfinite(second)
    first, second = first[seen], second[seen]
    if len(first) < 2 or not first.std() or not second.std():
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])
