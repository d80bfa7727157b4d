"""Where the truth falls among the members: ranks, their histogram, and the PIT."""

from __future__ import annotations

import numpy as np

from pyro_msm.scores.block import Block, Statistic
from pyro_msm.scores.metric import Metric


def ranks(members: np.ndarray, truth: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Rank of the truth among the members, 0 … M, ties broken at random.

    Args:
        members: (member, …), finite.
        truth: (…).
        generator: draws the ranks of ties.

    Returns:
        Integers of shape (…), uniform for a calibrated ensemble.
    """
    below = (members < truth).sum(0)
    ties = (members == truth).sum(0)
    return below + generator.integers(0, ties + 1)


def pit(members: np.ndarray, truth: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Randomised probability integral transform (rank + U)/(M + 1), U ~ Unif(0, 1).

    Uniform on (0, 1) for a calibrated ensemble of any size.
    """
    rank = ranks(members, truth, generator)
    return (rank + generator.random(rank.shape)) / (members.shape[0] + 1)


class RankHistogram(Metric):
    """Frequency of each rank of the truth, (…, M + 1); flat, 1/(M+1), for a calibrated ensemble.

    Points in space and time are correlated, so the error bar of a bin must come from whole
    trajectories (``ScoreTable.resampled``), not from the number of points.

    Args:
        seed: root of the random ties, drawn anew for each block.
    """

    def __init__(self, seed: int = 0) -> None:
        self.generator = np.random.default_rng(seed)

    def statistics(self, block: Block) -> dict[str, Statistic]:
        """See ``Metric``."""
        bins = block.size + 1
        below = (block.deviation < 0).sum(-1)
        ties = (block.deviation == 0).sum(-1)
        if ties.any():
            below += self.generator.integers(0, ties + 1)
        samples = block.truth.shape[:2]
        sample = np.arange(np.prod(samples)).reshape(*samples, 1)
        index = (sample * bins + below)[block.observed]
        total = np.bincount(index, minlength=int(np.prod(samples)) * bins).astype(np.float64)
        total = total.reshape(*samples, bins)
        total[(block.diverged & block.observed).any(-1)] = np.nan
        return {"rank": Statistic(total, block.observed.sum(-1, dtype=np.float64))}
