"""The Forecaster contract: everything that predicts a field, ours and the baselines alike."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import xarray as xr
from safetensors.numpy import load_file, save_file

from pyro_msm.errors import InputError

SCHEMA_VERSION = 1

#: Snapshots that a forecast of validation data covers at most: after so many a long record of a
#: chaotic system tells nothing more, and takes minutes.
LONGEST = 1001

Randomness = np.random.Generator | int | None


def root_entropy(generator: Randomness) -> int:
    """One integer from which all streams of a forecast are spawned.

    An integer stands for itself, a NumPy generator is advanced by one draw, ``None`` means 0: a
    forecast that names no source of randomness is reproducible.
    """
    if isinstance(generator, np.random.Generator):
        return int(generator.integers(2**63))
    return int(generator or 0)


def initial_window(data: xr.Dataset, warmup: int, last: int | None = None) -> xr.Dataset:
    """What a forecast starts from: ``warmup`` snapshots up to time index ``last``.

    The forcing keeps all its times, which the forecast needs: its time dimension becomes
    ``forcing_time``, where it is not that already.

    Args:
        data: a validated dataset (of one split).
        warmup: number of snapshots.
        last: index of the last of them; None takes the first one possible, ``warmup - 1``.

    Raises:
        InputError: there are fewer snapshots.
    """
    count = data.sizes["time"]
    last = warmup - 1 if last is None else last % count
    if not warmup - 1 <= last < count:
        raise InputError(f"a forecast starts from {warmup} snapshot(s), there are {count}")
    window = data.isel(time=slice(last - warmup + 1, last + 1))
    if "forcing" in data and "time" in data["forcing"].dims:
        forcing = data["forcing"].rename(time="forcing_time")
        window = window.drop_vars("forcing").assign(forcing=forcing)
    return window


class Forecaster(ABC):
    """Predicts the observed variable of a dataset from its last ``warmup`` snapshots.

    A forecast is a Dataset in the dimensions (member, trajectory, time, …) of the variable that was
    given (``field``, ``particles`` or ``path``), *without* observation noise. Beside it stand

    * ``diverged_at(member, trajectory)``: the first time at which the values are no longer finite
      (they are NaN from there on), NaN where the forecast stayed finite;
    * ``observation_std(channel)``: the standard deviation of the observation noise that the model
      has learned, where it has one;
    * any latent variables (``macro``, ``micro``, …), in the same leading dimensions.

    A deterministic forecaster returns one member, whatever ``members`` says.
    """

    name: ClassVar[str]
    stochastic: ClassVar[bool] = False
    warmup: int = 1

    @abstractmethod
    def fit(self, data: xr.Dataset) -> Self:
        """Learns from the ``train`` split of a validated dataset, tunes on ``validation``."""

    @abstractmethod
    def forecast_blocks(
        self, initial: xr.Dataset, times: np.ndarray, members: int = 1, generator: Randomness = None
    ) -> Iterator[xr.Dataset]:
        """Yields the forecast in blocks of time, each with all members.

        Args:
            initial: the last ``warmup`` snapshots (trajectory, time, …), with the ``parameters``
                and ``forcing`` that the data have (see ``initial_window``).
            times: absolute times of the forecast, increasing, none before the last snapshot.
            members: size of the ensemble.
            generator: root of the random streams (see ``root_entropy``). Every (member, trajectory)
                has its own, so a forecast depends neither on the blocks nor on how many members
                are drawn beside it.
        """

    @abstractmethod
    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """What ``restore`` needs: named arrays, and settings that JSON can hold."""

    @classmethod
    @abstractmethod
    def restore(cls, arrays: dict[str, np.ndarray], settings: dict[str, Any]) -> Self:
        """A fitted forecaster from what ``state`` returned."""

    def unlike(self, initial: xr.Dataset) -> np.ndarray:
        """(trajectory,) whether a start is unlike any of the training data, where that is known."""
        return np.zeros(initial.sizes["trajectory"], bool)

    def forecast(
        self, initial: xr.Dataset, times: np.ndarray, members: int = 1, generator: Randomness = None
    ) -> xr.Dataset:
        """The whole forecast at once: see ``forecast_blocks``."""
        blocks = list(self.forecast_blocks(initial, np.asarray(times, float), members, generator))
        if len(blocks) == 1:
            return blocks[0]
        joined = xr.concat(
            [block.drop_vars("diverged_at", errors="ignore") for block in blocks],
            dim="time",
            data_vars="minimal",
            coords="minimal",
            compat="override",
            join="override",
        )
        # Each block knows of its own times only; the first finite value is the first divergence.
        if "diverged_at" in blocks[0]:
            joined["diverged_at"] = xr.concat(
                [block["diverged_at"] for block in blocks], dim="block"
            ).min("block")
        return joined

    def save(self, folder: Path | str) -> None:
        """Writes ``forecaster.safetensors`` and ``forecaster.json`` into ``folder``."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        arrays, settings = self.state()
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        save_file(contiguous, folder / "forecaster.safetensors")
        header = {"schema": SCHEMA_VERSION, "name": self.name, "settings": settings}
        (folder / "forecaster.json").write_text(json.dumps(header, indent=2))

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Reads what ``save`` wrote.

        Raises:
            InputError: the folder holds no forecaster, another one, or another schema version.
        """
        folder = Path(folder)
        try:
            header = json.loads((folder / "forecaster.json").read_text())
            arrays = load_file(folder / "forecaster.safetensors")
        except (OSError, ValueError) as error:
            raise InputError(f"{folder} holds no readable forecaster: {error}") from error
        if header.get("name") != cls.name or header.get("schema") != SCHEMA_VERSION:
            raise InputError(
                f"{folder} holds forecaster {header.get('name')!r} of schema "
                f"{header.get('schema')}, expected {cls.name!r} of schema {SCHEMA_VERSION}: "
                "train it again with this version"
            )
        return cls.restore(arrays, header["settings"])
