"""Scores of an estimated SDE: its coefficients, its stationary law, its memory, its passages."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import wasserstein_distance


def coefficient_error(found: np.ndarray, exact: np.ndarray) -> float:
    r"""Relative error in L²(p), √(E_p|f - g|² / E_p|g|²).

    Args:
        found: f at points drawn from p, (n, …).
        exact: g there.

    Example:
        >>> round(coefficient_error(np.full((5, 1), 1.1), np.ones((5, 1))), 6)
        0.1
    """
    found, exact = np.asarray(found, float), np.asarray(exact, float)
    return math.sqrt(np.mean(np.square(found - exact)) / np.mean(np.square(exact)))


def mean_squared_error(found: np.ndarray, exact: np.ndarray) -> float:
    """E_p|f - g|² of vectors (n, d): their squared lengths are averaged over the points.

    Example:
        >>> mean_squared_error(np.ones((5, 2)), np.zeros((5, 2)))
        2.0
    """
    difference = np.asarray(found, float) - np.asarray(exact, float)
    return float(np.square(difference).sum(-1).mean())


def central_band(draws: np.ndarray, level: float = 0.9) -> np.ndarray:
    """Ends (2, …) of the pointwise band that one draw more would hit with chance ``level``.

    Of n draws the quantile p is the order statistic p(n + 1): between those of the usual rule,
    which reaches from the least to the largest draw, the chance is only level · (n - 1)/(n + 1).

    Args:
        draws: (draw, …).
        level: between 0 and 1.

    Example:
        >>> central_band(np.arange(1.0, 20.0)).round(6).tolist()
        [1.0, 19.0]
    """
    ends = [0.5 - level / 2, 0.5 + level / 2]
    return np.asarray(np.quantile(draws, ends, axis=0, method="weibull"))


def band_coverage(draws: np.ndarray, exact: np.ndarray, level: float = 0.9) -> float:
    """Share of the points at which the pointwise central band of the draws holds the truth.

    Args:
        draws: posterior draws of a coefficient, (draw, n, …).
        exact: (n, …).
        level: of the band.

    Example:
        >>> band_coverage(np.linspace(0, 1, 101)[:, None], np.array([0.5, 0.97]))
        0.5
    """
    low, high = central_band(draws, level)
    return float(np.mean((low <= exact) & (exact <= high)))


def information_bound(
    drift: np.ndarray, diffusion: np.ndarray, duration: float, parameters: int = 1
) -> float:
    r"""Relative drift error of the best unbiased estimates, √(k E_p tr Σ̄ / dT) / ‖b̄‖.

    A record of duration T tells a constant drift to a variance of Σ̄/T; k is the number of
    parameters that the data must tell. What is known beforehand, by a prior or a coupling, can do
    better.

    Args:
        drift: b̄ at points drawn from p, (n, d).
        diffusion: Σ̄ there, (n, d, d).
        duration: T, that of all paths together.
        parameters: k.

    Example:
        >>> round(information_bound(np.full((3, 1), 0.5), np.full((3, 1, 1), 0.25), 100.0), 6)
        0.1
    """
    noise = np.trace(diffusion, axis1=-2, axis2=-1).mean() / drift.shape[-1]
    return math.sqrt(parameters * noise / duration / np.square(drift).sum(-1).mean())


def moments(samples: np.ndarray, powers: Sequence[int] = (2, 4)) -> dict[str, list[float]]:
    """E xᵏ of each component of samples (…, d), by the name of k.

    Example:
        >>> moments(np.array([[1.0], [-3.0]]))
        {'2': [5.0], '4': [41.0]}
    """
    flat = np.asarray(samples, float).reshape(-1, samples.shape[-1])
    return {str(power): np.mean(flat**power, axis=0).tolist() for power in powers}


def stationary_distance(found: np.ndarray, exact: np.ndarray) -> float:
    r"""Distance of two stationary laws from samples (…, d) of each, in standard deviations.

    The Wasserstein-1 distance of the marginal law of each component, ∫|F - G| dx, over the standard
    deviation of ``exact``; the mean over the components. Two samples of one law are not at distance
    zero: compare with that between halves of one.

    Example:
        >>> sample = np.linspace(-1, 1, 101)[:, None]
        >>> round(stationary_distance(sample + 0.1, sample) * float(sample.std()), 6)
        0.1
    """
    found, exact = (np.asarray(each, float).reshape(-1, each.shape[-1]) for each in (found, exact))
    distances = [
        wasserstein_distance(one, other) / other.std()
        for one, other in zip(found.T, exact.T, strict=True)
    ]
    return float(np.mean(distances))


def autocorrelation(paths: np.ndarray, lags: Sequence[int]) -> np.ndarray:
    """Autocorrelation of each component at ``lags``, pooled over paths of one stationary law.

    Args:
        paths: (n, T, d), at equal times.
        lags: in frames, from 0 to T - 1.

    Returns:
        (lags, d): covariance of values that far apart over the variance.
    """
    paths = np.asarray(paths, float)
    centred = paths - paths.mean((0, 1))
    length = centred.shape[1]
    covariance = [
        np.mean(centred[:, : length - lag] * centred[:, lag:], axis=(0, 1)) for lag in lags
    ]
    return np.stack(covariance) / np.mean(centred**2, axis=(0, 1))


def mean_passage_time(paths: np.ndarray, spacing: float, level: float) -> float:
    """Mean time from one well of a double well to the other.

    A path is in the left well from when it is at ``-level`` or below until it reaches ``level``,
    and the other way round. Time before it is first in a well does not count. The mean is the time
    spent in wells over the number of passages, which is also right where records end in between.

    Args:
        paths: (n, T) of one component.
        spacing: time between two frames.
        level: positive.

    Returns:
        NaN without a passage.
    """
    time, passages = 0, 0
    for path in np.asarray(paths, float):
        extreme = np.flatnonzero(np.abs(path) >= level)
        if extreme.size:
            time += len(path) - 1 - int(extreme[0])
            passages += int(np.count_nonzero(np.diff(np.sign(path[extreme]))))
    return time * spacing / passages if passages else math.nan
