"""The published error: ‖ensemble mean − y‖ / ‖y‖ at each time of each trajectory."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pyro_msm.scores.block import Block, Statistic
from pyro_msm.scores.metric import Metric


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
    total, weight = _samples(Block(members, truth, mask))
    return np.where(weight > 0, total, np.nan)


class RelativeError(Metric):
    """Mean of the relative error over samples, each sample counting once.

    Samples whose truth is exactly zero have no relative error: they are left out here and reported
    by ``ZeroTruth``.
    """

    def statistics(self, block: Block) -> dict[str, Statistic]:
        """See ``Metric``."""
        return {"relative_error": _samples(block)}


class RelativeErrorStd(Metric):
    """Standard deviation (divisor n) of the relative error over all samples: the published ±."""

    def statistics(self, block: Block) -> dict[str, Statistic]:
        """See ``Metric``."""
        total, weight = _samples(block)
        return {"first": Statistic(total, weight), "second": Statistic(total**2, weight)}

    def value(self, means: Mapping[str, np.ndarray]) -> np.ndarray:
        """See ``Metric``."""
        return np.sqrt(np.maximum(means["second"] - means["first"] ** 2, 0))


class ZeroTruth(Metric):
    """Fraction of the observed samples whose truth is exactly zero."""

    def statistics(self, block: Block) -> dict[str, Statistic]:
        """See ``Metric``."""
        seen = block.observed.any(-1)
        zero = seen & ~block.truth.any(-1)
        return {"zero": Statistic(zero.astype(np.float64), seen.astype(np.float64))}


def _samples(block: Block) -> Statistic:
    distance = np.sqrt(block.reduce(block.error**2).total)
    norm = np.sqrt(block.reduce(block.truth.astype(np.float64) ** 2).total)
    defined = norm > 0
    ratio = np.divide(distance, norm, out=np.zeros_like(norm), where=defined)
    return Statistic(ratio, defined.astype(np.float64))
