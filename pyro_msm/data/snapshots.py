"""The snapshots of a field, from memory or from disk."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from pyro_msm.data.lazy import blocks, stays_on_disk
from pyro_msm.errors import InputError

#: Values (batch, N, n, …) of trajectories (batch,) at time steps (batch, N, n).
Read = Callable[[Tensor, Tensor], Tensor]


class Snapshots:
    """Reads the snapshots of a dataset's ``field``, and which of their values were observed.

    A field in memory is used as it is, without a copy; one on disk is loaded if it fits (see
    ``lazy.IN_MEMORY``). Of a larger one only the snapshots that are asked for are read, when they
    are asked for, or before by a thread of its own.

    Args:
        data: a validated dataset with a ``field``.
        device: where the snapshots are to be; a field in memory is copied there as a whole.

    Attributes:
        shape: (trajectory, time, channel, x[, y]).
        observed: how many values were observed in all.
        on_disk: whether they are read when they are asked for.
    """

    def __init__(self, data: xr.Dataset, device: torch.device | str) -> None:
        field = data["field"]
        self.shape, self.device = field.shape, device
        self._source = data.encoding.get("source", "the dataset")
        self.on_disk = stays_on_disk(field)
        self._field, self._mask = _reader(field, np.float32, device), None
        self.observed = field.size
        if "mask" in data:
            mask = data["mask"]
            self.observed = sum(
                int(np.count_nonzero(mask.isel(place).values)) for place in blocks(mask)
            )
            if self.observed < field.size:
                self._mask = _reader(mask, np.bool_, device)
        self._thread = ThreadPoolExecutor(1, "read-ahead") if self.on_disk else None
        self._ahead: tuple[Tensor, Tensor, Future] | None = None

    def read(self, trajectory: Tensor, steps: Tensor) -> tuple[Tensor, Tensor | None]:
        """Some snapshots, zero where nothing was observed.

        Args:
            trajectory: (batch,) of each window.
            steps: (batch, N, n) time steps, along N at equal distances.

        Returns:
            Values (batch, N, n, channel, *grid) and where they were observed; None: everywhere.

        Raises:
            InputError: the file cannot be read any more.
        """
        if self._ahead is not None:
            *expected, reading = self._ahead
            self._ahead = None
            if torch.equal(expected[0], trajectory) and torch.equal(expected[1], steps):
                return self._moved(reading.result())
        return self._moved(self._read(trajectory, steps))

    def read_ahead(self, trajectory: Tensor, steps: Tensor) -> None:
        """Begins to read from disk what is expected to be asked for next."""
        if self._thread is not None:
            reading = self._thread.submit(self._read, trajectory, steps)
            self._ahead = trajectory, steps, reading

    def _moved(self, found: tuple[Tensor, Tensor | None]) -> tuple[Tensor, Tensor | None]:
        values, observed = found
        return values.to(self.device), None if observed is None else observed.to(self.device)

    def _read(self, trajectory: Tensor, steps: Tensor) -> tuple[Tensor, Tensor | None]:
        try:
            values = self._field(trajectory, steps)
            observed = None if self._mask is None else self._mask(trajectory, steps)
        except (OSError, RuntimeError) as error:
            if not self.on_disk:
                raise
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise self._damaged(reason) from error
        if observed is not None:
            values = torch.where(observed.to(values.device), values, 0)
        # The largest of values is NaN if one of them is, and much faster to find than ``isfinite``.
        if self.on_disk and bool(values.max().isnan()):
            raise self._damaged("values are missing that were there")
        return values, observed

    def _damaged(self, reason: str) -> InputError:
        return InputError(
            f"{self._source} cannot be read any more ({reason}): it must not change or move while "
            "it is used; put it back and go on from the last checkpoint with --resume"
        )


def _reader(array: xr.DataArray, dtype: type, device: torch.device | str) -> Read:
    if stays_on_disk(array):
        return lambda trajectory, steps: _from_disk(array.variable, dtype, trajectory, steps)
    # Only what must not be written to is copied: PyTorch does not know such memory.
    values = torch.from_numpy(np.require(array.values, dtype, "W")).to(device)
    return lambda trajectory, steps: values[trajectory[:, None, None], steps]


def _from_disk(variable: xr.Variable, dtype: type, trajectory: Tensor, steps: Tensor) -> Tensor:
    values = np.empty((*steps.shape, *variable.shape[2:]), dtype)
    for row, (which, seen) in enumerate(zip(trajectory.tolist(), steps, strict=True)):
        for index, series in enumerate(seen.T.tolist()):
            step = series[1] - series[0]
            values[row, :, index] = variable[which, series[0] : series[-1] + 1 : step].values
    return torch.from_numpy(values)
