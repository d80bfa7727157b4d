"""The form of a dataset, checked once at the door. ``docs/data-schema.md`` tells it to users."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import xarray as xr

from pyro_msm.data.axes import (
    checked_labels,
    checked_space,
    checked_time,
    dimension_names,
)
from pyro_msm.data.lazy import blocks, cast, expanded
from pyro_msm.data.splits import checked_split
from pyro_msm.errors import InputError

DIMENSIONS: dict[str, tuple[str, ...]] = {
    "field": ("trajectory", "time", "channel", "x", "y"),
    "particles": ("trajectory", "time", "particle", "component"),
    "path": ("trajectory", "time", "component"),
}
FILLED_IN = ("trajectory", "channel", "component")
COMPANIONS: dict[str, tuple[str, ...]] = {
    "parameters": ("trajectory", "parameter"),
    "forcing": ("trajectory", "time", "component"),
}

#: The dimension of a forcing that does not have the times of the snapshots.
FORCING_TIME = "forcing_time"

logger = logging.getLogger("pyro_msm")


def variable(dataset: xr.Dataset, source: str = "dataset") -> str:
    """Name of the variable that the dataset holds: ``field``, ``particles`` or ``path``.

    Raises:
        InputError: it holds none of them, or more than one.
    """
    held = [name for name in DIMENSIONS if name in dataset.data_vars]
    if len(held) == 1:
        return held[0]
    if held:
        raise InputError(
            f"{source}: holds {' and '.join(held)}: expected exactly one of field, particles, path"
        )
    found = ", ".join(map(str, dataset.data_vars)) or "none"
    raise InputError(
        f"{source}: no variable field (nor particles, nor path); found {found}: rename yours, for "
        "instance dataset.rename(u='field')"
    )


def validate(
    dataset: xr.Dataset, source: str = "dataset", *, check_values: bool = True
) -> xr.Dataset:
    """The dataset in full form: everything downstream relies on it and checks no more.

    A missing trajectory or channel axis, split, boundary, domain, or spatial coordinate is filled
    in, and the logger ``pyro_msm`` says so. Values of single precision are not copied.

    Args:
        dataset: ``field(trajectory, time, channel, x[, y])``, ``particles(trajectory, time,
            particle, component)`` or ``path(trajectory, time, component)``, with what goes with it.
        source: what messages call it, usually the file's name.
        check_values: read all values, a block at a time, for NaN; False where that has been done.

    Raises:
        InputError: anything that is not as expected, in one line.

    >>> import numpy as np
    >>> waves = np.sin(np.linspace(0, 6, 50)[:, None] + np.arange(8))
    >>> bare = xr.Dataset({"field": (("time", "x"), waves)}, {"time": np.arange(50.0)})
    >>> dict(validate(bare).sizes)
    {'trajectory': 1, 'time': 50, 'channel': 1, 'x': 8}
    """
    name = variable(dataset, source)
    dataset = _checked_dimensions(dataset, name, source)
    dataset = checked_time(dataset, source, uniform=name != "path")
    if "forcing" in dataset and FORCING_TIME in dataset["forcing"].dims:
        dataset = checked_time(dataset, source, uniform=False, axis=FORCING_TIME)
    if name == "field":
        dataset = checked_space(dataset, source)
    dataset = checked_labels(dataset, source)
    if "mask" in dataset:
        dataset["mask"] = _checked_mask(dataset, source)
    for part in (name, "clean", *COMPANIONS):
        if part in dataset:
            dataset[part] = _checked_numbers(dataset[part], source)
            if check_values:
                mask = dataset.get("mask") if part in (name, "clean") else None
                _check_finite(dataset[part], mask, source)
    return _checked_attributes(checked_split(dataset, source), source)


def _checked_dimensions(dataset: xr.Dataset, name: str, source: str) -> xr.Dataset:
    """The dataset with every dimension of the contract, in its order."""
    given = dataset[name].dims
    expected = tuple(dim for dim in DIMENSIONS[name] if dim != "y" or "y" in given)
    empty = [dim for dim in given if dataset.sizes[dim] == 0]
    if empty:
        raise InputError(f"{source}: {name} is empty: its dimension {empty[0]} has no entries")
    unknown = [str(dim) for dim in given if dim not in expected]
    missing = [dim for dim in expected if dim not in given and dim not in FILLED_IN]
    if unknown or missing:
        faults = [f"unknown {', '.join(unknown)}"] if unknown else []
        faults += [f"missing {', '.join(missing)}"] if missing else []
        raise InputError(
            f"{source}: {name} has dimensions {dimension_names(given)}: expected "
            f"{dimension_names(expected)} ({'; '.join(faults)}); rename them with dataset.rename"
        )
    ordered = tuple(dim for dim in expected if dim in given)
    if given != ordered:
        raise InputError(
            f"{source}: {name} has dimensions {dimension_names(given)}: expected the order "
            f"{dimension_names(ordered)}; use dataset.transpose{ordered}".replace("'", '"')
        )
    filled = [dim for dim in expected if dim not in given]
    if filled:
        logger.warning("%s: %s has no axis %s; added", source, name, " and ".join(filled))
    dataset = dataset.copy()
    for part in ("mask", "clean", name):
        if part in dataset:
            if dataset[part].dims != given:
                raise InputError(
                    f"{source}: {part} has dimensions {dimension_names(dataset[part].dims)}: "
                    f"expected those of {name}, {dimension_names(given)}"
                )
            dataset[part] = expanded(dataset[part], expected)
    return _checked_companions(dataset, "trajectory" in filled, source)


def _checked_companions(dataset: xr.Dataset, alone: bool, source: str) -> xr.Dataset:
    """``parameters`` and ``forcing`` with a trajectory axis, added where the record has none."""
    for part, expected in COMPANIONS.items():
        if part not in dataset:
            continue
        if part == "forcing" and FORCING_TIME in dataset[part].dims:
            expected = ("trajectory", FORCING_TIME, "component")
        if alone and dataset[part].dims == expected[1:]:
            dataset[part] = expanded(dataset[part], expected)
        if dataset[part].dims != expected:
            raise InputError(
                f"{source}: {part} has dimensions {dimension_names(dataset[part].dims)}: expected "
                f"{dimension_names(expected)}"
            )
        empty = [dim for dim in expected if dataset.sizes[dim] == 0]
        if empty:
            raise InputError(f"{source}: {part} is empty: its dimension {empty[0]} has no entries")
    return dataset


def _checked_numbers(array: xr.DataArray, source: str) -> xr.DataArray:
    if array.dtype.kind not in "fiu":
        raise InputError(f"{source}: {array.name} has type {array.dtype}: expected real numbers")
    if array.name in ("parameters", "forcing"):
        return array.astype(np.float64)
    # Values beyond single precision become infinite, which the next check tells.
    return array if array.dtype == np.float32 else cast(array, np.float32)


def _checked_mask(dataset: xr.Dataset, source: str) -> xr.DataArray:
    mask = dataset["mask"]
    if mask.dtype == np.bool_:
        return mask
    valid = mask.dtype.kind in "fiu" and all(
        np.isin(mask.isel(block).values, (0, 1)).all() for block in blocks(mask)
    )
    if not valid:
        raise InputError(
            f"{source}: mask has type {mask.dtype} with values other than 0 and 1: expected True "
            "where the field was observed and False elsewhere"
        )
    return cast(mask, bool)


def _check_finite(array: xr.DataArray, mask: xr.DataArray | None, source: str) -> None:
    """Raises where an observed value is not finite; reads a block at a time."""
    count, first = 0, ""
    for block in blocks(array):
        wrong = ~np.isfinite(array.isel(block).values)
        if mask is not None:
            wrong &= mask.isel(block).values
        found = int(np.count_nonzero(wrong))
        if found and not count:
            place = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
            starts = [part.start for part in block.values()] + [0] * len(wrong.shape)
            first = ", ".join(
                f"{dim} {start + int(index)}"
                for dim, start, index in zip(array.dims, starts, place, strict=False)
            )
        count += found
    if count:
        advice = (
            "the mask marks them as observed: set it to False there"
            if mask is not None
            else "repair them, or add a boolean variable mask that is False where they stand"
        )
        raise InputError(
            f"{source}: {array.name} has {count} values that are NaN or infinite (in single "
            f"precision), the first at index {first}: {advice}"
        )


def _checked_attributes(dataset: xr.Dataset, source: str) -> xr.Dataset:
    """The dataset with plain Python attributes, a valid ``noise_std`` among them."""
    plain = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in dataset.attrs.items()
    }
    dataset = dataset.drop_attrs(deep=False).assign_attrs(plain)
    given: Any = dataset.attrs.get("noise_std", 0.0)
    try:
        valid = float(given) >= 0
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise InputError(
            f"{source}: attribute noise_std is {given!r}: expected a number that is not negative"
        )
    if "noise_std" in dataset.attrs:
        dataset = dataset.assign_attrs(noise_std=float(given))
    return dataset
