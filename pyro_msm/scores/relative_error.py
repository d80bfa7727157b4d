"""The published error: ‖ensemble mean − y‖ / ‖y‖ at each time of each trajectory."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pyro_msm.scores.block import Block, Statistic
from pyro_msm.scores.metric import Metric, Sums


def relative_error(
    members: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None
) -> np.ndarray:
    """‖mean of the members − truth‖₂ / ‖truth‖₂ over all observed points of each sample.

    Args:
        members: (member, trajectory, time, …).
        truth: (trajectory, time, …).
        mask: True where the truth was observed, shape of ``truth``.

    Returns:
        (trajectory, time): NaN where a member diverged, where nothing was observed, and where the
        truth has no norm to compare with.
    """
    metric = RelativeError()
    total, weight = metric.statistics(metric.sums(Block(members, truth, mask)))["relative_error"]
    return np.where(weight > 0, total, np.nan)


class RelativeError(Metric):
    """Mean of the relative error over samples, each sample counting once.

    Samples whose truth is exactly zero have no relative error: they are left out here and reported
    by ``ZeroTruth``.
    """

    def sums(self, block: Block) -> Sums:
        """See ``Metric``."""
        return _squares(block)

    def statistics(self, sums: Sums) -> Sums:
        """See ``Metric``."""
        return {"relative_error": _ratio(sums)}


class RelativeErrorStd(Metric):
    """Standard deviation (divisor n) of the relative error over all samples: the published ±."""

    def sums(self, block: Block) -> Sums:
        """See ``Metric``."""
        return _squares(block)

    def statistics(self, sums: Sums) -> Sums:
        """See ``Metric``."""
        ratio, weight = _ratio(sums)
        return {"first": Statistic(ratio, weight), "second": Statistic(ratio**2, weight)}

    def value(self, means: Mapping[str, np.ndarray]) -> np.ndarray:
        """See ``Metric``."""
        return np.sqrt(np.maximum(means["second"] - means["first"] ** 2, 0))


class ZeroTruth(Metric):
    """Fraction of the observed samples whose truth is exactly zero."""

    def sums(self, block: Block) -> Sums:
        """See ``Metric``."""
        return {"not_zero": block.reduce(block.truth != 0)}

    def statistics(self, sums: Sums) -> Sums:
        """See ``Metric``."""
        points, observed = sums["not_zero"]
        seen = observed > 0
        zero = seen & (points == 0)
        return {"zero": Statistic(zero.astype(np.float64), seen.astype(np.float64))}


def _squares(block: Block) -> Sums:
    return {
        "error": block.reduce(block.error**2),
        "truth": block.reduce(block.truth.astype(np.float64) ** 2),
    }


def _ratio(sums: Sums) -> Statistic:
    distance, norm = (np.sqrt(sums[name].total) for name in ("error", "truth"))
    defined = norm > 0
    ratio = np.divide(distance, norm, out=np.zeros_like(norm), where=defined)
    return Statistic(ratio, defined.astype(np.float64))
