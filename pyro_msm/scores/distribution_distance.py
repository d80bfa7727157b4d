"""Distances between distributions that are known by samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def wasserstein(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Wasserstein-1 distance between samples along the last axis, (…).

    With as many samples on both sides it is the mean difference of the sorted values, else the
    integral of |F⁻¹ - G⁻¹|.

    Args:
        one: (…, n).
        other: (…, m), with leading axes that broadcast against those of ``one``.

    >>> float(wasserstein(np.array([0.0, 1.0]), np.array([0.0, 1.0, 1.0])).round(6))
    0.166667
    """
    one, other = np.sort(one, axis=-1), np.sort(other, axis=-1)
    n, m = one.shape[-1], other.shape[-1]
    if n == m:
        return np.abs(one - other).mean(-1)
    # Where either quantile function jumps, in units of 1/(nm), so that all is exact.
    jumps = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)
    weight = np.diff(jumps, prepend=0) / (n * m)
    return np.abs(one[..., (jumps - 1) // m] - other[..., (jumps - 1) // n]) @ weight


def rice_bins(samples: int) -> int:
    """⌈2 n^⅓⌉, the number of bins that the Rice rule gives n samples.

    >>> rice_bins(1000)
    20
    """
    return int(np.ceil(2 * samples ** (1 / 3) - 1e-9))


def histogram_distance(one: np.ndarray, other: np.ndarray) -> float:
    """L1 distance between the histograms of two samples, from 0 to 2 (disjoint).

    The bins are common to both, equally wide over the range of both together, as many as the Rice
    rule gives the smaller sample (Vlachas et al. 2022, Supplement).
    """
    one, other = np.ravel(one), np.ravel(other)
    low, high = min(one.min(), other.min()), max(one.max(), other.max())
    count = rice_bins(min(one.size, other.size))
    shares = [
        np.histogram(values, bins=count, range=(low, high))[0] / values.size
        for values in (one, other)
    ]
    return float(np.abs(shares[0] - shares[1]).sum())


def histogram_self_distance(samples: int) -> float:
    """√(4K/πn), a bound on the mean ``histogram_distance`` of two samples of one distribution.

    n is the size of each, K the number of its bins. Source: Y. Cao and L. Petzold, J. Comput. Phys.
    212 (2006), the self-distance of histograms.
    """
    return float(np.sqrt(4 * rice_bins(samples) / (np.pi * samples)))


def self_similar_error(
    metric: Callable[[np.ndarray, np.ndarray], np.ndarray | float], runs: np.ndarray
) -> np.ndarray | float:
    """What ``metric`` gives for two true ensembles: the error that no model can go below.

    Args:
        metric: of two ensembles (run, …) of equal size.
        runs: (run, …) independent true runs; every other one makes an ensemble.

    >>> runs = np.random.default_rng(0).standard_normal((2000, 1))
    >>> bool(self_similar_error(lambda a, b: wasserstein(a.T, b.T)[0], runs) < 0.1)
    True
    """
    half = len(runs) // 2
    return metric(runs[: 2 * half : 2], runs[1 : 2 * half : 2])
