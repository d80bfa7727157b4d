"""The joint density of the first two derivatives of a field, which its attractor is seen by."""

from __future__ import annotations

import numpy as np

BINS = 50


def spectral_derivatives(field: np.ndarray, length: float) -> tuple[np.ndarray, np.ndarray]:
    """u_x and u_xx of periodic fields (…, x), exact for all waves but the Nyquist one.

    >>> x = 2 * np.pi * np.arange(16) / 16
    >>> slope, curvature = spectral_derivatives(np.sin(x), 2 * np.pi)
    >>> bool(np.allclose(slope, np.cos(x))), bool(np.allclose(curvature, -np.sin(x)))
    (True, True)
    """
    points = field.shape[-1]
    waves = np.fft.rfft(field)
    k = 2 * np.pi / length * np.arange(points // 2 + 1)
    if points % 2 == 0:
        waves[..., -1] = 0
    slope = np.fft.irfft(1j * k * waves, points)
    return slope, np.fft.irfft(-(k**2) * waves, points)


def derivative_density(
    field: np.ndarray, length: float, edges: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Shares of all points in the bins of (u_x, u_xx), (u_x bin, u_xx bin).

    The outermost rows and columns count what lies beyond ``edges``, so that shares sum to one.
    """
    slope, curvature = spectral_derivatives(field, length)
    places = [
        np.searchsorted(along, values.ravel(), side="right")
        for along, values in zip(edges, (slope, curvature), strict=True)
    ]
    shape = tuple(len(along) + 1 for along in edges)
    counts = np.bincount(np.ravel_multi_index(places, shape), minlength=shape[0] * shape[1])
    return counts.reshape(shape) / slope.size


def derivative_density_distance(
    forecast: np.ndarray, truth: np.ndarray, length: float, bins: int = BINS
) -> float:
    """L1 distance of the densities of (u_x, u_xx), from 0 to 2.

    Args:
        forecast: periodic fields (…, x).
        truth: the same, on the same grid; ``bins`` equal bins an axis span its range.
        length: of the domain.
        bins: of each axis.
    """
    slope, curvature = spectral_derivatives(truth, length)
    edges = _edges(slope, bins), _edges(curvature, bins)
    one, other = (derivative_density(field, length, edges) for field in (forecast, truth))
    return float(np.abs(one - other).sum())


def _edges(values: np.ndarray, bins: int) -> np.ndarray:
    """Equal bins over the range, and so little more that rounding pushes nothing beyond them."""
    low, high = values.min(), values.max()
    more = 1e-9 * (high - low)
    return np.linspace(low - more, high + more, bins + 1)
