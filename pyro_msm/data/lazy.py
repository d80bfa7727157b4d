"""Arrays on disk: what is read only when it is used, and converted only then."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from pyro_msm.errors import InputError

#: Bytes up to which data are held in memory.
IN_MEMORY = 2**31

BLOCK_VALUES = 16_000_000


def is_in_memory(array: xr.DataArray) -> bool:
    """Whether the values are there already; otherwise they are read from disk when used."""
    return bool(array.variable._in_memory)


def stays_on_disk(array: xr.DataArray) -> bool:
    """Whether the values are on disk and too large to be held in memory."""
    return not is_in_memory(array) and array.nbytes > IN_MEMORY


def check_fits(array: xr.DataArray, what: str) -> None:
    """Raises ``InputError`` if values on disk are more than a quarter of the machine's memory.

    What works with all of them at once makes copies.
    """
    if is_in_memory(array) or not hasattr(os, "sysconf"):
        return
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if array.nbytes > memory / 4:
        raise InputError(
            f"{what} needs all values of {array.name} at once, {array.nbytes / 2**30:.3g} GiB, "
            f"and this machine has {memory / 2**30:.3g} GiB: give it fewer trajectories or times"
        )


def cast(array: xr.DataArray, dtype: type) -> xr.DataArray:
    """``array`` with another type; what it cannot represent becomes infinite."""
    if is_in_memory(array):
        with np.errstate(over="ignore"):
            return array.astype(dtype)
    return _wrapped(array, array.dims, np.dtype(dtype))


def expanded(array: xr.DataArray, dims: Sequence[str]) -> xr.DataArray:
    """``array`` with axes of length 1 for those of ``dims`` that it does not have."""
    if array.dims == tuple(dims):
        return array
    if not is_in_memory(array):
        return _wrapped(array, dims, array.dtype)
    for axis, dim in enumerate(dims):
        if dim not in array.dims:
            array = array.expand_dims(dim, axis=axis)
    return array


def blocks(array: xr.DataArray) -> Iterator[dict[str, slice]]:
    """Slices over the first two dimensions, of a bounded number of values each."""
    dims = [str(dim) for dim in array.dims[:2]]
    inner = array.size // array.sizes[dims[0]] // array.sizes[dims[1]]
    lengths: list[int] = []
    budget = max(1, BLOCK_VALUES // inner)
    for dim in reversed(dims):
        length = min(array.sizes[dim], budget)
        budget = max(1, budget // length)
        lengths.insert(0, length)
    for starts in itertools.product(
        *(range(0, array.sizes[dim], length) for dim, length in zip(dims, lengths, strict=True))
    ):
        yield {
            dim: slice(start, start + length)
            for dim, start, length in zip(dims, starts, lengths, strict=True)
        }


def _wrapped(array: xr.DataArray, dims: Sequence[Any], dtype: np.dtype) -> xr.DataArray:
    lazy = indexing.LazilyIndexedArray(_Converted(array.variable, dims, dtype))
    coords = {name: array[name] for name in array.coords}
    return xr.DataArray(
        xr.Variable(dims, lazy, array.attrs, array.encoding), coords, name=array.name
    )


class _Converted(BackendArray):
    """Values on disk with another type and further axes of length 1."""

    def __init__(self, source: xr.Variable, dims: Sequence[Any], dtype: np.dtype) -> None:
        self.source, self.dims, self.dtype = source, dims, dtype
        self.shape = tuple(source.sizes.get(dim, 1) for dim in dims)

    def __getitem__(self, key: Any) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        """Values at a key of an integer, a slice or an index array for each axis."""
        added = dict(zip(self.dims, key, strict=True))
        own = {dim: added.pop(dim) for dim in self.source.dims}
        with np.errstate(over="ignore"):
            values = self.source.isel(own).astype(self.dtype)
        values = values.set_dims((*added, *values.dims)).isel(added)
        return values.transpose(*(dim for dim in self.dims if dim in values.dims)).values
