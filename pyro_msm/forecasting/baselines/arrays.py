"""Between datasets and the plain arrays that the baselines work on."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pyro_msm.data.schema import variable
from pyro_msm.errors import InputError


def observed(data: xr.Dataset) -> tuple[np.ndarray, np.ndarray | None]:
    """Values (trajectory, time, …) of the dataset's variable, and its mask or None."""
    mask = data["mask"].values if "mask" in data else None
    return data[variable(data)].values, mask


def observed_mean(
    values: np.ndarray, mask: np.ndarray | None, axis: int | tuple[int, ...]
) -> np.ndarray:
    """Mean of what was observed, float32; zero where nothing was."""
    if mask is None:
        return values.mean(axis=axis, dtype=np.float64).astype(np.float32)
    total = np.where(mask, values, 0).sum(axis=axis, dtype=np.float64)
    return (total / np.maximum(mask.sum(axis=axis), 1)).astype(np.float32)


def filled(values: np.ndarray, mask: np.ndarray | None, mean: np.ndarray) -> np.ndarray:
    """Values with ``mean`` where nothing was observed, so that anomalies are zero there."""
    return values if mask is None else np.where(mask, values, mean)


def at_times(known: np.ndarray, values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """``values`` (time, …) at other times: linear in between, held constant outside."""
    if len(known) == 1:
        return np.repeat(values, len(times), axis=0)
    times = np.clip(times, known[0], known[-1])
    right = np.clip(np.searchsorted(known, times), 1, len(known) - 1)
    share = (times - known[right - 1]) / (known[right] - known[right - 1])
    if np.isin(share, (0, 1)).all():
        return values[np.where(share == 1, right, right - 1)]
    share = share.astype(values.dtype).reshape(-1, *[1] * (values.ndim - 1))
    return (1 - share) * values[right - 1] + share * values[right]


def last_snapshots(
    initial: xr.Dataset, count: int, name: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """The last ``count`` snapshots (trajectory, count, …) of initial conditions, and their mask.

    Raises:
        InputError: there are fewer.
    """
    values, mask = observed(initial)
    if values.shape[1] < count:
        raise InputError(
            f"{name} starts from {count} snapshots and was given {values.shape[1]}: give it more, "
            "or fit it with a smaller warmup"
        )
    return values[:, -count:], None if mask is None else mask[:, -count:]


def as_forecast(values: np.ndarray, initial: xr.Dataset, times: np.ndarray) -> xr.Dataset:
    """One member's values (trajectory, time, …) as the dataset of a forecast."""
    name = variable(initial)
    dims = initial[name].dims
    kept = {dim: initial[dim] for dim in dims if dim in initial.coords and dim != "time"}
    missing = np.full((1, values.shape[0]), np.nan)
    return xr.Dataset(
        {
            name: (("member", *dims), values[None].astype(np.float32, copy=False)),
            "diverged_at": (("member", "trajectory"), missing),
        },
        coords={**kept, "member": [0], "time": times},
    )
