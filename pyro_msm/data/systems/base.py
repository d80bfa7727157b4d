"""What every simulated system offers: initial conditions, a restartable step, and ``simulate``."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import xarray as xr

from pyro_msm.data.io import save, save_parts
from pyro_msm.data.schema import validate
from pyro_msm.data.systems import coarsening
from pyro_msm.data.systems.options import check_option, option
from pyro_msm.data.systems.simulation import Progress, Simulation
from pyro_msm.errors import InputError

Generators = Sequence[np.random.Generator]


@dataclass(frozen=True)
class System(ABC):
    """A dynamical system on a grid; its dataclass fields are its options.

    The state of ``count`` trajectories is a float64 array (count, channel, x[, y]). ``step`` is a
    pure function of it, so a run can be stopped, changed and restarted anywhere.

    Most systems are fields; ``variable`` names what is observed, "field", "particles" (count,
    particle, component) or "path" (count, component). The last two have no grid.

    Class attributes say what ``pyro-msm systems`` prints: ``name``, ``title``, ``equation`` (with
    its source), ``channels`` (or components), ``boundary`` and ``domain`` (one entry an axis),
    ``initial_names`` (the random quantities of the initial condition), ``split_on`` ("time" where
    the data are one record), ``version`` (raised whenever the numbers that ``simulate`` gives for
    the same seed change), ``lyapunov_time`` (in which errors grow e-fold; None: not chaotic),
    ``unobserved`` (what an equation of the observed field alone would lack).
    """

    name: ClassVar[str]
    title: ClassVar[str]
    equation: ClassVar[str]
    variable: ClassVar[str] = "field"
    channels: ClassVar[tuple[str, ...]] = ("u",)
    boundary: ClassVar[tuple[str, ...]]
    domain: ClassVar[tuple[float, ...]]
    initial_names: ClassVar[tuple[str, ...]]
    split_on: ClassVar[str] = "trajectory"
    version: ClassVar[int] = 1
    lyapunov_time: ClassVar[float | None] = None
    unobserved: ClassVar[str] = "its equation has other terms"

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

    @property
    def terms(self) -> dict[str, float]:
        """Coefficients of the terms of the equation, by their names in ``nn.physics``.

        Raises:
            InputError: what is observed has no equation of its own of such terms.
        """
        raise InputError(
            f"what is observed of {self.name} has no equation of its own, for {self.unobserved}"
        )

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

    def parameters_of(self, split: str, index: int, generator: np.random.Generator) -> np.ndarray:
        """``initial_parameters`` (1, …) of trajectory ``index`` of a split: drawn, but where a
        system has published ones for it."""
        return self.initial_parameters(generator, 1, split == "extrapolation")

    def start_times(self, parameters: np.ndarray) -> float | np.ndarray:
        """Absolute times (trajectory,) at which trajectories of these ``initial_parameters`` start:
        what ``step`` calls ``t`` is that of the dataset plus this. Zero, but for forced systems."""
        return 0.0

    def forcing(self, parameters: np.ndarray, times: np.ndarray) -> np.ndarray | None:
        """What drives the trajectories from outside at ``times`` of the dataset, (trajectory, time,
        component) with the components of the variable; None: nothing does."""
        return None

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
            The ``variable`` (noisy) and ``clean``, both float32, as (trajectory, time, channel, x[,
            y]) for a field, ``split(trajectory)`` and ``initial_parameters(trajectory,
            initial_parameter)``, which describe the initial condition and are no input of a model.

        Raises:
            InputError: unknown split or option, no trajectory at all, negative noise, or options
                with which the solution does not stay finite.
        """
        return self._simulation(trajectories, seed, noise_std, options).dataset(progress)

    def simulate_to(
        self,
        path: Path | str,
        trajectories: Mapping[str, int] | None = None,
        seed: int = 0,
        noise_std: float | None = None,
        *,
        progress: Progress | None = None,
        **options: Any,
    ) -> None:
        """Writes what ``simulate`` returns to a file, a few trajectories at a time.

        The file has its name only when all is there; what an interruption leaves is deleted.

        Args:
            path: a ``.nc`` file or a ``.zarr`` folder; replaced if it exists.
            trajectories, seed, noise_std, progress, options: see ``simulate``.

        Raises:
            InputError: also a file that cannot be written.
        """
        if self.split_on == "time":  # one record
            options |= {"progress": progress}
            save(self.simulate(trajectories, seed, noise_std, **options), path)
            return
        simulation = self._simulation(trajectories, seed, noise_std, options)
        form = validate(simulation.form(), source=str(path))
        save_parts(form, simulation.parts(progress), path)

    def _simulation(
        self,
        trajectories: Mapping[str, int] | None,
        seed: int,
        noise_std: float | None,
        options: dict[str, Any],
    ) -> Simulation:
        system = self.configured(**options)
        return Simulation(
            system,
            dict(system.trajectories if trajectories is None else trajectories),
            seed,
            system.noise_std if noise_std is None else float(noise_std),
        )
