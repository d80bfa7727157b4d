"""What every simulated system offers: initial conditions, a restartable step, and ``simulate``."""

from __future__ import annotations

import dataclasses
import itertools
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np
import xarray as xr

from pyro_msm.data.splits import SPLITS
from pyro_msm.data.systems import coarsening
from pyro_msm.data.systems.options import check_option, option
from pyro_msm.errors import InputError

Generators = Sequence[np.random.Generator]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class System(ABC):
    """A dynamical system on a grid; its dataclass fields are its options.

    The state of ``count`` trajectories is a float64 array (count, channel, x[, y]). ``step`` is a
    pure function of it, so a run can be stopped, changed and restarted anywhere.

    Class attributes say what ``pyro-msm systems`` prints: ``name``, ``title``, ``equation`` (with
    its source), ``channels``, ``boundary`` and ``domain`` (one entry an axis), ``initial_names``
    (the random quantities of the initial condition), ``split_on`` ("time" where the data are one
    record), ``version`` (raised whenever the numbers that ``simulate`` gives for the same seed
    change).
    """

    name: ClassVar[str]
    title: ClassVar[str]
    equation: ClassVar[str]
    channels: ClassVar[tuple[str, ...]] = ("u",)
    boundary: ClassVar[tuple[str, ...]]
    domain: ClassVar[tuple[float, ...]]
    initial_names: ClassVar[tuple[str, ...]]
    split_on: ClassVar[str] = "trajectory"
    version: ClassVar[int] = 1

    points: int = option(1000, "grid points", minimum=8)
    frames: int = option(1001, "snapshots, the first at time 0", minimum=2)
    end_time: float = option(1.0, "time of the last snapshot", minimum=1e-9)

    def __post_init__(self) -> None:
        for entry in fields(self):
            check_option(self.name, entry, getattr(self, entry.name))

    # What a system defines ---------------------------------------------------------------------

    @property
    @abstractmethod
    def trajectories(self) -> dict[str, int]:
        """Published number of trajectories in each split."""

    @property
    @abstractmethod
    def noise_std(self) -> float:
        """Published standard deviation of the observation noise."""

    @abstractmethod
    def initial_parameters(
        self, generator: np.random.Generator, count: int, extrapolation: bool = False
    ) -> np.ndarray:
        """Random quantities of ``count`` initial conditions, (count, len(initial_names)).

        With ``extrapolation`` they lie outside the range of the other splits.
        """

    @abstractmethod
    def initial_state(self, parameters: np.ndarray) -> np.ndarray:
        """The states at time 0 for these ``initial_parameters``."""

    @abstractmethod
    def step(
        self, state: np.ndarray, t: float, duration: float, generator: Generators | None = None
    ) -> np.ndarray:
        """The states a time ``duration`` later.

        Args:
            state: (count, channel, x[, y]) at the absolute time ``t``.
            t: only systems that are forced in time read it.
            duration: divided into equal steps no longer than the scheme allows.
            generator: one for each trajectory, so that no trajectory depends on those beside it;
                only stochastic systems read them.
        """

    # What all systems share --------------------------------------------------------------------

    @property
    def times(self) -> np.ndarray:
        """Times of the snapshots."""
        return np.linspace(0.0, self.end_time, self.frames)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Grid spacing of each axis."""
        return tuple(length / self.points for length in self.domain)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of grid points of each axis."""
        return tuple(len(points) for points in self.grid().values())

    def grid(self) -> dict[str, np.ndarray]:
        """Coordinates of the grid points: a periodic axis starts at 0 and omits its end point."""
        return {
            axis: spacing * np.arange(self.points)
            for axis, spacing in zip("xy", self.spacing, strict=False)
        }

    def initial_condition(
        self, generator: np.random.Generator, count: int = 1, extrapolation: bool = False
    ) -> np.ndarray:
        """Random states at time 0, (count, channel, x[, y])."""
        return self.initial_state(self.initial_parameters(generator, count, extrapolation))

    def observe(self, state: np.ndarray) -> np.ndarray:
        """The field that is observed of a state: here all of it."""
        return state

    def lift(self, observation: np.ndarray) -> np.ndarray:
        """A state that has this observation: here the observation itself."""
        return np.asarray(observation, dtype=np.float64)

    def coarse(self, points: int) -> Self:
        """The same equations and scheme on a grid of ``points``: the coarse-DNS baseline.

        It starts from ``lift`` of cell averages (see ``restrict``), and ``prolong`` takes what
        it observes back to this grid.
        """
        return self.configured(points=points)

    def restrict(self, observation: np.ndarray, points: int) -> np.ndarray:
        """Averages of an observation (…, channel, x[, y]) over the cells of ``coarse(points)``.

        The cells are blocks of neighbouring points. On a periodic axis their middles lie half a
        coarse cell, less half a fine one, to the right of the coarse system's own ``grid``, which
        equations that are the same everywhere do not see.

        Raises:
            InputError: the coarse grid does not divide the fine one.
        """
        return coarsening.restrict(observation, self.coarse(points).shape)

    def prolong(self, observation: np.ndarray) -> np.ndarray:
        """An observation of cell averages on a coarser grid, interpolated onto this one."""
        return coarsening.prolong(observation, self.shape, self.boundary)

    def configured(self, **options: Any) -> Self:
        """This system with other options.

        Raises:
            InputError: an option that the system does not have, or a value it does not take.
        """
        known = [entry.name for entry in fields(self)]
        for given in options:
            if given not in known:
                raise InputError(
                    f"system {self.name} has no option {given!r}: it has {', '.join(known)}"
                )
        return dataclasses.replace(self, **options)

    @classmethod
    def options(cls) -> list[dict[str, Any]]:
        """Name, default, choices and description of each option."""
        return [
            {
                "name": entry.name,
                "default": entry.default,
                "choices": entry.metadata["choices"],
                "description": entry.metadata["description"],
            }
            for entry in fields(cls)
        ]

    def simulate(
        self,
        trajectories: Mapping[str, int] | None = None,
        seed: int = 0,
        noise_std: float | None = None,
        *,
        progress: Progress | None = None,
        **options: Any,
    ) -> xr.Dataset:
        """A dataset of this system: see ``docs/data-schema.md`` for its form.

        Trajectory i of a split depends on (``seed``, split, i) and the options alone, so a larger
        dataset extends a smaller one.

        Args:
            trajectories: number of trajectories in each split; None means the published numbers.
            seed: root of the random streams, a non-negative integer.
            noise_std: standard deviation of the white observation noise; None means the published.
            progress: called with (frames done, frames in all).
            options: options of the system, see ``options()``.

        Returns:
            ``field`` (noisy) and ``clean``, both float32 (trajectory, time, channel, x[, y]),
            ``split(trajectory)`` and ``initial_parameters(trajectory, initial_parameter)``, which
            describe the initial condition and are no input of a model.

        Raises:
            InputError: unknown split or option, no trajectory at all, negative noise, or options
                with which the solution does not stay finite.
        """
        system = self.configured(**options)
        counts = _check_counts(system.trajectories if trajectories is None else trajectories)
        noise_std = system.noise_std if noise_std is None else float(noise_std)
        if not noise_std >= 0:
            raise InputError(f"noise_std is {noise_std}: expected a number that is not negative")
        if not isinstance(seed, (int, np.integer)) or seed < 0:
            raise InputError(f"seed is {seed!r}: expected a non-negative integer")

        streams = [
            [np.random.default_rng(part) for part in _streams(int(seed), split, index)]
            for split, count in counts.items()
            for index in range(count)
        ]
        splits = [split for split, count in counts.items() for _ in range(count)]
        parameters = np.concatenate(
            [
                system.initial_parameters(initial, 1, split == "extrapolation")
                for (initial, _, _), split in zip(streams, splits, strict=True)
            ]
        )
        clean = _integrate(system, parameters, [stream[1] for stream in streams], progress)
        noisy = clean.copy()
        for values, (_, _, noise) in zip(noisy, streams, strict=True):
            values += np.float32(noise_std) * noise.standard_normal(values.shape, dtype=np.float32)
        dataset = _dataset(system, noisy, clean, parameters, splits)
        dataset.attrs |= {"noise_std": noise_std, "seed": int(seed)}
        return dataset


