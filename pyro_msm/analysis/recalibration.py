"""Post-hoc recalibration of an ensemble on held-out trajectories: arrays in, arrays out.

It changes what a forecast claims, not the model; say so wherever its result is shown. The raw
ensemble is what ``evaluate`` scores; ``recalibrated`` of scores.json compares the two.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyro_msm.errors import InputError


class ConformalBand(NamedTuple):
    """Ends of a band, (trajectory, time, …)."""

    low: np.ndarray
    high: np.ndarray


def spread_factors(members: np.ndarray, truth: np.ndarray, window: int = 1) -> np.ndarray:
    """By what the spread must be multiplied at each lead time to match the error of the mean.

    √(⟨(x̄ − y)²⟩ / ⟨(M+1)/M · s²⟩), squares averaged over trajectories and points: the inverse of
    the spread–skill ratio. Fit it on validation trajectories, apply it with ``rescale_spread``.

    Args:
        members: (member, trajectory, time, …), comparable with ``truth``: with observation noise if
            the truth is noisy.
        truth: (trajectory, time, …); NaN where not observed.
        window: an odd number of lead times over which the squares are averaged.

    Returns:
        (time,); 1 where there is no spread.

    Raises:
        InputError: one member, or an even window.
    """
    return factors_of(*spread_squares(members, truth), window)


def spread_squares(members: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Σ(x̄ − y)² and Σ(M+1)/M · s² over trajectories and observed points, (time,) each.

    Arguments as for ``spread_factors``; sums of several parts add up.
    """
    _check(members, truth)
    size = len(members)
    axes = (0, *range(2, truth.ndim))
    seen = np.isfinite(truth)
    error = np.where(seen, members.mean(0, dtype=np.float64) - truth, 0) ** 2
    variance = np.where(seen, members.var(0, ddof=1, dtype=np.float64), 0) * (size + 1) / size
    return error.sum(axes), variance.sum(axes)


def factors_of(errors: np.ndarray, variances: np.ndarray, window: int = 1) -> np.ndarray:
    """``spread_factors`` from the sums of ``spread_squares``."""
    if window < 1 or window % 2 == 0:
        raise InputError(f"expected an odd window of lead times, got {window}")
    errors, variances = _running(errors, window), _running(variances, window)
    # Where members diverged nothing is known, and NaN says so.
    known = np.divide(errors, variances, out=np.ones_like(errors), where=variances != 0)
    return np.sqrt(known)


def rescale_spread(members: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Members moved towards or away from their mean by ``factors`` (time,); the mean stays."""
    centre = members.mean(0, dtype=np.float64)
    shape = (-1, *(1 for _ in range(members.ndim - 3)))
    return (centre + factors.reshape(shape) * (members - centre)).astype(members.dtype)


def conformal_factors(
    members: np.ndarray, truth: np.ndarray, level: float = 0.9, simultaneous: bool = False
) -> np.ndarray:
    """Half-widths, in units of the spread, of bands with a finite-sample guarantee.

    Split-conformal prediction with the trajectory as the exchangeable unit, at each lead time on
    its own (conformal risk control, Angelopoulos et al. 2024, for the fraction of points missed).
    With n calibration trajectories and R(λ) the mean fraction of their points outside x̄ ± λ s, λ is
    the least with (n R(λ) + 1)/(n + 1) ≤ 1 − level. Whatever the model, a new trajectory that is
    exchangeable with them then has, in expectation over both, at least ``level`` of its points at
    that lead time inside. Given one calibration set it may hold more or less.

    Args:
        members: (member, trajectory, time, …) of the calibration trajectories, which neither
            training nor the choice of the model has seen.
        truth: (trajectory, time, …); NaN where not observed.
        level: the coverage that is promised.
        simultaneous: all points of a lead time at once are inside with probability ``level``,
            instead of that share of them.

    Returns:
        λ of each lead time, (time,).

    Raises:
        InputError: too few trajectories for the level (0.9 needs 9), or one member.
    """
    _check(members, truth)
    if not 0 < level < 1:
        raise InputError(f"expected a level between 0 and 1, got {level}")
    count, times = truth.shape[:2]
    allowed = (1 - level) * (count + 1) - 1  # largest total of the fractions missed
    if allowed < -1e-9:
        need = int(np.ceil(level / (1 - level) - 1e-9))
        raise InputError(
            f"a conformal band of level {level:g} needs at least {need} calibration trajectories, "
            f"got {count}: points of one trajectory are not exchangeable; ask for a lower level"
        )
    scores = _distance(members, truth).reshape(count, times, -1)
    return np.array([_least_factor(scores[:, t], allowed, simultaneous) for t in range(times)])


def conformal_band(members: np.ndarray, factors: np.ndarray) -> ConformalBand:
    """Mean ± factor · spread of new members (member, trajectory, time, …); factors (time,)."""
    centre = members.mean(0, dtype=np.float64)
    shape = (-1, *(1 for _ in range(members.ndim - 3)))
    half = factors.reshape(shape) * members.std(0, ddof=1, dtype=np.float64)
    return ConformalBand(centre - half, centre + half)


def _least_factor(scores: np.ndarray, allowed: float, simultaneous: bool) -> float:
    """From the distances (trajectory, point) of one lead time: missed when above the factor."""
    seen = np.isfinite(scores) | np.isposinf(scores)
    if simultaneous:
        scores = np.where(seen, scores, -np.inf).max(1, keepdims=True)
        seen = seen.any(1, keepdims=True)
    weight = np.where(seen, 1 / np.maximum(seen.sum(1, keepdims=True), 1), 0)
    values, weights = scores[seen], weight[seen]
    order = np.argsort(values)[::-1]
    values, missed = values[order], np.cumsum(weights[order])
    # A factor just at values[i] misses what is strictly larger: the largest such i may be missed.
    number = int(np.searchsorted(missed, allowed + 1e-9, side="right"))
    return float(values[number]) if number < len(values) else 0.0


def _distance(members: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """|y − x̄| / s; infinite where there is no spread or a member diverged, NaN if not observed."""
    error = np.abs(members.mean(0, dtype=np.float64) - truth)
    spread = members.std(0, ddof=1, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        distance = np.where(error == 0, 0.0, error / spread)
    return np.where(np.isfinite(truth), np.nan_to_num(distance, nan=np.inf, posinf=np.inf), np.nan)


def _running(values: np.ndarray, window: int) -> np.ndarray:
    """Sums over a centred window, shorter at both ends."""
    return np.convolve(values, np.ones(window), "same") if window > 1 else values


def _check(members: np.ndarray, truth: np.ndarray) -> None:
    if members.ndim < 3 or members.shape[1:] != truth.shape:
        raise InputError(
            "expected members (member, trajectory, time, …) and truth of the same trailing shape, "
            f"got {members.shape} and {truth.shape}"
        )
    if len(members) < 2:
        raise InputError("an ensemble of one member has no spread to recalibrate")
