"""Scores at each point of space, averaged over trajectories and lead times."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pyro_msm import scores
from pyro_msm.analysis.ensemble_file import Ensemble, members_of
from pyro_msm.forecasting.layout import slices


def score_maps(ensemble: Ensemble, trajectories: np.ndarray, level: float = 0.9) -> xr.Dataset:
    """``rmse``, ``spread``, ``crps`` and ``coverage`` over space, each (channel, x[, y]).

    Noise-free members against the clean truth where it is known, else both with noise. A point is
    NaN where it was never observed or where a member diverged. Spread includes √((M+1)/M).

    Args:
        ensemble: a rollout.
        trajectories: numbers of those to average over.
        level: of the band behind ``coverage``, which is left out with one member.
    """
    members = ensemble.members
    known = ensemble.clean is not None
    truth_source = ensemble.clean if ensemble.clean is not None else ensemble.observed
    member_source = ensemble.signal if known else ensemble.predictive
    names = ("rmse", "spread", "crps", *(["coverage"] if members > 1 else []))
    sums = {name: np.zeros(ensemble.shape) for name in (*names, "count")}
    pieces = ensemble.pieces(member_source)
    for trajectory in map(int, trajectories):
        for times in slices(len(ensemble.time), pieces.times, first=1):
            for rows in slices(ensemble.shape[1], pieces.rows):
                truth, mask = ensemble.truth_of(truth_source, trajectory, times, rows)
                found = members_of(member_source, trajectory, times, rows=rows)
                block = scores.Block(found, truth, mask)
                parts = _scores(block, level) | {"count": np.ones(block.truth.shape)}
                for name in sums:
                    values = np.where(block.observed, parts[name], 0).sum((0, 1))
                    sums[name][:, rows] += values.reshape(truth.shape[2:])
    count = sums.pop("count")
    with np.errstate(invalid="ignore", divide="ignore"):
        means = {name: np.where(count > 0, total / count, np.nan) for name, total in sums.items()}
        for name in ("rmse", "spread"):
            means[name] = np.sqrt(means[name])
    dims = ensemble.observed.dims[2:]
    maps = {name: (dims, values) for name, values in means.items()}
    coords = {d: ensemble.observed[d] for d in dims if d in ensemble.observed.coords}
    return xr.Dataset(maps, coords, {"against": "clean" if known else "noisy"})


def _scores(block: scores.Block, level: float) -> dict[str, np.ndarray]:
    """At each point of each sample, (trajectory, time, point)."""
    found = {
        "rmse": block.error**2,
        "spread": block.variance * (block.size + 1) / block.size,
        "crps": scores.fair_crps(block.members, block.truth),
    }
    if block.size > 1:
        rank, _ = scores.order_statistic_level(block.size, level)
        low, high = block.deviation[..., rank - 1], block.deviation[..., block.size - rank]
        found["coverage"] = np.where(block.diverged, np.nan, (low <= 0) & (high >= 0))
    return found
