"""Particles that drift to and fro in a box while they diffuse."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pyro_msm.data.systems.base import Generators, System
from pyro_msm.data.systems.options import option
from pyro_msm.errors import InputError

#: Random numbers that are drawn at a time.
DRAWN = 150_000


@dataclass(frozen=True)
class AdvectionDiffusion(System):
    """dx = A cos(ωt) dt + √D dW for every particle, reflected at -½ and ½ on each axis.

    A system of ``particles``: the state is (count, particle, component), in float64. All start from
    the middle of the box. The start times of trajectories are drawn from one period of the slowest
    drift, their initial parameter: what is at ``time`` t of the dataset happens at t + start time.
    ``step`` takes these absolute times, one for all or one for each trajectory, and ``forcing``
    says what the drift was: ``forcing(trajectory, time, component)`` of the dataset is A cos(ωt).

    Scheme: Euler steps of ``time_step``, drift at the left end, then reflection. The chain differs
    from the process by 3e-4 in the mean at the default, ten times that at 0.01: ``fokker_planck``
    has its exact density, for any step.

    Published with D = 0.2, 1000 particles and samples 0.5 apart, 1000 to train, 1000 to validate,
    1e4 (here ten records) for the test: Vlachas et al., Multiscale simulations of complex systems
    by learning their effective dynamics, Nat. Mach. Intell. 4, 2022, with Péclet numbers
    |A|/(D/2), ``diffusion`` of 0.02, 0.2 and 2.
    """

    drift: ClassVar[tuple[float, ...]]
    frequency: ClassVar[tuple[float, ...]]
    variable: ClassVar[str] = "particles"
    initial_names: ClassVar[tuple[str, ...]] = ("start time",)
    unobserved: ClassVar[str] = "it has no field"

    points: int = option(1000, "particles", minimum=1)
    frames: int = option(1000, "snapshots, the first at time 0", minimum=2)
    end_time: float = option(499.5, "time of the last snapshot", minimum=1e-9)
    diffusion: float = option(0.2, "D, twice the diffusivity", minimum=1e-9)
    time_step: float = option(1e-3, "longest step of the solver", minimum=1e-9)

    def __post_init__(self) -> None:
        super().__post_init__()
        # Reflection is once at each wall: steps that cross the box would leave it.
        longest = max(self.drift) * self.time_step + 8 * np.sqrt(self.diffusion * self.time_step)
        if longest > 1:
            raise InputError(
                f"system {self.name}: with diffusion {self.diffusion:g} a particle may cross the "
                f"whole box in a step of {self.time_step:g}: expected a smaller time_step"
            )

    @property
    @abstractmethod
    def trajectories(self) -> dict[str, int]:
        """As many samples as published."""

    @property
    def noise_std(self) -> float:
        """As published, none."""
        return 0.0

    def grid(self) -> dict[str, np.ndarray]:
        """None."""
        return {}

    def initial_parameters(
        self, generator: np.random.Generator, count: int, extrapolation: bool = False
    ) -> np.ndarray:
        """Start times within a period of the slowest drift; everything repeats after it."""
        period = 2 * np.pi / min(rate for rate in self.frequency if rate)
        return generator.uniform(0.0, period, (count, 1))

    def initial_state(self, parameters: np.ndarray) -> np.ndarray:
        """All in the middle."""
        return np.zeros((len(parameters), self.points, len(self.channels)))

    def start_times(self, parameters: np.ndarray) -> np.ndarray:
        """The initial parameter itself."""
        return np.asarray(parameters, dtype=np.float64)[:, 0]

    def forcing(self, parameters: np.ndarray, times: np.ndarray) -> np.ndarray:
        """The drift A cos(ωt)."""
        absolute = self.start_times(parameters)[:, None] + times
        return self._drift_at(absolute)

    def step(
        self,
        state: np.ndarray,
        t: float | np.ndarray,
        duration: float,
        generator: Generators | None = None,
    ) -> np.ndarray:
        """Euler steps of equal length, at most ``time_step``.

        Args:
            state: (count, particle, component).
            t: absolute time, or one for each trajectory, (count,).
            duration: divided into equal steps.
            generator: one for each trajectory.

        Raises:
            InputError: no generators.
        """
        if generator is None:
            raise InputError(
                f"system {self.name} is stochastic: step needs a generator for each trajectory"
            )
        count = max(1, int(np.ceil(duration / self.time_step - 1e-6)))
        begun = np.broadcast_to(np.asarray(t, dtype=np.float64), len(state))
        after = np.array(state, dtype=np.float64)
        for positions, start, stream in zip(after, begun, generator, strict=True):
            self._walk(positions, float(start), duration / count, count, stream)
        return after

    def _walk(
        self, x: np.ndarray, start: float, step: float, count: int, stream: np.random.Generator
    ) -> None:
        """``count`` steps of the particles (particle, component), in place."""
        drift = step * self._drift_at(start + step * np.arange(count))
        x += 0.5
        each = max(1, DRAWN // x.size)
        for first in range(0, count, each):
            moves = stream.standard_normal((min(each, count - first), *x.shape))
            moves *= np.sqrt(self.diffusion * step)
            moves += drift[first : first + each, None]
            for move in moves:
                x += move
                np.abs(x, out=x)  # at 0
                np.subtract(1.0, x, out=x)
                np.abs(x, out=x)  # at 1
                np.subtract(1.0, x, out=x)
        x -= 0.5

    def _drift_at(self, times: np.ndarray) -> np.ndarray:
        """(…, component)."""
        return np.asarray(self.drift) * np.cos(np.multiply.outer(times, self.frequency))


@dataclass(frozen=True)
class AdvectionDiffusion1D(AdvectionDiffusion):
    """In one dimension: A = 1, ω = 0.1.

    See ``AdvectionDiffusion``.
    """

    name: ClassVar[str] = "advection-diffusion-1d"
    title: ClassVar[str] = "particles in a periodic drift between walls"
    equation: ClassVar[str] = "dx = cos(0.1 t) dt + √0.2 dW, walls at -½ and ½"
    channels: ClassVar[tuple[str, ...]] = ("x",)
    boundary: ClassVar[tuple[str, ...]] = ("wall",)
    domain: ClassVar[tuple[float, ...]] = (1.0,)
    drift: ClassVar[tuple[float, ...]] = (1.0,)
    frequency: ClassVar[tuple[float, ...]] = (0.1,)

    @property
    def trajectories(self) -> dict[str, int]:
        """As many samples as published."""
        return {"train": 1, "validation": 1, "test": 10}


@dataclass(frozen=True)
class AdvectionDiffusion3D(AdvectionDiffusion):
    """In three dimensions: A = (1, 1.5, 0), ω = (0.2, 1, 0.5).

    Its axes are independent. See ``AdvectionDiffusion``.
    """

    name: ClassVar[str] = "advection-diffusion-3d"
    title: ClassVar[str] = "particles in a periodic drift in a box"
    equation: ClassVar[str] = "dx = (cos 0.2 t, 1.5 cos t, 0) dt + √0.2 dW, walls at -½ and ½"
    channels: ClassVar[tuple[str, ...]] = ("x", "y", "z")
    boundary: ClassVar[tuple[str, ...]] = ("wall",) * 3
    domain: ClassVar[tuple[float, ...]] = (1.0,) * 3
    drift: ClassVar[tuple[float, ...]] = (1.0, 1.5, 0.0)
    frequency: ClassVar[tuple[float, ...]] = (0.2, 1.0, 0.5)

    @property
    def trajectories(self) -> dict[str, int]:
        """As many samples as published."""
        return {"train": 1, "validation": 1, "test": 10}
