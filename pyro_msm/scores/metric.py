"""A score = statistics of each sample + a function of their means."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from pyro_msm.scores.block import Block, Statistic


class Metric(ABC):
    """A score in the form that streams exactly over blocks of time and trajectory.

    ``statistics`` sums a block sample by sample, a sample being one trajectory at one time; the
    means over any set of samples then go through ``value``: over all of them, at one time, of one
    trajectory, or of a bootstrap resample. (The design of WeatherBench-X's ``metrics/base.py``.)
    """

    @abstractmethod
    def statistics(self, block: Block) -> dict[str, Statistic]:
        """Named sums over the points of each sample of ``block``."""

    def value(self, means: Mapping[str, np.ndarray]) -> np.ndarray:
        """The score from the means of its statistics; by default there is one, the score itself."""
        (mean,) = means.values()
        return mean
