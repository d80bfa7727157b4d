"""The macro and micro states scored against their own truth: the encoder's reading of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from pyro_msm import scores
from pyro_msm.analysis.ensemble_file import Ensemble
from pyro_msm.forecasting.layout import MEMORY, SHARE, slices

STATES = ("macro", "micro")
LEVEL = 0.9
LISTS = ("relative_error", "crps", "spread", "rmse", "spread_skill", "coverage")


def part_scores(
    ensemble: Ensemble, trajectories: np.ndarray, memory: int = MEMORY
) -> dict[str, Any]:
    """Scores of the latent paths at the stored times, for each state that the ensemble holds.

    The truth is the mean of the encoder's posterior given the observed truth at each time, which
    the forecast has not seen beyond the first; members are those of the first chain, whose encoder
    it is, since latents of independently trained models cannot be compared.

    Args:
        ensemble: a rollout.
        trajectories: numbers of those that are scored.
        memory: bytes to work with.

    Returns:
        ``macro`` and ``micro``, each with ``relative_error`` of the ensemble mean, fair ``crps``,
        ``spread_skill``, ``coverage`` of the 90 % band, and these ``by_lead_time`` with ``spread``
        and ``rmse``. In units of the state.
    """
    posterior = ensemble.tree["posterior"].to_dataset()
    observed = ensemble.tree["observed_data"].to_dataset()
    found: dict[str, Any] = {}
    for name in STATES:
        if name in posterior and f"encoded_{name}" in observed and posterior[name].size:
            paths = posterior[name].isel(chain=0)
            found[name] = _scored(
                ensemble, paths, observed[f"encoded_{name}"], trajectories, memory
            )
    return found


def _scored(
    ensemble: Ensemble,
    paths: xr.DataArray,
    encoded: xr.DataArray,
    trajectories: np.ndarray,
    memory: int,
) -> dict[str, Any]:
    """Of paths (draw, trajectory, time_full, …) against encoded (trajectory, time_full, …)."""
    time_full = np.asarray(paths["time_full"].values, float)
    stored = np.searchsorted(time_full, ensemble.time)[1:]
    table = scores.ScoreTable(_metrics(), len(trajectories), len(stored))
    each = 4 * paths.sizes["draw"] * int(np.prod(paths.shape[3:]))
    for row, trajectory in enumerate(map(int, trajectories)):
        for times in slices(len(stored), max(1, memory // SHARE // each)):
            place = {"trajectory": [trajectory], "time_full": stored[times]}
            members = paths.isel(place).transpose("draw", "trajectory", "time_full", ...).values
            block = scores.Block(members, encoded.isel(place).values)
            table.add(block, slice(row, row + 1), times)
    return {
        "components": int(np.prod(paths.shape[3:])),
        "relative_error": table.overall("relative_error"),
        "crps": table.overall("crps"),
        "spread_skill": table.overall("spread_skill"),
        "coverage": table.overall("coverage")[0],
        "by_lead_time": {name: _curve(table, name) for name in LISTS},
    }


def _metrics() -> dict[str, scores.Metric]:
    return {
        "relative_error": scores.RelativeError(),
        "crps": scores.FairCRPS(),
        "spread": scores.Spread(),
        "rmse": scores.RootMeanSquareError(),
        "spread_skill": scores.SpreadSkill(),
        "coverage": scores.Coverage([LEVEL]),
    }


def _curve(table: scores.ScoreTable, name: str) -> np.ndarray:
    values = table.by_time(name)
    return values[:, 0] if values.ndim > 1 else values
