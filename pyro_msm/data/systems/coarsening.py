"""Between a grid and a coarser one: cell averages down, cubic interpolation up."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from pyro_msm.errors import InputError


def restrict(values: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Averages over blocks of equally many neighbouring points, (…, *sizes).

    Args:
        values: (…, *grid), with one grid axis for each of ``sizes``.
        sizes: coarse points of each grid axis; must divide those of ``values``.

    Raises:
        InputError: a size does not divide the number of points.

    >>> restrict(np.arange(6.0), (3,))
    array([0.5, 2.5, 4.5])
    """
    first = values.ndim - len(sizes)
    for axis, size in enumerate(sizes, start=first):
        points = values.shape[axis]
        if size < 1 or points % size:
            raise InputError(
                f"{points} grid points cannot be averaged onto {size}: expected a number that "
                f"divides {points}"
            )
        shape = (*values.shape[:axis], size, points // size, *values.shape[axis + 1 :])
        values = values.reshape(shape).mean(axis + 1)
    return values


def prolong(values: np.ndarray, sizes: Sequence[int], boundary: Sequence[str]) -> np.ndarray:
    """Cubic interpolation of ``values`` (…, *coarse), which stand for block averages, (…, *sizes).

    A coarse value stands in the middle of its block. Beyond the edge a periodic axis wraps around,
    a wall mirrors and an open end repeats its last value.

    Raises:
        InputError: a coarse size does not divide the fine one.

    >>> prolong(np.ones(4), (8,), ["periodic"])
    array([1., 1., 1., 1., 1., 1., 1., 1.])
    """
    first = values.ndim - len(sizes)
    for axis, (size, kind) in enumerate(zip(sizes, boundary, strict=True), start=first):
        matrix = _interpolation(values.shape[axis], size, kind)
        values = np.moveaxis(np.tensordot(values, matrix, axes=(axis, 1)), -1, axis)
    return values


@lru_cache(maxsize=32)
def _interpolation(coarse: int, fine: int, boundary: str) -> np.ndarray:
    """Weights (fine, coarse) of Keys' cubic convolution (IEEE Trans. ASSP 29, 1981, a = -1/2)."""
    if fine % coarse:
        raise InputError(
            f"{coarse} coarse points cannot be interpolated onto {fine}: not a divisor"
        )
    position = (np.arange(fine) + 0.5) * coarse / fine - 0.5
    base = np.floor(position).astype(int)
    s = position - base
    weights = (
        -0.5 * s**3 + s**2 - 0.5 * s,
        1.5 * s**3 - 2.5 * s**2 + 1,
        -1.5 * s**3 + 2 * s**2 + 0.5 * s,
        0.5 * s**3 - 0.5 * s**2,
    )
    matrix = np.zeros((fine, coarse))
    for offset, weight in enumerate(weights, start=-1):
        np.add.at(matrix, (np.arange(fine), _inside(base + offset, coarse, boundary)), weight)
    return matrix


def _inside(index: np.ndarray, points: int, boundary: str) -> np.ndarray:
    if boundary == "periodic":
        return index % points
    if boundary == "open":
        return index.clip(0, points - 1)
    index = index % (2 * points)
    return np.where(index < points, index, 2 * points - 1 - index)
