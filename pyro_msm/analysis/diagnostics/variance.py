"""Where the forecast's variance comes from: between models, the dynamics, the observations."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from pyro_msm import scores
from pyro_msm.analysis.ensemble_file import Ensemble, members_of
from pyro_msm.analysis.scored_forecast import Comparison
from pyro_msm.forecasting.layout import slices

PARTS = ("epistemic", "dynamical", "observation")
ONE_CHAIN = "one chain: what models disagree on is not known; train several with --chains"
ONE_DRAW = "one draw a chain: the variance within a chain is not known"


class VarianceSplit:
    """Epistemic, dynamical and observation variance, over all samples and by lead time.

    Epistemic is the variance between the means of independently trained chains; dynamical the one
    within a chain, made by the SDE and by the uncertain initial state; observation the square of
    the noise that the model adds to its members.

    Args:
        ensemble: where the noise and the number of chains stand.
        trajectories: how many there are to add.
    """

    sees: Comparison = "signal"

    def __init__(self, ensemble: Ensemble, trajectories: int) -> None:
        self.chains, self.draws = (ensemble.signal.sizes[d] for d in ("chain", "draw"))
        times = len(ensemble.time) - 1
        metrics = {"parts": scores.TotalVariance(self.chains)}
        self.table = scores.ScoreTable(metrics, trajectories, times)
        self.lead_time = ensemble.lead_time[1:]
        noise = observation_variance(ensemble)
        self.noise = None if noise is None else float(noise.mean())

    def summary(self) -> dict[str, Any]:
        """Means over points, in the squared units of the field, and their shares in the total."""
        epistemic, dynamical = self._known(self.table.overall("parts"))
        parts = dict(zip(PARTS, (epistemic, dynamical, self.noise), strict=True))
        known = {name: float(value) for name, value in parts.items() if value is not None}
        total = None if dynamical is None else sum(known.values())
        lists: dict[str, Any] = {"lead_time": self.lead_time}
        lists |= zip(PARTS, self._known(self.table.by_time("parts").T), strict=False)
        steady = self.noise is not None
        lists["observation"] = np.full(len(self.lead_time), self.noise) if steady else None
        shares = {name: known[name] / total if name in known and total else None for name in PARTS}
        return {
            **parts,
            "total": total,
            "shares": shares,
            "note": self._note(),
            "by_lead_time": lists,
        }

    def _known(self, parts: np.ndarray) -> tuple[Any, Any]:
        """None for the part that so few chains or draws do not have."""
        if self.draws == 1:
            return None, None
        return (parts[0] if self.chains > 1 else None), parts[1]

    def _note(self) -> str | None:
        return ONE_DRAW if self.draws == 1 else ONE_CHAIN if self.chains == 1 else None


def observation_variance(ensemble: Ensemble) -> np.ndarray | None:
    """The variance of the observation noise, (channel,), as the file or else the data have it.

    Chains are averaged: what they disagree on about the noise is not ignorance about the field.
    """
    posterior = ensemble.tree["posterior"].to_dataset()
    label = ensemble.kind.label
    if "observation_std" in posterior:
        squares = posterior["observation_std"].astype(float) ** 2
        spare = [d for d in squares.dims if d != label]
        return np.broadcast_to(squares.mean(spare).values, ensemble.labels)
    noise = ensemble.attrs.get("noise_std")
    if noise is None:
        return None
    return np.broadcast_to(np.asarray(noise, float) ** 2, ensemble.labels)


def variance_fields(tree: xr.DataTree) -> xr.Dataset:
    """The parts at every point, (trajectory, time, channel, x[, y]); ``observation`` is (channel,).

    The first two are unbiased, so ``epistemic`` may be below zero where the chains agree; with one
    chain it is NaN. A few times of a trajectory are in memory at once.

    Args:
        tree: the DataTree of a rollout.
    """
    ensemble = Ensemble(tree)
    dims, shape = ensemble.observed.dims, ensemble.observed.shape
    fields = {name: np.empty(shape) for name in ("epistemic", "dynamical")}
    times = ensemble.pieces(ensemble.signal).times
    chains = ensemble.signal.sizes["chain"]
    for trajectory in range(shape[0]):
        for part in slices(shape[1], times):
            members = members_of(ensemble.signal, trajectory, part)[:, 0]
            parts = scores.variance_parts(members.reshape(chains, -1, *members.shape[1:]))
            for name, values in parts._asdict().items():
                fields[name][trajectory, part] = values
    found: dict[str, Any] = {name: (dims, values) for name, values in fields.items()}
    noise = observation_variance(ensemble)
    if noise is not None:
        found["observation"] = (ensemble.kind.label, noise)
    coords = {d: ensemble.observed[d] for d in dims if d in ensemble.observed.coords}
    return xr.Dataset(found, coords)
