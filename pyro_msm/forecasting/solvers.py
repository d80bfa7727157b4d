"""True solvers as a hybrid forecast uses them: observations in, observations out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import xarray as xr

from pyro_msm.data.systems import System
from pyro_msm.errors import InputError

#: (state, t, duration) → the state a time ``duration`` later; all (count, …) arrays.
StepFunction = Callable[[np.ndarray, float, float], np.ndarray]


class Solver(Protocol):
    """What a hybrid forecast asks of a true solver."""

    def lift(self, observation: np.ndarray) -> np.ndarray:
        """States that have these observations (count, …)."""

    def observe(self, state: np.ndarray) -> np.ndarray:
        """Observations (count, …) of states."""

    def step(self, state: np.ndarray, t: float, duration: float) -> np.ndarray:
        """States a time ``duration`` after the time ``t``, which is that of the dataset."""


@dataclass(frozen=True)
class FunctionSolver:
    """A function (state, t, duration) → state whose states are the observations themselves.

    Example:
        >>> solver = FunctionSolver(lambda state, t, duration: state * np.exp(-duration))
        >>> solver.step(np.ones((1, 2)), 0.0, 1.0).round(3).tolist()
        [[0.368, 0.368]]
    """

    function: StepFunction

    def lift(self, observation: np.ndarray) -> np.ndarray:
        """The observation."""
        return np.asarray(observation, np.float64)

    def observe(self, state: np.ndarray) -> np.ndarray:
        """The state."""
        return state

    def step(self, state: np.ndarray, t: float, duration: float) -> np.ndarray:
        """What the function returns."""
        return self.function(state, t, duration)


@dataclass(frozen=True)
class SystemSolver:
    """A system of ``data.systems`` as a solver.

    Args:
        system: with the options of the data.
        starts: absolute times at which the trajectories of the dataset start, one for all or one
            for each; forced systems need them.
        generators: one for each trajectory; stochastic systems need them.
    """

    system: System
    starts: float | np.ndarray = 0.0
    generators: tuple[np.random.Generator, ...] = ()

    @classmethod
    def for_data(cls, system: System, data: xr.Dataset, copies: int, seed: int) -> SystemSolver:
        """For the trajectories of a dataset of the system, ``copies`` of each one after the other.

        Args:
            system: what simulated the data.
            data: the trajectories, with their ``initial_parameters``.
            copies: how often all of them come.
            seed: root of the random numbers; each copy of each trajectory has its own.
        """
        count = data.sizes["trajectory"]
        generators = tuple(
            np.random.default_rng([seed, copy, which])
            for copy in range(copies)
            for which in range(count)
        )
        starts: float | np.ndarray = 0.0
        if "initial_parameters" in data:
            begun = system.start_times(data["initial_parameters"].values)
            starts = np.tile(np.broadcast_to(begun, count), copies)
        return cls(system, starts, generators)

    def part(self, which: int) -> SystemSolver:
        """The solver of one of the trajectories alone."""
        starts = self.starts if np.ndim(self.starts) == 0 else np.asarray(self.starts)[[which]]
        return replace(self, starts=starts, generators=self.generators[which : which + 1])

    def lift(self, observation: np.ndarray) -> np.ndarray:
        """As the system does it."""
        return self.system.lift(np.asarray(observation, np.float64))

    def observe(self, state: np.ndarray) -> np.ndarray:
        """As the system does it."""
        return self.system.observe(state)

    def step(self, state: np.ndarray, t: float, duration: float) -> np.ndarray:
        """As the system does it, at the absolute times of the trajectories."""
        when = t + self.starts
        if isinstance(when, np.ndarray) and not when.any():
            when = 0.0
        return self.system.step(state, when, duration, self.generators or None)  # type: ignore[arg-type]


def as_solver(solver: Solver | StepFunction) -> Solver:
    """A solver, from one or from a function.

    Raises:
        InputError: it is neither.
    """
    if all(hasattr(solver, name) for name in ("lift", "observe", "step")):
        return solver  # type: ignore[return-value]
    if callable(solver):
        return FunctionSolver(solver)
    raise InputError(
        "a hybrid forecast needs a solver: a function (state, t, duration) or an object with lift, "
        f"step and observe; got {type(solver).__name__}"
    )
