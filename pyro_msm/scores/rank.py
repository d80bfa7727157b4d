"""Where the truth falls among the members: ranks, their histogram, and the PIT."""

from __future__ import annotations

import numpy as np

from pyro_msm.scores.block import Block, Statistic
from pyro_msm.scores.metric import Metric, Sums


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


#: Bins of a rank histogram at most.
BINS = 1000


def rank_bins(members: int) -> int:
    """Bins of the rank histogram of an ensemble: its M + 1 ranks, or 1000 above that."""
    return min(members + 1, BINS)


class RankHistogram(Metric):
    """Frequency of each rank of the truth, (…, bins); flat, 1/bins, for a calibrated ensemble.

    Where there are more than 1000 ranks the bins are equal parts of the PIT. Points in space and
    time are correlated, so the error bar of a bin must come from whole trajectories
    (``ScoreTable.resampled``), not from the number of points.
    """

    def sums(self, block: Block) -> Sums:
        """See ``Metric``."""
        return {"rank": counts(block, rank_bins(block.size))}


def counts(block: Block, bins: int) -> Statistic:
    """How many PIT values of each sample fall into each of ``bins`` equal parts of [0, 1)."""
    bin_of = (block.place * (bins / (block.size + 1))).astype(int)
    samples = block.truth.shape[:2]
    sample = np.arange(np.prod(samples)).reshape(*samples, 1)
    index = (sample * bins + np.minimum(bin_of, bins - 1))[block.observed]
    total = np.bincount(index, minlength=int(np.prod(samples)) * bins).astype(np.float64)
    total = total.reshape(*samples, bins)
    total[(block.diverged & block.observed).any(-1)] = np.nan
    return Statistic(total, block.observed.sum(-1, dtype=np.float64))
