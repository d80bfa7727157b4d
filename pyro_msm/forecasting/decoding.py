"""Fields of an ensemble from its latent paths, decoded where and when they are read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import zarr
from xarray.backends import BackendArray
from xarray.core import indexing

from pyro_msm.data.schema import variable
from pyro_msm.forecasting.latent import LatentForecaster
from pyro_msm.forecasting.layout import slices
from pyro_msm.forecasting.streams import observation_noise

Parts = dict[str, tuple[tuple[str, ...], np.ndarray]]
Array = Any  # of NumPy or Zarr
Cut = slice | np.ndarray


def named_parts(forecaster: LatentForecaster, latents: np.ndarray) -> Parts:
    """Latents (time, member, trajectory, latent) by name, each (member, trajectory, time, …).

    The parts, laid out flat one after the other, are the latents.
    """
    if hasattr(forecaster, "parts"):
        return forecaster.parts(latents)
    return {"latent": (("latent_component",), np.moveaxis(latents, 0, 2))}


@dataclass(frozen=True)
class Decoder:
    """Reads members of an ensemble as fields, from their latent paths.

    Attributes:
        chains: the fitted forecaster of each chain.
        parts: the latent paths in the order of ``named_parts``, each
            (chain, draw, trajectory, time, …) with all times of the forecast.
        stored: indices among those of the times at which there are fields.
        shape: (channel, x[, y]) of a field, or what follows time in another variable.
        root: root of the random streams of the first chain.
        noise_std: of each chain, to go with ``shape``; None where the models have no observation
            noise.
    """

    chains: Sequence[LatentForecaster]
    parts: Sequence[Array]
    stored: np.ndarray
    shape: tuple[int, ...]
    root: int
    noise_std: Sequence[np.ndarray] | None

    def latents(
        self, chain: int, draws: range, trajectory: int, times: Sequence[int]
    ) -> np.ndarray:
        """(time, draw, 1, latent) at some of the stored times."""
        at = self.stored[list(times)]
        members = slice(draws.start, draws.stop)
        parts = [_read(part, chain, members, trajectory, at) for part in self.parts]
        flat = [part.reshape(len(draws), len(at), -1) for part in parts]
        return np.moveaxis(np.concatenate(flat, -1), 1, 0)[:, :, np.newaxis]

    def signal(self, chain: int, latents: np.ndarray, points: Sequence[Cut] = ()) -> np.ndarray:
        """Noise-free fields of latents (time, draw, 1, latent).

        Args:
            chain: index of the chain.
            latents: of one trajectory.
            points: what is wanted of each axis of a field; () is all.

        Returns:
            (draw, time, channel, x[, y]).
        """
        found = []
        for part in self._batches(*latents.shape[1::-1]):
            decoded = self.chains[chain].decode(latents[:, part])
            found.append(_outer(decoded[variable(decoded)].values[:, 0], points))
        return found[0] if len(found) == 1 else np.concatenate(found)

    def noisy(
        self,
        signal: np.ndarray,
        chain: int,
        draws: range,
        trajectory: int,
        times: Sequence[int],
        points: Sequence[Cut] = (),
    ) -> np.ndarray:
        """``signal`` with observation noise, each member's its own."""
        if self.noise_std is None:
            return signal
        at = self.stored[list(times)].tolist()
        std = self.noise_std[chain].astype(np.float32)
        noisy = np.empty_like(signal)
        for part in self._batches(*signal.shape[:2]):
            noise = observation_noise(self.root + chain, draws[part], trajectory, at, self.shape)
            noise *= std
            np.add(signal[part], _outer(noise, points), out=noisy[part])
        return noisy

    def _batches(self, draws: int, times: int) -> Iterator[slice]:
        """Draws whose whole fields are at hand at once."""
        return slices(draws, max(1, self.chains[0].block_values // (times * math.prod(self.shape))))


def _read(part: Array, chain: int, draws: slice, trajectory: int, at: np.ndarray) -> np.ndarray:
    if isinstance(part, zarr.Array):
        return np.asarray(part.oindex[chain, draws, trajectory, at])
    return np.asarray(part[chain, draws, trajectory][:, at])


def _outer(values: np.ndarray, points: Sequence[Cut]) -> np.ndarray:
    """The last axes indexed one by one."""
    for axis, wanted in enumerate(points, start=values.ndim - len(points)):
        values = values[(slice(None),) * axis + (wanted,)]
    return values


@dataclass
class Latest:
    """What was decoded last: signal and observation are usually read together."""

    region: Any = None
    signal: np.ndarray = field(default_factory=lambda: np.empty(0))


class DecodedField(BackendArray):
    """An array (chain, draw, trajectory, time, channel, x[, y]) that is decoded where it is read.

    xarray indexes it like an array in a file.

    Args:
        decoder: gives the fields.
        members: of each chain.
        trajectories: their number.
        noisy: with observation noise.
        latest: shared by the two arrays of an ensemble.
    """

    def __init__(
        self, decoder: Decoder, members: int, trajectories: int, noisy: bool, latest: Latest
    ) -> None:
        self.decoder, self.noisy, self.latest = decoder, noisy, latest
        lead = len(decoder.chains), members, trajectories, len(decoder.stored)
        self.shape = (*lead, *decoder.shape)
        self.dtype = np.dtype(np.float32)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"latest": Latest()}

    def __getitem__(self, key: indexing.ExplicitIndexer) -> np.ndarray:
        """What xarray asks for."""
        outer = indexing.IndexingSupport.OUTER
        return np.asarray(indexing.explicit_indexing_adapter(key, self.shape, outer, self._read))

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        region = [np.atleast_1d(np.arange(n)[k]) for k, n in zip(key, self.shape, strict=True)]
        name = [places.tobytes() for places in region]
        if self.latest.region != name:
            self.latest.signal = self._gather(region, None)
            self.latest.region = name
        found = self.latest.signal
        if self.noisy:
            found = self._gather(region, found)
        single = tuple(0 if isinstance(k, int | np.integer) else slice(None) for k in key)
        return found[single]

    def _gather(self, region: list[np.ndarray], signal: np.ndarray | None) -> np.ndarray:
        """The signal in a region; given that, the observation."""
        chains, draws, trajectories, at, *rest = region
        times = at.tolist()
        points = [_cut(places, n) for places, n in zip(rest, self.decoder.shape, strict=True)]
        found = np.empty([len(places) for places in region], np.float32)
        for c, chain in enumerate(chains.tolist()):
            for t, trajectory in enumerate(trajectories.tolist()):
                for place, run in _runs(draws):
                    where = (c, place, t)
                    if signal is None:
                        latents = self.decoder.latents(chain, run, trajectory, times)
                        found[where] = self.decoder.signal(chain, latents, points)
                    else:
                        found[where] = self.decoder.noisy(
                            signal[where], chain, run, trajectory, times, points
                        )
        return found


def _cut(places: np.ndarray, size: int) -> Cut:
    """A slice if the places follow one another."""
    if len(places) and (np.diff(places) == 1).all():
        return slice(int(places[0]), int(places[-1]) + 1)
    return places


def _runs(draws: np.ndarray) -> Iterator[tuple[slice, range]]:
    """Draws that follow one another, with their places."""
    place = 0
    for part in np.split(draws, np.flatnonzero(np.diff(draws) != 1) + 1):
        if len(part):
            yield slice(place, place + len(part)), range(int(part[0]), int(part[-1]) + 1)
        place += len(part)
