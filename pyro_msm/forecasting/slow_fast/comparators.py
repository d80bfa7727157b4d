"""What a flow model is compared with: estimates of drift and diffusion that know no coupling."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar, Self

import numpy as np
import torch

from pyro_msm.data.increments import Increments, cells_of
from pyro_msm.data.systems.effective import EffectiveSDE

#: Cells by which long records are summed; a smooth coefficient varies little in one.
CELLS = 2000

#: Smallest eigenvalue of a diffusion, relative to that of the whole record.
FLOOR = 1e-3


@dataclass(frozen=True)
class Sums:
    """The arrays of ``Increments``: see there."""

    place: np.ndarray
    count: np.ndarray
    duration: np.ndarray
    displacement: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, increments: Increments, cells: int | None = None) -> Self:
        """All rows, or sums over that many cells at most."""
        if cells is not None:
            increments = in_cells(increments, cells)
        return cls(*(np.asarray(getattr(increments, each.name), float) for each in fields(cls)))

    @property
    def total(self) -> Sums:
        """One row: the sums of all."""
        return Sums(*(part.sum(0, keepdims=True) for part in vars(self).values()))

    @property
    def diffusion(self) -> np.ndarray:
        """Σ̄ of each row for the drift of that row, (s₂ - s₁s₁ᵀ/s₀)/n, (rows, d, d)."""
        drift = self.displacement / self.duration[:, None]
        return self.misfit(drift) / self.count[:, None, None]

    def misfit(self, drift: np.ndarray) -> np.ndarray:
        """Σ (ΔX - b̄Δ)(ΔX - b̄Δ)ᵀ/Δ of each row for its drift (rows, d) → (rows, d, d)."""
        cross = self.displacement[:, :, None] * drift[:, None, :]
        square = drift[:, :, None] * drift[:, None, :]
        return self.spread - cross - cross.swapaxes(1, 2) + self.duration[:, None, None] * square


def in_cells(increments: Increments, cells: int) -> Increments:
    """Sums over at most so many cells of places near one another."""
    if len(increments) <= cells:
        return increments
    place = np.asarray(increments.place)
    cell = cells_of(place / (place.std(0) + np.finfo(float).tiny), cells)
    return increments.summed(torch.as_tensor(cell), int(cell.max()) + 1)


class Comparator(ABC):
    """Estimates b̄ and Σ̄ from increments alone, and tunes itself on held-out ones.

    The criterion of the tuning is the Euler–Maruyama likelihood, which is also that of the flow
    model.
    """

    name: ClassVar[str]

    @abstractmethod
    def fit(self, increments: Increments, held_out: Increments) -> Self:
        """Learns from ``increments``; what is to be chosen is chosen by ``held_out``."""

    @abstractmethod
    def drift(self, x: np.ndarray) -> np.ndarray:
        """b̄ at x (n, d) → (n, d)."""

    @abstractmethod
    def diffusion(self, x: np.ndarray) -> np.ndarray:
        """Σ̄ at x (n, d) → (n, d, d), positive definite."""

    @property
    @abstractmethod
    def components(self) -> int:
        """d."""

    @property
    def effective(self) -> EffectiveSDE:
        """The SDE of these coefficients."""
        return EffectiveSDE(self.drift, self.diffusion, self.components)


def log_likelihood(sums: Sums, drift: np.ndarray, diffusion: np.ndarray) -> float:
    """ln L of the increments under Euler–Maruyama, an increment, without the constant.

    Args:
        sums: rows.
        drift: b̄ at their places, (rows, d).
        diffusion: Σ̄ there, (rows, d, d).
    """
    _, logarithm = np.linalg.slogdet(diffusion)
    quadratic = np.trace(np.linalg.solve(diffusion, sums.misfit(drift)), axis1=1, axis2=2)
    return float(-0.5 * np.sum(sums.count * logarithm + quadratic) / sums.count.sum())


def at_least(diffusion: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Symmetric matrices (n, d, d) with eigenvalues raised to a small share of those of scale."""
    floor = FLOOR * np.linalg.eigvalsh(scale).min()
    values, vectors = np.linalg.eigh(0.5 * (diffusion + diffusion.swapaxes(1, 2)))
    raised = np.maximum(values, floor)
    return (vectors * raised[:, None, :]) @ vectors.swapaxes(1, 2)
