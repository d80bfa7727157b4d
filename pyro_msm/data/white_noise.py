"""How much of a record is noise, told from its differences in time."""

from __future__ import annotations

import math

import numpy as np

#: Highest order of differences. Each takes away polynomials of a lower degree.
ORDERS = 6


def white_noise_std(field: np.ndarray) -> np.ndarray:
    """Standard deviation of observation noise, independent from one time to the next.

    Differences of order k have the noise's variance times binom(2k, k), and whatever they leave of
    a signal adds to it (J. von Neumann, 1941; P. Hall, J. W. Kay and D. M. Titterington, 1990).
    The least over the orders therefore bounds the noise from above, and is close to it where the
    record resolves the signal in time.

    Args:
        field: (trajectory, time, channel, *grid) at equal distances in time; NaN was not observed.

    Returns:
        (channel,) in the field's units; infinite where no two times were observed at one place.

    Example:
        >>> times, noise = np.linspace(0, 6, 500), np.random.default_rng(0).normal(size=500)
        >>> float(white_noise_std((np.sin(times) + 0.1 * noise)[None, :, None])[0].round(2))
        0.1
    """
    channels = field.shape[2]
    best = np.full(channels, np.inf)
    for order in range(1, min(ORDERS, field.shape[1] - 1) + 1):
        total, count = np.zeros(channels), np.zeros(channels)
        for record in field:
            rest = np.diff(record.astype(float), order, axis=0)
            seen = np.isfinite(rest)
            every = 0, *range(2, rest.ndim)
            total += np.square(rest, where=seen, out=np.zeros_like(rest)).sum(every)
            count += seen.sum(every)
        variance = np.divide(total, count, out=np.full(channels, np.inf), where=count > 0)
        best = np.minimum(best, variance / math.comb(2 * order, order))
    return np.sqrt(best)
