"""The fair continuous ranked probability score, in its sorted form."""

from __future__ import annotations

import numpy as np

from pyro_msm.scores.block import Block, Statistic
from pyro_msm.scores.metric import Metric


def fair_crps(members: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(1/M) Σ|xᵢ − y| − 1/(2M(M−1)) Σᵢⱼ|xᵢ − xⱼ| at every point (Ferro 2014).

    Its expectation does not depend on the number of members, so ensembles of different sizes can be
    compared; it may be slightly negative at a single point. With one member it is |x − y|.

    Args:
        members: (member, …).
        truth: (…).

    Returns:
        (…), in the units of the field; NaN where a member is NaN.
    """
    deviation = np.subtract(np.moveaxis(members, 0, -1), truth[..., np.newaxis], order="C")
    deviation.sort(axis=-1)
    return _of_sorted(deviation)


class FairCRPS(Metric):
    """Mean fair CRPS over all observed points: the mean absolute error when there is one member.

    Channels count alike, so fields whose channels differ in units are better scored one by one.
    """

    def statistics(self, block: Block) -> dict[str, Statistic]:
        """See ``Metric``."""
        return {"crps": block.reduce(_of_sorted(block.deviation))}


def _of_sorted(deviation: np.ndarray) -> np.ndarray:
    """From x − y sorted over the last axis: Σᵢⱼ|xᵢ − xⱼ| = 2 Σᵢ (2i − M − 1) x₍ᵢ₎."""
    size = deviation.shape[-1]
    distance = np.abs(deviation).mean(-1, dtype=np.float64)
    if size == 1:
        return distance
    rank = (2.0 * np.arange(1, size + 1) - size - 1) / (size * (size - 1))
    return distance - deviation @ rank.astype(deviation.dtype)
