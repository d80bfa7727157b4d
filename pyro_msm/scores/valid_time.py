"""How long a forecast stays useful."""

from __future__ import annotations

import numpy as np


def valid_prediction_time(
    error: np.ndarray, lead_time: np.ndarray, threshold: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """The last lead time up to which the error stayed at or below ``threshold``.

    The threshold of 0.5 is the customary one (Vlachas et al. 2020), there for the error normalised
    by the climatological deviation, here for any error that is given.

    Args:
        error: (trajectory, time); NaN counts as above the threshold.
        lead_time: (time,), increasing.
        threshold: in the units of ``error``.

    Returns:
        The valid time of each trajectory (0 if the first error is too large already), and whether
        the forecast never failed, so that the horizon is only a lower bound.
    """
    good = np.asarray(error) <= threshold
    lasted = np.logical_and.accumulate(good, axis=1).sum(1)
    times = np.concatenate([[0.0], np.asarray(lead_time, float)])
    return times[lasted], lasted == good.shape[1]
