"""How much of a field is noise, told from its differences in time and space."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import xarray as xr

from pyro_msm.data.evenly import evenly
from pyro_msm.data.gaps import with_gaps

#: Highest order of differences. Each takes away polynomials of a lower degree.
ORDERS = 6
#: Trajectories that are looked at, stretches of each, and their snapshots.
TRAJECTORIES, STRETCHES, SNAPSHOTS = 20, 5, 20


def white_noise_std(data: xr.Dataset) -> np.ndarray:
    """Standard deviation of observation noise that is independent at every time and place.

    Differences of order k have the noise's variance times binom(2k, k), and whatever they leave of
    a signal adds to it (J. von Neumann, 1941; P. Hall, J. W. Kay and D. M. Titterington, 1990).
    The least over orders and axes therefore bounds the noise from above, and is close to it where
    the data resolve the signal in time or along a spatial axis.

    Args:
        data: a dataset with a ``field``, evenly spaced.

    Returns:
        (channel,) in the field's units; infinite where no two neighbours were observed.

    Example:
        >>> times, noise = np.linspace(0, 6, 500), np.random.default_rng(0).normal(size=500)
        >>> field = (np.sin(times) + 0.1 * noise)[None, :, None, None]
        >>> dims = ("trajectory", "time", "channel", "x")
        >>> float(white_noise_std(xr.Dataset({"field": (dims, field)}))[0].round(1))
        0.1
    """
    every = 0, *range(2, data["field"].ndim - 1)
    squares = np.zeros((len(every), ORDERS, data.sizes["channel"]))
    counts = np.zeros_like(squares)
    for stretch in _stretches(data):
        for number, axis in enumerate(every):
            rest = stretch
            for order in range(min(ORDERS, stretch.shape[axis] - 1)):
                rest = np.diff(rest, axis=axis)
                counts[number, order] += np.isfinite(rest).sum(every)
                squares[number, order] += np.nansum(rest**2, every)
    variances = np.divide(squares, counts, out=np.full_like(squares, np.inf), where=counts > 0)
    sizes = [math.comb(2 * order, order) for order in range(1, ORDERS + 1)]
    return np.asarray(np.sqrt((variances / np.array(sizes)[:, None]).min((0, 1))))


def _stretches(data: xr.Dataset) -> Iterator[np.ndarray]:
    """Parts (time, channel, *grid) of a field, NaN where it was not observed."""
    length = min(SNAPSHOTS, data.sizes["time"])
    for row in evenly(0, data.sizes["trajectory"] - 1, TRAJECTORIES):
        for start in evenly(0, data.sizes["time"] - length, STRETCHES):
            part = data.isel(trajectory=row, time=slice(start, start + length))
            yield with_gaps(part).astype(float)
