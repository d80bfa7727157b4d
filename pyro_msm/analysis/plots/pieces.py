"""What the figures of one trajectory need from an ensemble, read at some times only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import xarray as xr

from pyro_msm.analysis.ensemble_file import Ensemble
from pyro_msm.data.evenly import evenly
from pyro_msm.errors import InputError
from pyro_msm.forecasting.layout import slices
from pyro_msm.scores import order_statistic_level


class Band(NamedTuple):
    """Mean and central band of members, over any trailing shape."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    spread: np.ndarray
    nominal: float


def band(members: np.ndarray, level: float = 0.9) -> Band:
    """Band between order statistics of members (member, …); NaN where a member diverged.

    With one member the band is the member itself and the spread NaN.
    """
    size = len(members)
    mean = members.mean(0, dtype=np.float64)
    if size == 1:
        return Band(mean, mean, mean, np.full(mean.shape, np.nan), 0.0)
    k, nominal = order_statistic_level(size, level)
    ordered = np.sort(members, axis=0)
    low, high = (np.where(np.isnan(mean), np.nan, ordered[i]) for i in (k - 1, size - k))
    return Band(mean, low, high, members.std(0, ddof=1, dtype=np.float64), nominal)


def members_at(
    array: xr.DataArray, trajectory: int, times: np.ndarray | slice, dim: str = "time"
) -> np.ndarray:
    """(member, time, …) of one trajectory, chains and draws joined; NaN where not finite."""
    chosen = array.isel({"trajectory": trajectory, dim: times})
    values = np.asarray(chosen.transpose("chain", "draw", dim, ...).values)
    values = values.reshape(-1, *values.shape[2:])
    return np.where(np.isfinite(values), values, np.nan)


def band_at_all_times(
    ensemble: Ensemble, array: xr.DataArray, trajectory: int, channel: int
) -> Band:
    """Bands (time, x[, y]) of one trajectory and channel, a few times in memory at once."""
    chosen = array.isel(channel=[channel])
    parts = [
        band(members_at(chosen, trajectory, times)[:, :, 0])
        for times in slices(len(ensemble.time), ensemble.pieces(array).times)
    ]
    mean, low, high, spread = (
        np.concatenate([part[number] for part in parts]) for number in range(4)
    )
    return Band(mean, low, high, spread, parts[0].nominal)


def truth(ensemble: Ensemble) -> tuple[xr.DataArray, str]:
    """The clean truth where it is known, else the noisy one, and what to call it."""
    if ensemble.clean is not None:
        return ensemble.clean, "truth (without noise)"
    return ensemble.observed, "truth (noisy)"


def members_for_truth(ensemble: Ensemble) -> xr.DataArray:
    """The members that are comparable with ``truth``: with noise where it is noisy."""
    return ensemble.predictive if ensemble.clean is None else ensemble.signal


def axis_names(ensemble: Ensemble) -> tuple[str, ...]:
    """Names of the spatial axes, ("x",) or ("x", "y")."""
    return tuple(str(d) for d in ensemble.observed.dims[3:])


def axis(ensemble: Ensemble, name: str) -> np.ndarray:
    """Coordinates of a spatial axis, or its cell numbers where it has none."""
    return np.asarray(ensemble.observed[name].values, float)


def channel_name(ensemble: Ensemble, channel: int) -> str:
    """Name of a channel or component, or of the variable where it has none."""
    label = ensemble.kind.label
    if label in ensemble.observed.coords:
        return str(ensemble.observed[label].values[channel])
    return ensemble.kind.name


def mean_part(ensemble: Ensemble, name: str, trajectory: int) -> xr.DataArray | None:
    """A decoded part of the mean (time, channel, x…), averaged over chains; None if absent."""
    posterior = ensemble.tree["posterior"].to_dataset()
    if name not in posterior:
        return None
    return posterior[name].isel(trajectory=trajectory).mean("chain")


def curve(values: Iterable[float | None]) -> np.ndarray:
    """A list of scores.json as numbers: NaN for null."""
    return np.array([np.nan if value is None else value for value in values], float)


def columns(ensemble: Ensemble, count: int) -> np.ndarray:
    """Numbers of ``count`` stored times after the first, evenly spread up to the last."""
    last = len(ensemble.time) - 1
    return evenly(max(1, last // count), last, count)


def require(condition: bool, what: str) -> None:
    """Says what a figure lacks.

    Raises:
        InputError: the condition does not hold.
    """
    if not condition:
        raise InputError(what)
