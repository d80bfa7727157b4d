"""The Brier score for exceeding a threshold."""

from __future__ import annotations

import numpy as np

from pyro_msm.scores.block import Block
from pyro_msm.scores.metric import Metric, Sums


def at_points(threshold: float | np.ndarray, block: Block) -> np.ndarray:
    """The threshold at each point of a block, whose points run channel by channel: (point,)."""
    given = np.ravel(threshold)
    return np.repeat(given, block.truth.shape[-1] // len(given))


class Brier(Metric):
    """⟨(p − 1[y > threshold])²⟩, where p is the share of members above the threshold.

    Args:
        threshold: in the units of the field: a number, or one for each channel or each point.
        fair: subtracts p(1 − p)/(M − 1), so that ensembles of different sizes can be compared
            (Ferro 2014). With one member the plain score is given.
    """

    def __init__(self, threshold: float | np.ndarray, fair: bool = True) -> None:
        self.threshold = threshold
        self.fair = fair

    def sums(self, block: Block) -> Sums:
        """See ``Metric``."""
        threshold = at_points(self.threshold, block)
        chance = (block.members > threshold).mean(0)
        score = (chance - (block.truth > threshold)) ** 2
        if self.fair and block.size > 1:
            score = score - chance * (1 - chance) / (block.size - 1)
        return {"brier": block.reduce(np.where(block.diverged, np.nan, score))}
