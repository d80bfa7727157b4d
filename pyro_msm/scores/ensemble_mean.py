"""Error of the ensemble mean and the spread that should match it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pyro_msm.scores.block import Block, Statistic
from pyro_msm.scores.metric import Metric, Sums


class RootMeanSquareError(Metric):
    """√⟨(x̄ − y)²⟩ of the ensemble mean x̄."""

    def sums(self, block: Block) -> Sums:
        """See ``Metric``."""
        return {"squared_error": block.reduce(block.error**2)}

    def value(self, means: Mapping[str, np.ndarray]) -> np.ndarray:
        """See ``Metric``."""
        return np.sqrt(means["squared_error"])


class DebiasedMeanSquaredError(Metric):
    """⟨(x̄ − y)² − s²/M⟩: the squared error that infinitely many members would have.

    s² is the ensemble variance with divisor M − 1. NaN with one member.
    """

    def sums(self, block: Block) -> Sums:
        """See ``Metric``."""
        return {"squared_error": block.reduce(block.error**2 - block.variance / block.size)}


class Spread(Metric):
    """√⟨(M+1)/M · s²⟩, which equals the root-mean-square error of a calibrated ensemble.

    NaN with one member.
    """

    def sums(self, block: Block) -> Sums:
        """See ``Metric``."""
        return {"variance": _corrected_variance(block)}

    def value(self, means: Mapping[str, np.ndarray]) -> np.ndarray:
        """See ``Metric``."""
        return np.sqrt(means["variance"])


class SpreadSkill(Metric):
    """√((M+1)/M) · √(⟨s²⟩ / ⟨(x̄ − y)²⟩) (Fortin et al. 2014): 1 when the spread is honest.

    Squares are averaged first and the root taken last. Below 1 the ensemble is too narrow, above 1
    too wide. NaN with one member.
    """

    def sums(self, block: Block) -> Sums:
        """See ``Metric``."""
        return {
            "variance": _corrected_variance(block),
            "squared_error": block.reduce(block.error**2),
        }

    def value(self, means: Mapping[str, np.ndarray]) -> np.ndarray:
        """See ``Metric``."""
        return np.sqrt(means["variance"] / means["squared_error"])


def _corrected_variance(block: Block) -> Statistic:
    return block.reduce(block.variance * ((block.size + 1) / block.size))
