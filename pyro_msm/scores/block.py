"""Members and truth at some trajectories and times, with what several scores share."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np


class Statistic(NamedTuple):
    """Sums over the points of each sample; a mean over samples is Σ total / Σ weight.

    ``total`` is (trajectory, time, …) and ``weight`` (trajectory, time): the number of points, of
    members or of samples that were summed.
    """

    total: np.ndarray
    weight: np.ndarray


class Block:
    """An ensemble and its truth at some trajectories and times.

    Scores read the shared quantities below, so that a block is sorted once however many scores ask.
    Beside the members a block holds one copy of them (``deviation``) and passing temporaries.

    Args:
        members: (member, trajectory, time, …): one forecast a member. A value that is not finite
            counts as diverged and makes every score that it touches NaN.
        truth: (trajectory, time, …), of the same trailing shape.
        mask: bool, shape of ``truth``: True where observed. Truth that is not finite is unobserved.
        uniform: shape of ``truth``: independent numbers in [0, 1), by which ties are broken and the
            truth is placed within its rank; None draws them here.

    Attributes:
        size: number of members.
        finite: (member,): whether all its values are finite.

    Raises:
        ValueError: the shapes do not fit each other, or there is no member.
    """

    def __init__(
        self,
        members: np.ndarray,
        truth: np.ndarray,
        mask: np.ndarray | None = None,
        uniform: np.ndarray | None = None,
    ) -> None:
        if members.ndim < 3 or members.shape[0] < 1 or members.shape[1:] != truth.shape:
            raise ValueError(
                "expected members (member, trajectory, time, …) and truth (trajectory, time, …) of "
                f"the same trailing shape, got {members.shape} and {truth.shape}"
            )
        self.size = members.shape[0]
        members = members.reshape(self.size, *truth.shape[:2], -1)
        finite = np.isfinite(members)
        self.finite = finite.reshape(self.size, -1).all(1)
        self.members = members if self.finite.all() else np.where(finite, members, np.nan)
        self._compare(truth, mask, uniform)

    def _compare(
        self, truth: np.ndarray, mask: np.ndarray | None, uniform: np.ndarray | None
    ) -> None:
        if mask is not None and mask.shape != truth.shape:
            raise ValueError(f"expected a mask of shape {truth.shape}, got {mask.shape}")
        observed = np.isfinite(truth) if mask is None else np.isfinite(truth) & mask.astype(bool)
        shape = self.members.shape[1:]
        self.observed = observed.reshape(shape)
        self.truth = np.where(self.observed, truth.reshape(shape), 0)
        self._uniform = uniform

    def against(self, truth: np.ndarray, mask: np.ndarray | None = None) -> Block:
        """The same members beside another truth; their mean and variance are computed once."""
        other = object.__new__(Block)
        other.size, other.finite, other.members = self.size, self.finite, self.members
        other._compare(truth, mask, self._uniform)
        other.__dict__ |= {"mean": self.mean, "variance": self.variance}
        return other

    @cached_property
    def mean(self) -> np.ndarray:
        """Ensemble mean, (trajectory, time, point), float64."""
        return self.members.mean(0, dtype=np.float64)

    @cached_property
    def error(self) -> np.ndarray:
        """Ensemble mean minus truth, (trajectory, time, point), float64."""
        return self.mean - self.truth

    @cached_property
    def deviation(self) -> np.ndarray:
        """Members minus truth, sorted over the members: (trajectory, time, point, member).

        NaN members come last.
        """
        deviation = np.subtract(
            np.moveaxis(self.members, 0, -1), self.truth[..., np.newaxis], order="C"
        )
        deviation.sort(axis=-1)
        return deviation

    @cached_property
    def place(self) -> np.ndarray:
        """Where the truth stands among the members, in [0, M + 1): (trajectory, time, point).

        The integer part is its rank, ties broken at random; what is left is uniform on [0, 1).
        """
        uniform = self._uniform
        if uniform is None:
            uniform = np.random.default_rng(0).random(self.truth.shape)
        below = (self.deviation < 0).sum(-1)
        ties = (self.deviation == 0).sum(-1)
        place = below + uniform.reshape(self.truth.shape) * (ties + 1)
        return np.minimum(place, np.nextafter(self.size + 1, 0))

    @cached_property
    def variance(self) -> np.ndarray:
        """Ensemble variance (divisor M−1), (trajectory, time, point), float64; NaN if M = 1."""
        if self.size == 1:
            return np.full(self.truth.shape, np.nan)
        squares = np.zeros(self.mean.shape)
        for member in self.members:  # one by one: a float64 copy of all members is never made
            squares += (member - self.mean) ** 2
        return squares / (self.size - 1)

    @cached_property
    def diverged(self) -> np.ndarray:
        """True where a member is not finite, (trajectory, time, point)."""
        return np.isnan(self.error)

    def reduce(self, values: np.ndarray) -> Statistic:
        """Sums ``values`` (trajectory, time, point) over the observed points of each sample."""
        total = np.where(self.observed, values, 0).sum(-1, dtype=np.float64)
        return Statistic(total, self.observed.sum(-1, dtype=np.float64))
