"""The axes of a dataset: time, space with its boundary and length, and labels."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr

from pyro_msm.errors import InputError

BOUNDARIES = ("periodic", "wall", "open")
LABELS = ("trajectory", "channel", "component", "particle", "parameter")

UNIFORM_TOLERANCE = 1e-4
DOMAIN_TOLERANCE = 0.1

logger = logging.getLogger("pyro_msm")


def space_axes(dataset: xr.Dataset) -> list[str]:
    """The spatial axes of ``field`` in their order: ["x"], ["x", "y"], or none without a field."""
    if "field" not in dataset:
        return []
    return [axis for axis in ("x", "y") if axis in dataset["field"].dims]


def node_centred(dataset: xr.Dataset) -> list[bool]:
    """For each spatial axis, whether its outer points lie on the boundary.

    Then the domain is n-1 spacings long and macro-1 must divide n-1; otherwise it is n spacings
    long (periodic or cell-centred) and the coarse size must divide n.
    """
    return [
        abs(length - (dataset.sizes[axis] - 1) * _spacing(dataset[axis].values))
        < DOMAIN_TOLERANCE * _spacing(dataset[axis].values)
        for axis, length in zip(space_axes(dataset), dataset.attrs["domain"], strict=True)
    ]


def checked_time(dataset: xr.Dataset, source: str, uniform: bool, axis: str = "time") -> xr.Dataset:
    """The dataset with float64 times on ``axis``, strictly increasing and, if asked, uniform."""
    if axis not in dataset.coords:
        raise InputError(
            f"{source}: no coordinate {axis}: add one, for instance "
            f"dataset.assign_coords({axis}=0.01 * np.arange({dataset.sizes[axis]}))"
        )
    given = _numbers(dataset[axis], source)
    time = given.astype(np.float64)
    steps = np.diff(time)
    if (steps <= 0).any():
        index = int(np.argmax(steps <= 0)) + 1
        verb = "repeats a value" if steps[index - 1] == 0 else "decreases"
        raise InputError(
            f"{source}: {axis} {verb} at index {index} ({time[index - 1]:g}, then "
            f"{time[index]:g}): expected strictly increasing times; sort them with "
            f"dataset.sortby({axis!r})"
        )
    if uniform and len(steps) > 1 and not _is_uniform(given):
        index = int(np.argmax(np.abs(steps - np.median(steps))))
        raise InputError(
            f"{source}: {axis} is not uniform (step {steps[index]:g} after index {index}, median "
            f"step {np.median(steps):g}): interpolate to equal steps with "
            f"dataset.interp({axis}=...)"
        )
    if uniform and given.dtype != np.float64:
        time = np.linspace(time[0], time[-1], len(time))
    return dataset.assign_coords({axis: (axis, time, dataset[axis].attrs)})


def checked_space(dataset: xr.Dataset, source: str) -> xr.Dataset:
    """The dataset with ``boundary`` and ``domain`` as lists, and a uniform coordinate per axis."""
    axes = space_axes(dataset)
    boundary = _boundary(dataset, axes, source)
    given = _domain(dataset, axes, source)
    dataset = dataset.assign_attrs(boundary=boundary)
    domain: list[float] = []
    for index, axis in enumerate(axes):
        length = None if given is None else given[index]
        if axis not in dataset.coords:
            dataset = _fill_axis(dataset, axis, boundary[index], length, source)
        coordinate = _numbers(dataset[axis], source).astype(np.float64)
        _check_axis(dataset[axis], coordinate, source)
        inferred = len(coordinate) * _spacing(coordinate)
        if length is None:
            length = inferred
            logger.warning(
                "%s: no attribute domain; axis %s taken as %g long (points times spacing)",
                source,
                axis,
                length,
            )
        _check_length(axis, length, inferred, len(coordinate), boundary[index], source)
        domain.append(length)
        dataset = dataset.assign_coords({axis: (axis, coordinate, dataset[axis].attrs)})
    return dataset.assign_attrs(domain=domain)


def checked_labels(dataset: xr.Dataset, source: str) -> xr.Dataset:
    """The dataset with labels on every axis that has any, none of them twice."""
    for axis in LABELS:
        if axis not in dataset.dims:
            continue
        if axis not in dataset.coords:
            count = dataset.sizes[axis]
            labels = np.arange(count) if axis in ("trajectory", "particle") else _names(axis, count)
            dataset = dataset.assign_coords({axis: labels})
        values = dataset[axis].values.tolist()
        repeated = next((value for value in values if values.count(value) > 1), None)
        if repeated is not None:
            raise InputError(
                f"{source}: coordinate {axis} holds {repeated!r} more than once: expected "
                "different labels"
            )
        if dataset[axis].dtype.kind not in "iufU":
            labels = np.asarray([str(value) for value in values])
            dataset = dataset.assign_coords({axis: (axis, labels, dataset[axis].attrs)})
    return dataset


def _names(axis: str, count: int) -> np.ndarray:
    return np.asarray([f"{axis} {index}" for index in range(count)])


def _boundary(dataset: xr.Dataset, axes: list[str], source: str) -> list[str]:
    if "boundary" not in dataset.attrs:
        logger.warning("%s: no attribute boundary; every axis taken as open", source)
        return ["open"] * len(axes)
    given = _as_list(dataset.attrs["boundary"])
    if len(given) == 1:
        given = given * len(axes)
    wrong = [value for value in given if value not in BOUNDARIES]
    if wrong or len(given) != len(axes):
        raise InputError(
            f"{source}: attribute boundary is {given}: expected one of {', '.join(BOUNDARIES)} for "
            f"each of the axes {', '.join(axes)}"
        )
    return [str(value) for value in given]


def _domain(dataset: xr.Dataset, axes: list[str], source: str) -> list[float] | None:
    if "domain" not in dataset.attrs:
        return None
    given = _as_list(dataset.attrs["domain"])
    try:
        lengths = [float(value) for value in given]
    except (TypeError, ValueError):
        lengths = []
    if len(lengths) != len(axes) or not all(0 < length < np.inf for length in lengths):
        raise InputError(
            f"{source}: attribute domain is {given}: expected one positive length for each of the "
            f"axes {', '.join(axes)}"
        )
    return lengths


def _fill_axis(
    dataset: xr.Dataset, axis: str, boundary: str, length: float | None, source: str
) -> xr.Dataset:
    count = dataset.sizes[axis]
    spacing = 1.0 if length is None else length / count
    shift = 0.0 if boundary == "periodic" else 0.5
    logger.warning(
        "%s: no coordinate %s; taken as %d cells of width %g", source, axis, count, spacing
    )
    return dataset.assign_coords({axis: spacing * (np.arange(count) + shift)})


def _check_axis(given: xr.DataArray, coordinate: np.ndarray, source: str) -> None:
    axis = given.name
    if len(coordinate) < 2:
        raise InputError(f"{source}: axis {axis} has {len(coordinate)} point: expected 2 or more")
    steps = np.diff(coordinate)
    if (steps <= 0).any():
        index = int(np.argmax(steps <= 0)) + 1
        verb = "repeats a value" if steps[index - 1] == 0 else "decreases"
        raise InputError(
            f"{source}: coordinate {axis} {verb} at index {index}: expected strictly increasing "
            f"values; sort them with dataset.sortby({axis!r})"
        )
    if not _is_uniform(given.values):
        raise InputError(
            f"{source}: coordinate {axis} is not uniform (steps from {steps.min():g} to "
            f"{steps.max():g}): interpolate to a uniform grid with dataset.interp({axis}=...)"
        )


def _check_length(
    axis: str, length: float, cells: float, count: int, boundary: str, source: str
) -> None:
    spacing = cells / count
    if abs(length - cells) < DOMAIN_TOLERANCE * spacing:
        return
    node = abs(length - (cells - spacing)) < DOMAIN_TOLERANCE * spacing
    if node and boundary != "periodic":
        return
    expected = f"{cells:g} (points times spacing)"
    hint = "set the attribute domain to it"
    if boundary != "periodic":
        expected += f" or {cells - spacing:g} (outer points on the boundary)"
    elif node:
        hint = "the last point repeats the first one: leave it out"
    raise InputError(
        f"{source}: attribute domain says {length:g} for the {boundary} axis {axis}, but its "
        f"{count} points {spacing:g} apart need {expected}: {hint}"
    )


def _numbers(coordinate: xr.DataArray, source: str) -> np.ndarray:
    values = np.asarray(coordinate.values)
    if values.dtype.kind not in "fiu":
        raise InputError(
            f"{source}: coordinate {coordinate.name} has type {values.dtype}: expected numbers, "
            "for times those since the start of the record"
        )
    if not np.isfinite(values).all():
        raise InputError(f"{source}: coordinate {coordinate.name} holds NaN or infinite values")
    return values


def _is_uniform(values: np.ndarray) -> bool:
    """Whether the steps agree, as far as the precision in which they are stored can tell."""
    exact = values.astype(np.float64)
    steps = np.diff(exact)
    rounding = 0.0
    if values.dtype.kind == "f":
        rounding = 4 * float(np.finfo(values.dtype).eps) * float(np.abs(exact).max())
    allowed = UNIFORM_TOLERANCE * steps.mean() + rounding
    return bool(np.abs(steps - steps.mean()).max() <= allowed)


def _spacing(coordinate: np.ndarray) -> float:
    return float(coordinate[-1] - coordinate[0]) / (len(coordinate) - 1)


def _as_list(value: Any) -> list[Any]:
    """NetCDF gives a list of one entry back as that entry, and others as arrays."""
    if isinstance(value, np.ndarray):
        return list(value.ravel().tolist())
    return list(value) if isinstance(value, (list, tuple)) else [value]


def dimension_names(dims: tuple[Hashable, ...]) -> str:
    """Dimensions as they stand in messages: (trajectory, time, x)."""
    return f"({', '.join(map(str, dims))})"
