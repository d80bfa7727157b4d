"""The Brier score for exceeding a threshold."""

from __future__ import annotations

import numpy as np

from pyro_msm.scores.block import Block, Statistic
from pyro_msm.scores.metric import Metric


class Brier(Metric):
    """⟨(p − 1[y > threshold])²⟩, where p is the share of members above the threshold.

    Args:
        threshold: in the units of the field: a number, or one for each point.
        fair: subtracts p(1 − p)/(M − 1), so that ensembles of different sizes can be compared
            (Ferro 2014). With one member the plain score is given.
    """

    def __init__(self, threshold: float | np.ndarray, fair: bool = True) -> None:
        self.threshold = threshold
        self.fair = fair

    def statistics(self, block: Block) -> dict[str, Statistic]:
        """See ``Metric``."""
        chance = (block.members > self.threshold).mean(0)
        score = (chance - (block.truth > self.threshold)) ** 2
        if self.fair and block.size > 1:
            score = score - chance * (1 - chance) / (block.size - 1)
        return {"brier": block.reduce(np.where(block.diverged, np.nan, score))}
