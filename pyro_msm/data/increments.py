"""Increments of observed paths, and their sums over cells of the state space."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from pyro_msm.errors import InputError


@dataclass(frozen=True)
class Increments:
    r"""What the Euler–Maruyama likelihood needs of increments ΔX_k over Δ_k that start at x.

    A row holds the sums over one increment, or over several whose start is taken as one place:

    .. math:: n,\quad s_0 = \sum \Delta_k,\quad s_1 = \sum \Delta X_k,\quad
              s_2 = \sum \Delta X_k \Delta X_k^T / \Delta_k .

    Attributes:
        place: x, (rows, d).
        count: n, (rows,).
        duration: s₀, (rows,).
        displacement: s₁, (rows, d).
        spread: s₂, (rows, d, d).
    """

    place: Tensor
    count: Tensor
    duration: Tensor
    displacement: Tensor
    spread: Tensor

    @classmethod
    def of(cls, data: xr.Dataset) -> Self:
        """One row for each pair of neighbouring observations of ``path``, in float64.

        Raises:
            InputError: the path has gaps, or no two observations.
        """
        values = torch.as_tensor(np.asarray(data["path"].values, float))
        if "mask" in data and not bool(data["mask"].all()):
            seen = data["mask"].all("component").values
            trajectory, time = np.argwhere(~seen)[0]
            raise InputError(
                f"the path has {int((~seen).sum())} gaps, the first at trajectory {trajectory}, "
                f"t = {float(data['time'][time]):g}: drop those times (they may be irregular), or "
                "cut the record into trajectories there"
            )
        if values.shape[1] < 2:
            raise InputError("a path of one observation has no increment: give two or more times")
        steps = torch.as_tensor(np.diff(np.asarray(data["time"].values, float)))
        moves = values.diff(dim=1)
        duration = steps.expand(moves.shape[:2]).reshape(-1)
        place, moves = values[:, :-1].flatten(0, 1), moves.flatten(0, 1)
        spread = moves[:, :, None] * moves[:, None, :] / duration[:, None, None]
        return cls(place, torch.ones_like(duration), duration, moves, spread)

    def __len__(self) -> int:
        return len(self.place)

    @property
    def components(self) -> int:
        """d."""
        return self.place.shape[1]

    def rows(self, index: Tensor) -> Self:
        """Some of the rows."""
        parts = {name: value[index] for name, value in vars(self).items()}
        return replace(self, **parts)

    def scaled(self, factor: float) -> Self:
        """As if each row had been seen ``factor`` times."""
        return replace(
            self,
            count=factor * self.count,
            duration=factor * self.duration,
            displacement=factor * self.displacement,
            spread=factor * self.spread,
        )

    def joined(self, other: Self) -> Self:
        """The rows of both."""
        both = {name: torch.cat([own, getattr(other, name)]) for name, own in vars(self).items()}
        return replace(self, **both)

    def summed(self, cell: Tensor, cells: int) -> Self:
        """Sums over the rows of each cell, at the mean place of the cell (by duration).

        Args:
            cell: (rows,) the cell of each row.
            cells: number of cells.
        """

        def total(values: Tensor) -> Tensor:
            return values.new_zeros(cells, *values.shape[1:]).index_add_(0, cell, values)

        duration = total(self.duration)
        place = total(self.place * self.duration[:, None]) / duration[:, None]
        return replace(
            self,
            place=place,
            count=total(self.count),
            duration=duration,
            displacement=total(self.displacement),
            spread=total(self.spread),
        )


def cells_of(place: np.ndarray, cells: int) -> np.ndarray:
    """The cell of each place: boxes that hold places near one another.

    Again and again, the box with the largest sum of squares along an axis is cut at its mean.

    Args:
        place: (rows, d), in comparable units.
        cells: number of cells at most.

    Returns:
        (rows,) integers from 0.

    Example:
        >>> cells_of(np.array([[0.0], [0.1], [5.0], [5.1]]), 2).tolist()
        [0, 0, 1, 1]
    """
    found = np.zeros(len(place), int)
    queue = [_box(place, np.arange(len(place)), 0)]
    for new in range(1, cells):
        waste, old, axis, rows = heapq.heappop(queue)
        if waste >= 0:
            break
        values = place[rows, axis]
        right = values > values.mean()
        found[rows[right]] = new
        heapq.heappush(queue, _box(place, rows[~right], old))
        heapq.heappush(queue, _box(place, rows[right], new))
    return found


def _box(place: np.ndarray, rows: np.ndarray, cell: int) -> tuple[float, int, int, np.ndarray]:
    inside = place[rows]
    squares = inside.var(axis=0) * len(rows)
    axis = int(squares.argmax())
    return -float(squares[axis]) if np.ptp(inside[:, axis]) > 0 else 0.0, cell, axis, rows
