"""Ensembles of latent forecasters, filled in block by block: in memory or in a Zarr store alike.

First the latent paths of a few members at a time, over all times; then the fields of a few times,
with all members. What a block gives depends on nothing but its place, so blocks may come in any
order, from any process, and what is at hand at once does not grow with the ensemble.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from pyro_msm.data.variables import along_labels, kind_of
from pyro_msm.forecasting.contract import initial_window
from pyro_msm.forecasting.decoding import Array, Decoder, named_parts
from pyro_msm.forecasting.latent import LatentForecaster
from pyro_msm.forecasting.layout import layout, path_members, slices

#: Bytes of a chunk of latent paths in a store.
PATH_CHUNK = 2**20

#: A block of fields has so many chunks of a store along time.
CHUNKS = 8

AHEAD = ("chain", "draw", "trajectory")
MEANS = ("mean_macro_part", "mean_micro_part")

#: (chain, first member, the one after the last), or (chain, trajectory, first time, …).
Block = tuple[int, ...]


class Spec(NamedTuple):
    """An array of an ensemble that is filled in block by block.

    Attributes:
        dims: names of its dimensions.
        shape: its shape.
        chunks: sizes that divide every block, but for the last one of an axis.
        dtype: of its numbers.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: str = "f4"

    @property
    def bytes(self) -> int:
        """Bytes of the whole array."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


class Plan:
    """An ensemble to be drawn, and how it is cut into blocks.

    Args:
        chains: the fitted forecaster of each chain.
        data: the trajectories to forecast, from the first snapshot of the warm-up on.
        stored: indices, among the times from the last initial snapshot on, at which there are
            fields.
        members: of each chain.
        root: root of the random streams; chain ``i`` has ``root + i``.
        memory: bytes to work with.

    Attributes:
        times: all times of the forecast.
        kind: what variable it is.
        noise_std: learned observation noise of each chain, to go with ``shape``; None where there
            is none.
        shape: what follows time in the variable: (channel, x[, y]) of a field.
        path_blocks: (chain, first member, last + 1), with all times.
        field_blocks: (chain, trajectory, first stored time, last + 1), with all members.
    """

    def __init__(
        self,
        chains: Sequence[LatentForecaster],
        data: xr.Dataset,
        stored: np.ndarray,
        members: int,
        root: int,
        memory: int,
    ) -> None:
        self.chains, self.stored, self.members, self.root = chains, stored, members, root
        self.memory = memory
        self.initial = initial_window(data, chains[0].warmup)
        self.times = data["time"].values[chains[0].warmup - 1 :]
        self.trajectories = self.initial.sizes["trajectory"]
        samples = [self._sample(forecaster) for forecaster in chains]
        latents, self._decoded = samples[0]
        self._parts = named_parts(chains[0], latents)
        self.kind = kind_of(self._decoded)
        self.shape = self._decoded[self.kind.name].shape[3:]
        noise = [decoded.get("observation_std") for _, decoded in samples]
        self.noise_std = None
        if noise[0] is not None:
            self.noise_std = [along_labels(np.asarray(std), self.axes) for std in noise]
        self.piece = layout(1, members, self.shape, memory)
        self._latent_size = latents.shape[-1]
        together = path_members(len(self.times), self.trajectories, self._latent_size)
        self._together = min(together, members)
        count = min(self.piece.times, len(stored))
        self._count = count // CHUNKS * CHUNKS if count > CHUNKS else count
        self.path_blocks: list[Block] = [
            (chain, part.start, part.stop)
            for chain in range(len(chains))
            for part in slices(members, self._together)
        ]
        self.field_blocks: list[Block] = [
            (chain, trajectory, part.start, part.stop)
            for chain in range(len(chains))
            for trajectory in range(self.trajectories)
            for part in slices(len(stored), self._count)
        ]

    @property
    def axes(self) -> tuple[str, ...]:
        """The dimensions of ``shape``."""
        return tuple(map(str, self._decoded[self.kind.name].dims[3:]))

    @property
    def part_names(self) -> list[str]:
        """Names of the latent paths."""
        return list(self._parts)

    def _sample(self, forecaster: LatentForecaster) -> tuple[np.ndarray, xr.Dataset]:
        """Latents and fields of one member at the first time."""
        state = forecaster.encode(self.initial, 1, self.root)
        _, latents = forecaster.advance(state, self.times[:1])
        return latents, forecaster.decode(latents)

    def specs(self, fields: bool) -> dict[str, Spec]:
        """The arrays by group and name; without the fields unless they are wanted."""
        lead = len(self.chains), self.members, self.trajectories
        rows = max(1, PATH_CHUNK // (4 * self._together * self._latent_size))
        found = {"posterior/diverged_at": Spec(AHEAD, lead, (1, self._together, lead[2]), "f8")}
        for name, (dims, values) in self._parts.items():
            each = values.shape[3:]
            found[f"posterior/{name}"] = Spec(
                (*AHEAD, "time_full", *dims),
                (*lead, len(self.times), *each),
                (1, self._together, 1, min(rows, len(self.times)), *each),
            )
        if hasattr(self.chains[0], "macro_part"):
            dims = ("chain", "trajectory", "time", *self.axes)
            shape = (lead[0], lead[2], len(self.stored), *self.shape)
            for name in MEANS:
                found[f"posterior/{name}"] = Spec(dims, shape, (1, 1, self._count, *self.shape))
        if fields:
            times = max(1, self._count // CHUNKS)
            for name in ("posterior/signal", self.predictive):
                found[name] = Spec(
                    (*AHEAD, "time", *self.axes),
                    (*lead, len(self.stored), *self.shape),
                    (1, self.piece.draws, 1, times, *self.piece.cut(self.shape)),
                )
        return found

    @property
    def predictive(self) -> str:
        """Where the members with observation noise stand."""
        return f"posterior_predictive/{self.kind.name}"

    def small(self) -> dict[str, xr.Dataset]:
        """Coordinates and small variables of the two groups that hold members."""
        coords: dict[str, Any] = {
            "chain": np.arange(len(self.chains)),
            "draw": np.arange(self.members),
            "time": self.times[self.stored],
        }
        coords |= {a: self._decoded[a] for a in self.axes if a in self._decoded.coords}
        if "trajectory" in self.initial.coords:
            coords["trajectory"] = self.initial["trajectory"].values
        predictive = xr.Dataset(coords=coords)
        posterior = predictive.assign_coords(time_full=self.times)
        if self.noise_std is not None:
            noise = np.stack([std.ravel() for std in self.noise_std])
            posterior["observation_std"] = ("chain", self.kind.label), noise
        return {"posterior": posterior, "posterior_predictive": predictive}

    def decoder(self, arrays: Mapping[str, Array]) -> Decoder:
        """Reads fields from the latent paths in ``arrays``."""
        parts = [arrays[f"posterior/{name}"] for name in self._parts]
        return Decoder(self.chains, parts, self.stored, self.shape, self.root, self.noise_std)


@dataclass(frozen=True)
class Filling:
    """Fills in the arrays of an ensemble, block by block.

    Args:
        plan: what is drawn.
        arrays: those of ``Plan.specs``, of NumPy or Zarr, by group and name.
    """

    plan: Plan
    arrays: Mapping[str, Array]

    def paths(self, block: Block) -> None:
        """Draws the latent paths of some members."""
        chain, first, stop = block
        plan, forecaster = self.plan, self.plan.chains[chain]
        state = forecaster.encode(plan.initial, range(first, stop), plan.root + chain)
        _, latents = forecaster.advance(state, plan.times)
        place = (chain, slice(first, stop))
        for name, (_, values) in named_parts(forecaster, latents).items():
            self.arrays[f"posterior/{name}"][place] = values
        bad = ~np.isfinite(latents).all(-1)
        since = np.where(bad.any(0), plan.times[bad.argmax(0)], np.nan)
        self.arrays["posterior/diverged_at"][place] = since

    def fields(self, block: Block) -> None:
        """Decodes some stored times of one trajectory, and averages over the members."""
        chain, trajectory, first, stop = block
        plan, decoder = self.plan, self.plan.decoder(self.arrays)
        forecaster: Any = plan.chains[chain]
        times = range(first, stop)
        signals: Any = 0.0
        paths: Any = 0.0
        for part in slices(plan.members, plan.piece.draws):
            draws = range(part.start, part.stop)
            latents = decoder.latents(chain, draws, trajectory, times)
            signal = decoder.signal(chain, latents)
            if "posterior/signal" in self.arrays:
                noisy = decoder.noisy(signal, chain, draws, trajectory, times)
                place = (chain, part, trajectory, slice(first, stop))
                self.arrays["posterior/signal"][place] = signal
                self.arrays[plan.predictive][place] = noisy
            signals = signals + signal.sum(0, dtype=np.float64)
            paths = paths + latents.sum(1, dtype=np.float64)
        macro, micro = (f"posterior/{name}" for name in MEANS)
        if macro in self.arrays:
            at = (chain, trajectory, slice(first, stop))
            mean = np.moveaxis(paths, 0, 1) / plan.members
            part_of = forecaster.macro_part(mean.astype(np.float32))[0]
            self.arrays[macro][at] = part_of
            self.arrays[micro][at] = signals / plan.members - part_of
