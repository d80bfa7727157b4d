"""A dataset that pretends to be on disk, and tells how much of its field is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing


def counted(
    data: xr.Dataset, before: Callable[[int], None] = lambda _: None
) -> tuple[xr.Dataset, list[int]]:
    """The dataset with a ``field`` that is read when it is used, and the values of each reading.

    Args:
        data: in memory.
        before: called with the number of values before they are handed out.
    """
    reads: list[int] = []

    def note(size: int) -> None:
        before(size)
        reads.append(size)

    lazy = indexing.LazilyIndexedArray(_Counted(data["field"].values, note))
    field = xr.Variable(data["field"].dims, lazy, data["field"].attrs)
    return data.assign(field=field), reads


class _Counted(BackendArray):
    def __init__(self, values: np.ndarray, note: Callable[[int], None]) -> None:
        self.values, self.note = values, note
        self.shape, self.dtype = values.shape, values.dtype

    def __getitem__(self, key: Any) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        found = xr.Variable(range(len(self.shape)), self.values)[key].values
        self.note(found.size)
        return found
