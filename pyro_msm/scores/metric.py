"""A score = sums over each sample + a function of their means."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np

from pyro_msm.scores.block import Block, Statistic

Sums = dict[str, Statistic]


class Metric(ABC):
    """A score in the form that streams exactly, a sample being one trajectory at one time.

    ``sums`` adds up what a block holds of each sample, ``statistics`` makes of the sums of whole
    samples what is averaged over samples, and the means over any set of samples then go through
    ``value``: over all of them, at one time, of one trajectory, or of a bootstrap resample. (The
    design of WeatherBench-X's ``metrics/base.py``, with samples that may come in parts.)

    Attributes:
        whole_fields: how a sample may be cut into parts whose ``sums`` add up. False: into groups
            of points, all members present. True: into groups of members, all points present.
    """

    whole_fields: ClassVar[bool] = False

    @abstractmethod
    def sums(self, block: Block) -> Sums:
        """Named sums over the points of each sample of ``block``, or over its members."""

    def statistics(self, sums: Sums) -> Sums:
        """From the sums of whole samples to what is averaged; by default the sums themselves."""
        return sums

    def value(self, means: Mapping[str, np.ndarray]) -> np.ndarray:
        """The score from the means of its statistics; by default there is one, the score itself."""
        (mean,) = means.values()
        return mean


def add_up(parts: Iterable[Sums]) -> Sums:
    """The sums of whole samples from those of their parts."""
    whole: Sums = {}
    for part in parts:
        for name, (total, weight) in part.items():
            before = whole.get(name, Statistic(np.zeros(()), np.zeros(())))
            whole[name] = Statistic(before.total + total, before.weight + weight)
    return whole
