"""Between datasets and the plain arrays that the baselines work on."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.interpolate import CubicSpline

from pyro_msm.data.lazy import check_fits
from pyro_msm.data.schema import variable
from pyro_msm.data.variables import kind_of
from pyro_msm.errors import InputError


def observed(data: xr.Dataset) -> tuple[np.ndarray, np.ndarray | None]:
    """Values (trajectory, time, …) of the dataset's variable, and its mask or None.

    Raises:
        InputError: they are on disk, and this machine cannot hold them.
    """
    check_fits(data[variable(data)], "this baseline")
    mask = data["mask"].values if "mask" in data else None
    return data[variable(data)].values, mask


def check_comparable(data: xr.Dataset, name: str) -> None:
    """Checks that values at the same place of two snapshots belong together.

    Raises:
        InputError: the data are particles, whose order means nothing.
    """
    kind = kind_of(data)
    if not kind.pointwise:
        raise InputError(
            f"{name} combines values at the same place of several snapshots, and the order of "
            f"{kind.name} means nothing: it does not apply"
        )


def observed_mean(
    values: np.ndarray, mask: np.ndarray | None, axis: int | tuple[int, ...]
) -> np.ndarray:
    """Mean of what was observed, float32; zero where nothing was."""
    if mask is None:
        return values.mean(axis=axis, dtype=np.float64).astype(np.float32)
    total = np.where(mask, values, 0).sum(axis=axis, dtype=np.float64)
    return (total / np.maximum(mask.sum(axis=axis), 1)).astype(np.float32)


def spread(values: np.ndarray, mean: np.ndarray, axis: int) -> np.ndarray:
    """Root mean square of ``values`` (trajectory, …) less ``mean``, at each index of ``axis``.

    Float64, of one trajectory after the other: a copy of all of them may not fit into memory.
    """
    others = tuple(other for other in range(values.ndim - 1) if other != axis % values.ndim - 1)
    squares = [np.square(part - mean).mean(others, dtype=np.float64) for part in values]
    return np.sqrt(np.mean(squares, axis=0))


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


def filled_in_time(values: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Values (trajectory, time, …) whose gaps are filled linearly in time.

    Before the first and after the last observation of a point they are held constant; a point that
    a trajectory never observed has its mean over all of them.
    """
    if mask is None or mask.all():
        return values
    mean = observed_mean(values, mask, axis=(0, 1)).reshape(-1)
    result = np.where(mask, values, 0).astype(np.float32)
    flat = result.reshape(*result.shape[:2], -1)
    seen = mask.reshape(flat.shape)
    frames = np.arange(flat.shape[1])
    for trajectory, point in np.argwhere(~seen.all(1)):
        known = seen[trajectory, :, point]
        series = flat[trajectory, :, point]
        if known.any():
            series[~known] = np.interp(frames[~known], frames[known], series[known])
        else:
            series[:] = mean[point]
    return result


def relative_error(forecast: np.ndarray, truth: np.ndarray, mask: np.ndarray | None) -> float:
    """Mean over trajectories and times of ‖forecast - truth‖/‖truth‖, over what was observed."""
    axes = tuple(range(2, truth.ndim))
    if mask is not None:
        forecast, truth = np.where(mask, forecast, 0), np.where(mask, truth, 0)
    error = np.square(forecast - truth).sum(axes, dtype=np.float64)
    size = np.square(truth).sum(axes, dtype=np.float64)
    return float(np.sqrt(error / np.maximum(size, np.finfo(np.float64).tiny)).mean())


def uniform_step(times: np.ndarray, name: str) -> float:
    """The step between ``times``.

    Raises:
        InputError: there is only one, or they are not uniform.
    """
    steps = np.diff(times)
    if not len(steps):
        raise InputError(f"{name} learns from one snapshot to the next: the data have only one")
    if np.ptp(steps) > 1e-3 * steps.mean():
        raise InputError(
            f"{name} needs snapshots at equal steps of time, and found steps from {steps.min():g} "
            f"to {steps.max():g}: interpolate to equal steps with dataset.interp(time=...)"
        )
    return float(steps.mean())


def bounded(values: np.ndarray, bound: float) -> np.ndarray:
    """``values`` (trajectory, time, …), NaN from the first that is beyond ``bound`` on."""
    with np.errstate(invalid="ignore"):
        inside = np.abs(values).max(axis=tuple(range(2, values.ndim))) < bound
    inside = np.logical_and.accumulate(inside, axis=1)
    return np.where(inside.reshape(*inside.shape, *[1] * (values.ndim - 2)), values, np.nan)


def between(values: np.ndarray, leads: np.ndarray, bound: float) -> np.ndarray:
    """``values`` (trajectory, count, …) of the times 0, 1, 2, … at the times ``leads``: cubic.

    Each trajectory is used as long as it stays within ``bound``; it is NaN beyond.
    """
    flat = bounded(values.reshape(*values.shape[:2], -1), bound)
    finite = np.isfinite(flat).all(-1).sum(1)
    result = np.full((len(flat), len(leads), flat.shape[-1]), np.nan)
    for count in np.unique(finite[finite > 0]):
        rows, inside = np.flatnonzero(finite == count), leads <= count - 1 + 1e-9
        known = flat[rows, :count]
        nearest = np.rint(leads[inside]).astype(int)
        if np.abs(leads[inside] - nearest).max(initial=0) < 1e-6:
            found = known[:, nearest]
        else:
            found = CubicSpline(np.arange(count), known, axis=1)(leads[inside])
        result[np.ix_(rows, np.flatnonzero(inside))] = found
    return result.reshape(len(values), len(leads), *values.shape[2:])


def as_forecast(values: np.ndarray, initial: xr.Dataset, times: np.ndarray) -> xr.Dataset:
    """One member's values (trajectory, time, …) as the dataset of a forecast.

    A trajectory that is not finite everywhere has diverged at the first such time, and is NaN from
    there on.
    """
    name = variable(initial)
    dims = initial[name].dims
    kept = {dim: initial[dim] for dim in dims if dim in initial.coords and dim != "time"}
    values, diverged = values.astype(np.float32, copy=False), np.full(len(values), np.nan)
    lost = ~np.isfinite(values).all(axis=tuple(range(2, values.ndim)))
    if lost.any():
        values = values.copy()
    for index in np.flatnonzero(lost.any(1)):
        first = int(lost[index].argmax())
        diverged[index] = times[first]
        values[index, first:] = np.nan
    return xr.Dataset(
        {
            name: (("member", *dims), values[None]),
            "diverged_at": (("member", "trajectory"), diverged[None]),
        },
        coords={**kept, "member": [0], "time": times},
    )
