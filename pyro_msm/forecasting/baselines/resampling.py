"""Fields between fine and coarse grids, as one matrix per axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.interpolate import CubicSpline

Symbol = Callable[[np.ndarray], np.ndarray]


def fourier(
    to: np.ndarray,
    given: np.ndarray,
    length: float,
    periodic: bool = True,
    symbol: Symbol | None = None,
) -> np.ndarray:
    """Trigonometric interpolation, a matrix (to, given), of waves exp(ikx) times ``symbol(k)``.

    Towards a coarser grid the waves that it cannot carry are left out: an ideal low-pass. An axis
    that is not periodic goes on as its mirror image beyond its outermost cells, whose middles both
    grids hold: its waves are cosines (sines, where the symbol is imaginary).
    """
    symbol = symbol or np.ones_like
    if not periodic:
        after, before = (_mirrored(points, length) for points in (to, given))
        highest = min(len(to), len(given)) - 1
        doubled = _waves(after, before, 2 * length, highest, symbol)[: len(to)]
        return doubled[:, : len(given)] + doubled[:, : len(given) - 1 : -1]
    matrix = _waves(to, given, length, (min(len(to), len(given)) - 1) // 2, symbol)
    if len(to) >= len(given) and len(given) % 2 == 0:
        shortest = np.array([np.pi * len(given) / length])
        matrix += symbol(shortest).real * np.cos(shortest * (to[:, None] - given)) / len(given)
    return matrix


def averages(to: np.ndarray, given: np.ndarray, length: float, periodic: bool) -> np.ndarray:
    """Averages over the cells around ``to``, a matrix (to, given) whose rows sum to one.

    Every fine cell counts by its overlap with the coarse one.
    """
    wide, narrow = _cell(to, length), _cell(given, length)
    distance = np.abs(to[:, None] - given)
    if periodic:
        distance = np.minimum(distance % length, -distance % length)
    overlap = np.clip((wide + narrow) / 2 - distance, 0, min(wide, narrow))
    return overlap / overlap.sum(1, keepdims=True)


def cubic(to: np.ndarray, given: np.ndarray, length: float, periodic: bool) -> np.ndarray:
    """Cubic spline interpolation, a matrix (to, given); constant beyond the outermost points."""
    unit = np.eye(len(given))
    if periodic:
        closed = CubicSpline(
            np.append(given, given[0] + length), np.vstack([unit, unit[:1]]), bc_type="periodic"
        )
        return closed(given[0] + (to - given[0]) % length)
    return CubicSpline(given, unit)(np.clip(to, given[0], given[-1]))


def apply(matrices: Sequence[np.ndarray], values: np.ndarray) -> np.ndarray:
    """``values`` (…, x[, y]) with one matrix applied to each of the last axes."""
    for axis, matrix in zip(range(-len(matrices), 0), matrices, strict=True):
        moved = np.moveaxis(values, axis, -1) @ matrix.T.astype(values.dtype)
        values = np.moveaxis(moved, -1, axis)
    return values


def _cell(points: np.ndarray, length: float) -> float:
    return float(points[1] - points[0]) if len(points) > 1 else length


def _waves(
    to: np.ndarray, given: np.ndarray, length: float, highest: int, symbol: Symbol
) -> np.ndarray:
    """The part (to, given) of wavenumbers 2πj/length up to j = ``highest``, times the symbol."""
    k = 2 * np.pi / length * np.arange(1, highest + 1)
    after, before = (np.exp(1j * np.outer(points, k)) for points in (to, given))
    total = symbol(np.zeros(1)).real + 2 * ((after * symbol(k)) @ before.conj().T).real
    return total / len(given)


def _mirrored(points: np.ndarray, length: float) -> np.ndarray:
    """Middles of cells, from the edge of the first one on, and of their mirror images."""
    inside = points - points[0] + 0.5 * _cell(points, length)
    return np.concatenate([inside, 2 * length - inside[::-1]])
