"""Single forecasts dressed with the distribution of their past errors: probabilities of a sort."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyro_msm.analysis.ensemble_file import Ensemble, members_of
from pyro_msm.analysis.scored_forecast import Forecast
from pyro_msm.errors import InputError


def dressed_crps(residuals: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """CRPS of a forecast f dressed with errors e: of the distribution that f + e has.

    E|e − r| − ½E|e − e′| with e and e′ drawn from ``errors`` and r = y − f (Gneiting & Raftery
    2007, eq. 21), exactly and in O(log N) a value.

    Args:
        residuals: y − f of the forecasts to score, of any shape.
        errors: (N,) y − f of past forecasts, in any order.

    Returns:
        Of the shape of ``residuals``, in the same units.

    Example:
        >>> dressed_crps(np.array([0.0, 3.0]), np.array([-1.0, 1.0]))
        array([0.5, 2.5])
    """
    ordered = np.sort(errors.astype(np.float64))
    size = len(ordered)
    below = np.searchsorted(ordered, residuals)
    sums = np.concatenate([[0.0], ordered.cumsum()])
    distance = residuals * (2 * below - size) + sums[-1] - 2 * sums[below]
    spread = ((2.0 * np.arange(1, size + 1) - size - 1) @ ordered) / size**2
    return distance / size - spread


def dressed(
    view: Ensemble,
    forecast: Forecast,
    trajectories: np.ndarray,
    held_out: Ensemble,
    past: Forecast,
) -> dict[str, Any]:
    """The CRPS of a single forecast with its validation errors around it.

    The errors of all validation trajectories and points, at each lead time and of each channel on
    their own: their mean, which is the forecast's bias, is part of them. Against the noisy truth,
    like the CRPS of an ensemble with observation noise.

    Args:
        view: an ensemble; where the truth stands.
        forecast: of the same trajectories at its stored times.
        trajectories: numbers of those that are scored.
        held_out: the ensemble of the validation split.
        past: the forecast of its trajectories, at the same lead times.

    Returns:
        ``crps`` and its list ``by_lead_time``.

    Raises:
        InputError: the forecast has several members, or there are other lead times.
    """
    if forecast.members > 1 or past.members > 1:
        raise InputError("only single forecasts are dressed, and this one has members")
    if not held_out.begins_like(view):
        raise InputError("the validation forecast has other lead times than what is to be dressed")
    others = range(held_out.signal.sizes["trajectory"])
    totals = []
    for time in range(1, len(view.time)):
        errors = _residuals(held_out, past, others, time)
        residuals = _residuals(view, forecast, trajectories, time)
        totals.append(_sums(residuals, errors))
    total, count = np.array(totals).T
    with np.errstate(invalid="ignore"):
        return {"crps": total.sum() / count.sum(), "by_lead_time": total / count}


def _residuals(view: Ensemble, forecast: Forecast, trajectories: Any, time: int) -> np.ndarray:
    """y − f at one stored time, (channel, value); infinite where the truth was not observed."""
    times = slice(time, time + 1)
    labels = view.observed.dims[2:].index(view.kind.label)
    parts = []
    for trajectory in map(int, trajectories):
        truth, mask = view.truth_of(view.observed, trajectory, times)
        left = (truth - members_of(forecast.signal, trajectory, times)[0])[0, 0]
        left = left if mask is None else np.where(mask[0, 0], left, np.inf)
        parts.append(np.moveaxis(left, labels, 0).reshape(view.labels, -1))
    return np.concatenate(parts, axis=1)


def _sums(residuals: np.ndarray, errors: np.ndarray) -> tuple[float, int]:
    """Σ CRPS over channels and values, and how many; NaN where a forecast diverged."""
    total, count = 0.0, 0
    for here, past in zip(residuals, errors, strict=True):
        seen, known = here[~np.isinf(here)], past[~np.isinf(past)]
        usable = len(known) and not np.isnan(known).any()
        total += float(dressed_crps(seen, known).sum()) if usable else np.nan
        count += len(seen)
    return total, count
