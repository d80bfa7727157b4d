"""How fast a forecast's own clock runs, corrected by what is seen of the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

#: Standard deviation of the relative error of a propagator's pace before anything is seen, and the
#: share by which the variance of the estimate grows from one correction to the next.
UNKNOWN, FORGOTTEN = 1e-2, 0.2


@dataclass(frozen=True)
class Pace:
    """A factor on the increments of latents, estimated while a forecast runs.

    On an attractor errors across the flow die out, but those along it add up: a propagator whose
    clock is a thousandth fast is a tenth of a period ahead after a hundred periods, however good
    its states are. What the true solver shows in between tells the lag at its start, and how it
    grows: the error of the pace. That is averaged by a Kalman filter of this one number.

    Attributes:
        factor: (member, trajectory) on increments.
        variance: (member, trajectory) of its relative error.
    """

    factor: np.ndarray
    variance: np.ndarray

    @classmethod
    def unknown(cls, members: int, trajectories: int) -> Self:
        """That of the propagator as it was trained."""
        shape = members, trajectories
        return cls(np.ones(shape, np.float32), np.full(shape, UNKNOWN**2))

    def corrected(self, predicted: np.ndarray, seen: np.ndarray) -> Pace:
        """After a comparison of paths (time, member, trajectory, latent) that began together.

        Args:
            predicted: with this pace, in any scale that is the same for both.
            seen: the truth at the same times.
        """
        growth, noise = _growth_of_lag(predicted, seen)
        prior = (1 + FORGOTTEN) * self.variance
        gain = np.where(np.isfinite(noise), prior / (prior + noise), 0.0)
        factor = self.factor * (1 - gain * np.where(gain > 0, growth, 0.0))
        return Pace(factor.astype(np.float32), (1 - gain) * prior)


def _growth_of_lag(predicted: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much farther ahead a prediction is with each unit of time, and the variance of that.

    By least squares of predicted − seen = (a + b t) ∂seen/∂t. What it leaves is taken to be the
    same error at all times: residuals of a smooth path are anything but independent. The variance
    is infinite where nothing moves, or too little was seen.
    """
    count = len(seen)
    nothing = np.zeros(seen.shape[1:3]), np.full(seen.shape[1:3], np.inf)
    if count < 3:
        return nothing
    speed = np.gradient(seen.astype(float), axis=0)
    time = np.arange(1, count + 1).reshape(-1, 1, 1, 1)
    design = np.stack([speed, time * speed], -1)
    gap = predicted.astype(float) - seen
    if not np.isfinite(gap).all():
        return nothing
    products = np.einsum("tmnli,tmnlj->mnij", design, design)
    known = np.linalg.matrix_rank(products) == 2
    inverse = np.linalg.inv(np.where(known[..., None, None], products, np.eye(2)))
    found = np.einsum("mnij,tmnlj,tmnl->mni", inverse, design, gap)
    left = gap - np.einsum("tmnli,mni->tmnl", design, found)
    variance = inverse[..., 1, 1] * np.square(left).sum((0, 3))
    return found[..., 1], np.where(known, variance, np.inf)
