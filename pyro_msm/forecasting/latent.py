"""Forecasters with a latent state: encode, advance, assimilate, decode."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from pyro_msm.data.schema import variable
from pyro_msm.forecasting.contract import Forecaster, Randomness


class LatentForecaster(Forecaster):
    """A forecaster whose dynamics run in a latent state that can be stopped and restarted.

    Hybrid forecasting and the analysis of latents use these four methods and nothing else.
    """

    #: Numbers of the decoded field that one block of a forecast holds at most.
    block_values: ClassVar[int] = 8_000_000
    #: Whether a state remembers what came before the snapshots that it is to assimilate: then one
    #: is enough, else ``warmup`` are needed.
    remembers: ClassVar[bool] = False

    @abstractmethod
    def encode(
        self, window: xr.Dataset, members: int | range = 1, generator: Randomness = None
    ) -> Any:
        """The latent state after the last of ``warmup`` snapshots, drawn from its posterior.

        Args:
            window: the snapshots.
            members: how many, or the indices of those that are wanted of a larger ensemble.
            generator: root of the random streams, see ``root_entropy``.
        """

    @abstractmethod
    def advance(
        self, state: Any, times: np.ndarray, generator: Randomness = None
    ) -> tuple[Any, np.ndarray]:
        """Moves a state along absolute ``times``, none before its own.

        Args:
            state: what ``encode``, ``advance`` or ``assimilate`` returned; it is not changed.
            times: (n,) increasing.
            generator: a new root for the random streams; None goes on with the state's own.

        Returns:
            The state at the last time, and the latents (time, member, trajectory, latent).
        """

    @abstractmethod
    def assimilate(self, state: Any, snapshots: xr.Dataset) -> Any:
        """The state after true snapshots have been seen, at the time of the last one."""

    @abstractmethod
    def decode(self, latents: np.ndarray) -> xr.Dataset:
        """The variable, and named parts of the latents, for (time, member, trajectory, latent).

        The variable is ``field``, ``particles`` or ``path``, as in the training data; with it come
        its coordinates, and ``observation_std`` where the model has learned one.
        """

    @abstractmethod
    def values_per_snapshot(self) -> int:
        """Numbers in one decoded snapshot, by which blocks are sized."""

    def forecast_blocks(
        self, initial: xr.Dataset, times: np.ndarray, members: int = 1, generator: Randomness = None
    ) -> Iterator[xr.Dataset]:
        """See ``Forecaster``: decoded as it advances, at most ``block_values`` numbers at once."""
        times = np.asarray(times, float)
        state = self.encode(initial, members, generator)
        each = members * initial.sizes["trajectory"] * self.values_per_snapshot()
        length = max(1, self.block_values // each)
        for begin in range(0, len(times), length):
            part = times[begin : begin + length]
            state, latents = self.advance(state, part)
            block = self.decode(latents)
            yield _labelled(block, initial, part)


def _labelled(block: xr.Dataset, initial: xr.Dataset, times: np.ndarray) -> xr.Dataset:
    """With coordinates, and the first time at which each path is no longer finite."""
    block = block.assign_coords(time=times)
    if "trajectory" in initial.coords:
        block = block.assign_coords(trajectory=initial["trajectory"].values)
    # A state that is not finite makes every value of its snapshot so: one of them tells.
    values = block[variable(block)].values
    finite = np.isfinite(values.reshape(*values.shape[:3], -1)[..., 0])
    first = np.where(finite.all(2), np.nan, times[np.argmin(finite, axis=2)])
    return block.assign(diverged_at=(("member", "trajectory"), first))
