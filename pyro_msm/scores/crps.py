"""The fair continuous ranked probability score, in its sorted form."""

from __future__ import annotations

import numpy as np

from pyro_msm.scores.block import Block
from pyro_msm.scores.metric import Metric, Sums

#: Numbers that are worked on at once.
CACHED = 2**16


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
    kind = np.result_type(members, truth, np.float32)
    deviation = np.subtract(
        np.moveaxis(members, 0, -1), truth[..., np.newaxis], order="C", dtype=kind
    )
    deviation.sort(axis=-1)
    return _of_sorted(deviation)


class FairCRPS(Metric):
    """Mean fair CRPS over all observed points: the mean absolute error when there is one member.

    Channels count alike, so fields whose channels differ in units are better scored one by one.
    """

    def sums(self, block: Block) -> Sums:
        """See ``Metric``."""
        return {"crps": block.reduce(_of_sorted(block.deviation))}


def _mean_size(deviation: np.ndarray) -> np.ndarray:
    """Mean of |x − y| over the last axis, a few points at a time: they stay in the cache."""
    flat = deviation.reshape(-1, deviation.shape[-1])
    mean = np.empty(len(flat))
    step = max(1, CACHED // flat.shape[1])
    for first in range(0, len(flat), step):
        part = flat[first : first + step]
        mean[first : first + step] = np.abs(part).mean(-1, dtype=np.float64)
    return mean.reshape(deviation.shape[:-1])


def _of_sorted(deviation: np.ndarray) -> np.ndarray:
    """From x − y sorted over the last axis: Σᵢⱼ|xᵢ − xⱼ| = 2 Σᵢ (2i − M − 1) x₍ᵢ₎."""
    size = deviation.shape[-1]
    distance = _mean_size(deviation)
    if size == 1:
        return distance
    rank = (2.0 * np.arange(1, size + 1) - size - 1) / (size * (size - 1))
    return distance - deviation @ rank.astype(deviation.dtype)