def _streams(seed: int, split: str, index: int) -> list[np.random.SeedSequence]:
    """Independent streams of one trajectory: initial condition, dynamics, observation noise."""
    return np.random.SeedSequence([seed, SPLITS.index(split), index]).spawn(3)


def _integrate(
    system: System, parameters: np.ndarray, generators: Generators, progress: Progress | None
) -> np.ndarray:
    """The noise-free observations of all frames, float32 (trajectory, time, channel, x[, y])."""
    times = system.times
    state = system.initial_state(parameters)
    first = system.observe(state)
    clean = np.empty((first.shape[0], len(times), *first.shape[1:]), dtype=np.float32)
    clean[:, 0] = first
    for index, (t, following) in enumerate(itertools.pairwise(times), start=1):
        # Overflow is told below, with what to do about it.
        with np.errstate(over="ignore", invalid="ignore"):
            state = system.step(state, float(t), float(following - t), generators)
        if not np.abs(state).max() < np.finfo(np.float32).max:
            raise InputError(
                f"system {system.name} does not stay finite with these options "
                f"(first seen at t={following:.4g}): use more points or the default options"
            )
        clean[:, index] = system.observe(state)
        if progress is not None:
            progress(index, len(times) - 1)
    return clean


def _dataset(
    system: System,
    noisy: np.ndarray,
    clean: np.ndarray,
    parameters: np.ndarray,
    splits: list[str],
) -> xr.Dataset:
    grid = system.grid()
    dims = ("trajectory", "time", "channel", *grid)
    dimensionless = {"units": "1"}
    chosen = {entry.name: getattr(system, entry.name) for entry in fields(system)}
    return xr.Dataset(
        {
            "field": (dims, noisy, {**dimensionless, "long_name": "observed field"}),
            "clean": (dims, clean, {**dimensionless, "long_name": "field without noise"}),
            "initial_parameters": (("trajectory", "initial_parameter"), parameters),
        },
        coords={
            "trajectory": np.arange(len(splits)),
            "time": ("time", system.times, dimensionless),
            "channel": list(system.channels),
            **{axis: (axis, values, dimensionless) for axis, values in grid.items()},
            "initial_parameter": list(system.initial_names),
            "split": ("trajectory", np.asarray(splits)),
        },
        attrs={
            "title": system.title,
            "system": system.name,
            "options": json.dumps(chosen, default=np.generic.item),
            "boundary": list(system.boundary),
            "domain": list(system.domain),
            "generator_version": system.version,
        },
    )


def _check_counts(counts: Mapping[str, int]) -> dict[str, int]:
    for split, count in counts.items():
        if split not in SPLITS:
            raise InputError(f"unknown split {split!r}: expected {', '.join(SPLITS)}")
        if not isinstance(count, (int, np.integer)) or count < 0:
            raise InputError(f"{count!r} trajectories for {split}: expected a whole number from 0")
    if not sum(counts.values()):
        raise InputError("no trajectories to simulate: ask for at least one in some split")
    return {split: int(counts[split]) for split in SPLITS if counts.get(split)}
