"""One forecast that is scored, and a piece of it beside the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import xarray as xr

from pyro_msm.analysis.ensemble_file import members_of
from pyro_msm.scores import Block


@dataclass(frozen=True)
class Forecast:
    """What a forecaster said about the trajectories of an ensemble, at its stored times.

    Attributes:
        signal: noise-free members, ([chain, draw | member], trajectory, time, …).
        noisy: the same with observation noise; None where it must be drawn, or where there is only
            one member, whose absolute error is then scored as it stands.
        noise_std: standard deviation of that noise, (channel, 1[, 1]) or a number.
        diverged_at: (member, trajectory), NaN where finite throughout.
    """

    signal: xr.DataArray
    noisy: xr.DataArray | None
    noise_std: np.ndarray | float
    diverged_at: np.ndarray

    @property
    def members(self) -> int:
        """Members of all chains together."""
        counting = {"chain", "draw", "member"}
        return int(np.prod([n for d, n in self.signal.sizes.items() if d in counting]))

    def with_noise(self, signal: np.ndarray, trajectory: int, times: slice) -> np.ndarray:
        """Members as observed. Drawn noise depends on trajectory and time, not on blocks."""
        if self.members == 1:
            return signal
        if self.noisy is not None:
            return members_of(self.noisy, trajectory, times)
        noisy = np.empty_like(signal)
        for place, time in enumerate(range(times.start, times.stop)):
            generator = np.random.default_rng([trajectory, time])
            noise = generator.standard_normal(signal[:, :, place].shape)
            noisy[:, :, place] = signal[:, :, place] + self.noise_std * noise
        return noisy


class Seen(NamedTuple):
    """One trajectory at some times, as every score sees it.

    Attributes:
        place: rows and columns of a ``ScoreTable`` that it fills.
        signal: noise-free members against the noisy truth.
        noisy: members with observation noise against the noisy truth.
        clean: noise-free members against the clean truth, None where it is not known.
    """

    place: tuple[slice, slice]
    signal: Block
    noisy: Block
    clean: Block | None


class Diagnostic(Protocol):
    """More that is found out in the pass over an ensemble."""

    def add(self, seen: Seen) -> None:
        """Takes in one piece."""

    def summary(self) -> dict[str, Any] | None:
        """Its entry in scores.json; None where the forecast has no such thing."""
