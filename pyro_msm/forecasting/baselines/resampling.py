"""Fields between fine and coarse grids, as one matrix per axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import CubicSpline


def fourier(to: np.ndarray, given: np.ndarray, length: float) -> np.ndarray:
    """Trigonometric interpolation on a periodic axis, a matrix (to, given).

    Towards a coarser grid the modes that it cannot carry are left out: an ideal low-pass.
    """
    waves = np.arange(1, (min(len(to), len(given)) - 1) // 2 + 1)
    after, before = (2j * np.pi / length * np.outer(points, waves) for points in (to, given))
    total = 1 + 2 * (np.exp(after) @ np.exp(-before).T).real
    if len(to) >= len(given) and len(given) % 2 == 0:
        total += np.cos(np.pi * len(given) / length * (to[:, None] - given))
    return total / len(given)


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
