"""How often central intervals of the ensemble hold the truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pyro_msm.scores.block import Block, Statistic
from pyro_msm.scores.metric import Metric, Sums


def order_statistic_level(members: int, level: float) -> tuple[int, float]:
    """The central interval of ``members`` order statistics that is nearest to ``level``.

    The interval [x₍ₖ₎, x₍M+1−k₎] of a calibrated ensemble holds the truth with probability
    (M + 1 − 2k)/(M + 1). Interpolated quantiles have no such exact level at small M.

    Returns:
        k (from 1), and the exact level of the interval.

    Raises:
        ValueError: fewer than two members, or a level outside (0, 1).

    Example:
        >>> order_statistic_level(79, 0.9)
        (4, 0.9)
    """
    if members < 2:
        raise ValueError(f"an interval needs at least 2 members, got {members}")
    if not 0 < level < 1:
        raise ValueError(f"expected a level between 0 and 1, got {level}")
    candidates = np.arange(1, members // 2 + 1)
    nominal = (members + 1 - 2 * candidates) / (members + 1)
    best = int(np.argmin(np.abs(nominal - level)))
    return int(candidates[best]), float(nominal[best])


class Coverage(Metric):
    """Fraction of the observed points inside the central intervals, (…, level).

    Both ends belong to the interval. NaN with one member.

    Args:
        levels: the wished levels; ``order_statistic_level`` gives the exact ones.
    """

    def __init__(self, levels: Sequence[float]) -> None:
        self.levels = tuple(levels)

    def sums(self, block: Block) -> Sums:
        """See ``Metric``."""
        parts = [block.reduce(self._inside(block, level)) for level in self.levels]
        return {"inside": Statistic(np.stack([p.total for p in parts], -1), parts[0].weight)}

    @staticmethod
    def _inside(block: Block, level: float) -> np.ndarray:
        if block.size < 2:
            return np.full(block.truth.shape, np.nan)
        k, _ = order_statistic_level(block.size, level)
        low, high = block.deviation[..., k - 1], block.deviation[..., block.size - k]
        return np.where(block.diverged, np.nan, (low <= 0) & (high >= 0))
