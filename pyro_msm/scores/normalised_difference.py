"""Errors of fields in units of their range."""

from __future__ import annotations

import numpy as np


def normalised_absolute_difference(forecast: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """NAD: mean over space of |forecast - truth| over the range of the truth, at every time.

    The range is that of a channel over all times and points of a trajectory, so it depends on the
    window (Vlachas et al., Nat. Mach. Intell. 4, 2022, Methods). Its mean over times is the MNAD.

    Args:
        forecast: (…, trajectory, time, channel, x[, y]); leading axes, if any, are members.
        truth: (trajectory, time, channel, x[, y]).

    Returns:
        (…, trajectory, time, channel); infinite where the truth never changes.

    >>> truth = np.linspace(0, 1, 11)[None, None, None]
    >>> float(normalised_absolute_difference(truth + 0.1, truth)[0, 0, 0].round(6))
    0.1
    """
    truth = np.asarray(truth, dtype=np.float64)
    space = tuple(range(3, truth.ndim))
    over = (1, *space)
    span = (truth.max(over) - truth.min(over))[:, None]
    difference = np.abs(forecast - truth).mean(tuple(axis - truth.ndim for axis in space))
    with np.errstate(divide="ignore"):
        return difference / span
