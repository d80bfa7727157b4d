"""Scores at each point of space, averaged over trajectories and lead times."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pyro_msm import scores
from pyro_msm.analysis.ensemble_file import Ensemble, blocks, members_of


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
    space = ensemble.observed.shape[2:]
    names = ("rmse", "spread", "crps", *(["coverage"] if members > 1 else []))
    sums = {name: np.zeros(int(np.prod(space))) for name in names}
    count = np.zeros(int(np.prod(space)))
    known = ensemble.clean is not None
    truth_source = ensemble.clean if ensemble.clean is not None else ensemble.observed
    member_source = ensemble.signal if known else ensemble.predictive
    rank = scores.order_statistic_level(members, level)[0] if members > 1 else 0
    for trajectory in trajectories:
        for times in blocks(ensemble, members):
            truth, mask = ensemble.truth_of(truth_source, int(trajectory), times)
            block = scores.Block(members_of(member_source, int(trajectory), times), truth, mask)
            parts = {
                "rmse": block.error**2,
                "spread": block.variance * (members + 1) / members,
                "crps": scores.fair_crps(block.members, block.truth),
            }
            if rank:
                low, high = block.deviation[..., rank - 1], block.deviation[..., members - rank]
                parts["coverage"] = np.where(block.diverged, np.nan, (low <= 0) & (high >= 0))
            for name, values in parts.items():
                sums[name] += np.where(block.observed, values, 0).sum((0, 1))
            count += block.observed.sum((0, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        means = {name: np.where(count > 0, total / count, np.nan) for name, total in sums.items()}
        for name in ("rmse", "spread"):
            means[name] = np.sqrt(means[name])
    dims = ensemble.observed.dims[2:]
    found = {name: (dims, values.reshape(space)) for name, values in means.items()}
    coords = {d: ensemble.observed[d] for d in dims if d in ensemble.observed.coords}
    return xr.Dataset(found, coords, {"against": "clean" if known else "noisy"})
