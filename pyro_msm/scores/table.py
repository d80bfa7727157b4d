"""Scores accumulated block by block, read out over any set of samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from pyro_msm.scores.block import Block, Statistic
from pyro_msm.scores.metric import Metric, Sums

Reduction = Callable[[np.ndarray], np.ndarray]


class ScoreTable:
    """The statistics of several metrics at every (trajectory, time).

    Small whatever the size of the fields, so scoring a large ensemble is one pass over its blocks.
    Samples that were never added make the scores that need them NaN.

    Args:
        metrics: the metrics by the name under which their values are read.
        trajectories: number of trajectories.
        times: number of times.

    Example:
        >>> import numpy as np
        >>> from pyro_msm.scores import Block, FairCRPS, ScoreTable
        >>> draw = np.random.default_rng(0).normal
        >>> table = ScoreTable({"crps": FairCRPS()}, trajectories=2, times=3)
        >>> table.add(Block(draw(size=(20, 2, 3, 50)), draw(size=(2, 3, 50))))
        >>> round(float(table.overall("crps")), 2)  # 1/√π = 0.56 for a calibrated Gaussian ensemble
        0.57
    """

    def __init__(self, metrics: Mapping[str, Metric], trajectories: int, times: int) -> None:
        self.metrics = dict(metrics)
        self.shape = (trajectories, times)
        self._sums: dict[str, dict[str, Statistic]] = {name: {} for name in metrics}

    def add(
        self, block: Block, trajectories: slice = slice(None), times: slice = slice(None)
    ) -> None:
        """Puts the whole samples of a block at their place in the table."""
        found = {name: metric.sums(block) for name, metric in self.metrics.items()}
        self.put(found, trajectories, times)

    def put(
        self,
        found: Mapping[str, Sums],
        trajectories: slice = slice(None),
        times: slice = slice(None),
    ) -> None:
        """Puts samples at their place in the table, given the sums of each metric over them."""
        for name, sums in found.items():
            kept = self._sums[name]
            for key, part in self.metrics[name].statistics(sums).items():
                if key not in kept:
                    trailing = part.total.shape[2:]
                    empty = np.full((*self.shape, *trailing), np.nan)
                    kept[key] = Statistic(empty, np.ones(self.shape))
                kept[key].total[trajectories, times] = part.total
                kept[key].weight[trajectories, times] = part.weight

    def overall(self, name: str) -> np.ndarray:
        """The score over all samples."""
        return self._value(name, lambda sums: sums.sum((0, 1)))

    def by_time(self, name: str) -> np.ndarray:
        """The score at each time, (time, …)."""
        return self._value(name, lambda sums: sums.sum(0))

    def by_trajectory(self, name: str) -> np.ndarray:
        """The score of each trajectory, (trajectory, …)."""
        return self._value(name, lambda sums: sums.sum(1))

    def samples(self, name: str) -> np.ndarray:
        """The score of each sample, (trajectory, time, …)."""
        return self._value(name, lambda sums: sums)

    def resampled(self, name: str, counts: np.ndarray) -> np.ndarray:
        """The score of each resample of trajectories, (resample, …).

        ``counts`` (resample, trajectory) says how often a trajectory was drawn.
        """
        return self._value(name, lambda sums: np.tensordot(counts, sums.sum(1), axes=1))

    def resampled_by_time(self, name: str, counts: np.ndarray) -> np.ndarray:
        """As ``resampled``, at each time: (resample, time, …)."""
        return self._value(name, lambda sums: np.tensordot(counts, sums, axes=1))

    def between(self, times: slice) -> ScoreTable:
        """The table of some of the times only."""
        width = len(range(*times.indices(self.shape[1])))
        part = ScoreTable(self.metrics, self.shape[0], width)
        for name, sums in self._sums.items():
            part._sums[name] = {
                key: Statistic(total[:, times], weight[:, times])
                for key, (total, weight) in sums.items()
            }
        return part

    def weight(self, name: str) -> float:
        """Over how many points (or samples) the score is a mean."""
        return float(next(iter(self._sums[name].values())).weight.sum())

    def _value(self, name: str, reduction: Reduction) -> np.ndarray:
        means = {}
        for key, (total, weight) in self._sums[name].items():
            totals, weights = reduction(total), reduction(weight)
            weights = weights.reshape(weights.shape + (1,) * (totals.ndim - weights.ndim))
            with np.errstate(invalid="ignore", divide="ignore"):
                means[key] = np.where(weights > 0, totals / weights, np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.metrics[name].value(means)
