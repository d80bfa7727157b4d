"""Which part of a dataset is for training, validation and test."""

from __future__ import annotations

import logging

import numpy as np
import xarray as xr

from pyro_msm.errors import InputError

SPLITS = ("train", "validation", "test", "extrapolation")
HELD_OUT = 0.15

logger = logging.getLogger("pyro_msm")


def select(dataset: xr.Dataset, split: str) -> xr.Dataset:
    """The trajectories of a split or, where a record is split in time, its range of time.

    Args:
        dataset: as ``validate`` or ``open`` returns it.
        split: train, validation, test or extrapolation.

    Returns:
        A view wherever the chosen part is contiguous; time stays absolute.

    Raises:
        InputError: no such split in the dataset.

    >>> from pyro_msm.data import systems
    >>> kdv = systems.get("kdv-1d").simulate({"train": 2, "test": 1}, frames=2)
    >>> select(kdv, "train").sizes["trajectory"]
    2
    """
    if split not in SPLITS:
        raise InputError(f"unknown split {split!r}: expected {', '.join(SPLITS)}")
    if "split" not in dataset.variables:
        raise InputError("the dataset has no variable split: pass it through data.validate first")
    dim = str(dataset["split"].dims[0])
    values = dataset["split"].values
    chosen = np.flatnonzero(values == split)
    if not chosen.size:
        present = ", ".join(name for name in SPLITS if name in values)
        raise InputError(
            f"the dataset has no {split} split: its variable split({dim}) holds {present} only; "
            f"mark some of its {'trajectories' if dim == 'trajectory' else 'times'} as {split!r}"
        )
    if chosen[-1] - chosen[0] + 1 == chosen.size:
        return dataset.isel({dim: slice(int(chosen[0]), int(chosen[-1]) + 1)})
    return dataset.isel({dim: chosen})


def checked_split(dataset: xr.Dataset, source: str) -> xr.Dataset:
    """The dataset with a valid coordinate ``split``, filled in where it was missing."""
    if "split" not in dataset.variables:
        return _fill(dataset, source)
    split = dataset["split"]
    if split.dims not in (("trajectory",), ("time",)):
        raise InputError(
            f"{source}: split has dimensions {_listed(split.dims)}: expected (trajectory) or (time)"
        )
    values = np.asarray([_text(value) for value in split.values])
    unknown = sorted(set(values.tolist()) - set(SPLITS))
    if unknown:
        raise InputError(
            f"{source}: split holds {', '.join(map(repr, unknown))}: expected only "
            f"{', '.join(SPLITS)}"
        )
    blocks = 1 + np.count_nonzero(values[1:] != values[:-1])
    if split.dims == ("time",) and blocks != len(set(values.tolist())):
        raise InputError(
            f"{source}: split on time is not contiguous ({blocks} blocks of "
            f"{len(set(values.tolist()))} splits): give each split one uninterrupted range of time"
        )
    return dataset.drop_vars("split").assign_coords(split=(split.dims, values))


def _fill(dataset: xr.Dataset, source: str) -> xr.Dataset:
    """About 70/15/15: of the trajectories where there are three or more, of the record if not."""
    trajectories, times = dataset.sizes["trajectory"], dataset.sizes["time"]
    dim = "trajectory" if trajectories >= 3 else "time"
    count = dataset.sizes[dim]
    values = np.full(count, "train", dtype=f"<U{max(map(len, SPLITS))}")
    if count < 3:
        values[:] = "test"
        told = f"fewer than 3 trajectories and {times} snapshots: all are taken as test"
    else:
        held_out = max(1, round(HELD_OUT * count))
        order = np.arange(count)
        if dim == "trajectory":
            order = np.random.default_rng(0).permutation(count)
        values[order[-2 * held_out : -held_out]] = "validation"
        values[order[-held_out:]] = "test"
        how = "at random, always the same way" if dim == "trajectory" else "in this order"
        told = (
            f"split on {dim}, {how}: {count - 2 * held_out} train, {held_out} validation, "
            f"{held_out} test"
        )
    logger.warning("%s: no variable split; %s", source, told)
    return dataset.assign_coords(split=(dim, values))


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _listed(dims: tuple[object, ...]) -> str:
    return f"({', '.join(map(str, dims))})"
