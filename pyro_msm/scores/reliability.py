"""Do events forecast with probability p happen with frequency p."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pyro_msm.scores.block import Block, Statistic
from pyro_msm.scores.brier import at_points
from pyro_msm.scores.metric import Metric, Sums


class Reliability(Metric):
    """Forecast probability, observed frequency and share of points in bins, (…, 3, bins).

    The event is exceeding a threshold, its probability the share of members above. The bins divide
    [0, 1] evenly, the upper end belongs to the last one. The first two are NaN in an empty bin.

    Args:
        threshold: as for ``Brier``.
        bins: number of bins.
    """

    def __init__(self, threshold: float | np.ndarray, bins: int = 10) -> None:
        self.threshold = threshold
        self.bins = bins

    def sums(self, block: Block) -> Sums:
        """See ``Metric``."""
        threshold = at_points(self.threshold, block)
        chance = (block.members > threshold).mean(0)
        event = block.truth > threshold
        place = np.minimum((chance * self.bins).astype(int), self.bins - 1)
        weight = block.observed.sum(-1, dtype=np.float64)
        found = {}
        for name, values in [("chance", chance), ("event", event), ("count", np.ones(1))]:
            values = np.where(block.diverged, np.nan, values)
            sums = [block.reduce(np.where(place == b, values, 0)).total for b in range(self.bins)]
            found[name] = Statistic(np.stack(sums, -1), weight)
        return found

    def value(self, means: Mapping[str, np.ndarray]) -> np.ndarray:
        """See ``Metric``."""
        share = means["count"]
        filled = np.where(share > 0, share, np.nan)
        return np.stack([means["chance"] / filled, means["event"] / filled, share], -2)
