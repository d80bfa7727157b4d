"""How a system's dataset is computed: all at once, or a few trajectories at a time."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from pyro_msm.data.io import Part
from pyro_msm.data.schema import COMPANIONS, DIMENSIONS
from pyro_msm.data.splits import SPLITS
from pyro_msm.errors import InputError

if TYPE_CHECKING:
    from pyro_msm.data.systems.base import System

Progress = Callable[[int, int], None]

#: Values of a field that are simulated together when they go to a file.
TOGETHER = 16_000_000


@dataclass(frozen=True)
class Simulation:
    """What ``System.simulate`` is to compute.

    Trajectory i of a split depends on (``seed``, split, i) and the system alone, so that any part
    can be computed without the others.

    Attributes:
        system: with its options.
        counts: number of trajectories in each split.
        seed: root of the random streams.
        noise_std: standard deviation of the observation noise.

    Raises:
        InputError: an unknown split, no trajectory at all, negative noise or seed.
    """

    system: System
    counts: dict[str, int]
    seed: int
    noise_std: float

    def __post_init__(self) -> None:
        _check_counts(self.counts)
        if not self.noise_std >= 0:
            raise InputError(
                f"noise_std is {self.noise_std}: expected a number that is not negative"
            )
        if not isinstance(self.seed, (int, np.integer)) or self.seed < 0:
            raise InputError(f"seed is {self.seed!r}: expected a non-negative integer")

    @cached_property
    def splits(self) -> list[str]:
        """The split of each trajectory."""
        return [split for split, _ in self._places]

    @cached_property
    def _places(self) -> list[tuple[str, int]]:
        """The split of each trajectory, and which of it this is."""
        return [(split, index) for split in SPLITS for index in range(self.counts.get(split, 0))]

    @cached_property
    def _streams(self) -> list[list[np.random.SeedSequence]]:
        """Of each trajectory: initial condition, dynamics, observation noise."""
        return [
            np.random.SeedSequence([int(self.seed), SPLITS.index(split), index]).spawn(3)
            for split, index in self._places
        ]

    @cached_property
    def parameters(self) -> np.ndarray:
        """(trajectory, initial_parameter)."""
        return np.concatenate(
            [
                self.system.parameters_of(*place, np.random.default_rng(initial))
                for place, (initial, _, _) in zip(self._places, self._streams, strict=True)
            ]
        )

    def dataset(self, progress: Progress | None = None) -> xr.Dataset:
        """All of it."""
        return self._dataset(*self._run(slice(None), progress))

    def form(self) -> xr.Dataset:
        """The dataset without its numbers: zeros stand for them, which take no memory."""
        first = self.system.observe(self.system.initial_state(self.parameters[:1]))
        shape = len(self.system.times), *first.shape[1:]
        nothing = np.broadcast_to(np.float32(0), (len(self.splits), *shape))
        return self._dataset(nothing, nothing)

    def parts(self, progress: Progress | None = None) -> Iterator[Part]:
        """All values over trajectories and times; of the variable and ``clean`` few at a time."""
        form, name = self.form(), self.system.variable
        if "forcing" in form:
            yield Part("forcing", {}, form["forcing"].values)
        each = max(1, TOGETHER // form[name][0].size)
        starts = range(0, len(self.splits), each)
        for done, start in enumerate(starts):
            place = slice(start, min(start + each, len(self.splits)))
            noisy, clean = self._run(place, _shifted(progress, done, len(starts)))
            yield Part(name, {"trajectory": place}, noisy)
            yield Part("clean", {"trajectory": place}, clean)

    def _run(self, place: slice, progress: Progress | None) -> tuple[np.ndarray, np.ndarray]:
        """What is observed of some trajectories (trajectory, time, …), with and without noise."""
        clean = self._integrate(place, progress)
        noisy = clean.copy()
        for values, (_, _, stream) in zip(noisy, self._streams[place], strict=True):
            noise = np.random.default_rng(stream).standard_normal(values.shape, dtype=np.float32)
            values += np.float32(self.noise_std) * noise
        return noisy, clean

    def _integrate(self, place: slice, progress: Progress | None) -> np.ndarray:
        """The noise-free observations of all frames, float32."""
        system, times = self.system, self.system.times
        generators = [np.random.default_rng(stream) for _, stream, _ in self._streams[place]]
        state = system.initial_state(self.parameters[place])
        start = system.start_times(self.parameters[place])
        first = system.observe(state)
        clean = np.empty((first.shape[0], len(times), *first.shape[1:]), dtype=np.float32)
        clean[:, 0] = first
        for index, (t, following) in enumerate(itertools.pairwise(times), start=1):
            # Overflow is told below, with what to do about it.
            with np.errstate(over="ignore", invalid="ignore"):
                state = system.step(state, t + start, float(following - t), generators)
            if not np.abs(state).max() < np.finfo(np.float32).max:
                raise InputError(
                    f"system {system.name} does not stay finite with these options "
                    f"(first seen at t={following:.4g}): use more points or the default options"
                )
            clean[:, index] = system.observe(state)
            if progress is not None:
                progress(index, len(times) - 1)
        return clean

    def _dataset(self, noisy: np.ndarray, clean: np.ndarray) -> xr.Dataset:
        system = self.system
        grid = system.grid()
        dims = tuple(dim for dim in DIMENSIONS[system.variable] if dim not in "xy" or dim in grid)
        labels = "channel" if "channel" in dims else "component"
        dimensionless = {"units": "1"}
        chosen = {entry.name: getattr(system, entry.name) for entry in fields(system)}
        forcing = system.forcing(self.parameters, system.times)
        driven = {} if forcing is None else {"forcing": (COMPANIONS["forcing"], forcing)}
        chaotic = {} if system.lyapunov_time is None else {"lyapunov_time": system.lyapunov_time}
        return xr.Dataset(
            {
                system.variable: (dims, noisy, {**dimensionless, "long_name": "observed"}),
                "clean": (dims, clean, {**dimensionless, "long_name": "without noise"}),
                "initial_parameters": (("trajectory", "initial_parameter"), self.parameters),
                **driven,
            },
            coords={
                "trajectory": np.arange(len(self.splits)),
                "time": ("time", system.times, dimensionless),
                labels: list(system.channels),
                **{axis: (axis, values, dimensionless) for axis, values in grid.items()},
                "initial_parameter": list(system.initial_names),
                "split": ("trajectory", np.asarray(self.splits)),
            },
            attrs={
                "title": system.title,
                "system": system.name,
                "options": json.dumps(chosen, default=np.generic.item),
                "boundary": list(system.boundary),
                "domain": list(system.domain),
                "generator_version": system.version,
                "noise_std": self.noise_std,
                "seed": int(self.seed),
                **chaotic,
            },
        )


def _shifted(progress: Progress | None, done: int, parts: int) -> Progress | None:
    """Progress within one of several equal parts as progress of them all."""
    if progress is None:
        return None
    return lambda frames, each: progress(done * each + frames, parts * each)


def _check_counts(counts: dict[str, int]) -> None:
    for split, count in counts.items():
        if split not in SPLITS:
            raise InputError(f"unknown split {split!r}: expected {', '.join(SPLITS)}")
        if not isinstance(count, (int, np.integer)) or count < 0:
            raise InputError(f"{count!r} trajectories for {split}: expected a whole number from 0")
    if not sum(counts.values()):
        raise InputError("no trajectories to simulate: ask for at least one in some split")
