"""A scalar Burgers equation in two dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pyro_msm.data.systems.base import Generators, System
from pyro_msm.data.systems.initial import normal_above, numbered, pulses, several
from pyro_msm.data.systems.options import option

VISCOSITY = 0.005
MAX_STEP = 1e-3
DIFFUSION_LIMIT = 0.25
PLACE = 0.3
MEAN = (1.0, 0.2)
SPREAD = (0.1, 0.01)
MINIMUM = (0.0, 0.01)
PULSES = 2
PLACES = [(0.2, 0.5)]
OUTSIDE_PLACES = [(0.2, 0.4)]
INSIDE = ([(0.4, 1.0)], [(0.1, 0.2)], PLACES, PLACES)
OUTSIDE = (
    [(1.05, 1.2)],
    [(0.08, 0.095), (0.21, 0.23)],
    OUTSIDE_PLACES,
    OUTSIDE_PLACES,
)


@dataclass(frozen=True)
class Burgers2D(System):
    """u_t = ν∇²u - u(u_x + u_y) with ν = 0.005 on [0, 1]²: a mound that steepens diagonally.

    Initial condition u₀ = c exp(-|(x, y) - (0.3, 0.3)|²/r²) with c ~ N(1, 0.1²), r ~ N(0.2, 0.01²),
    as in "Learning stochastic multiscale models" (NeurIPS 2025): 20/5/5 trajectories on 128². For
    ``extrapolation`` both lie three to five standard deviations from their means. The default keeps
    every second of the published 1001 frames (``frames=1001`` gives all), because 30 trajectories
    then take 1 GB a variable instead of 2.

    Scheme, as published: central differences, Heun's method with Δt = 1e-3 (shorter where diffusion
    asks for it), and **the outermost points keep their initial values**. Points are the middles of
    cells, so that a coarse grid of 8 x 8 divides the fine one. The boundary counts as "open".
    """

    name: ClassVar[str] = "burgers-2d"
    title: ClassVar[str] = "scalar Burgers equation in two dimensions, a mound that steepens"
    equation: ClassVar[str] = "u_t = ν∇²u - u(u_x + u_y), ν = 0.005, frozen boundary of [0, 1]²"
    boundary: ClassVar[tuple[str, ...]] = ("open", "open")
    domain: ClassVar[tuple[float, ...]] = (1.0, 1.0)
    initial_names: ClassVar[tuple[str, ...]] = ("amplitude", "radius")

    points: int = option(128, "grid points along each axis", minimum=8)
    frames: int = option(501, "snapshots, the first at time 0; published: 1001", minimum=2)

    @property
    def trajectories(self) -> dict[str, int]:
        """As published."""
        return {"train": 20, "validation": 5, "test": 5}

    @property
    def noise_std(self) -> float:
        """As published, 1e-3."""
        return 1e-3

    def grid(self) -> dict[str, np.ndarray]:
        """Middles of the cells."""
        return {
            axis: spacing * (np.arange(self.points) + 0.5)
            for axis, spacing in zip("xy", self.spacing, strict=True)
        }

    @property
    def terms(self) -> dict[str, float]:
        """Those of the equation."""
        return {"self_advection": 1.0, "diffusion": VISCOSITY}

    def initial_parameters(
        self, generator: np.random.Generator, count: int, extrapolation: bool = False
    ) -> np.ndarray:
        """Amplitude c and radius r."""
        return normal_above(generator, count, MEAN, SPREAD, MINIMUM, extrapolation)

    def initial_state(self, parameters: np.ndarray) -> np.ndarray:
        """A mound at (0.3, 0.3)."""
        amplitude, radius = np.asarray(parameters, dtype=np.float64).T[..., None, None]
        x, y = np.meshgrid(*self.grid().values(), indexing="ij")
        squared = (x - PLACE) ** 2 + (y - PLACE) ** 2
        return (amplitude * np.exp(-squared / radius**2))[:, None]

    def step(
        self, state: np.ndarray, t: float, duration: float, generator: Generators | None = None
    ) -> np.ndarray:
        """Heun in equal steps of at most 1e-3."""
        longest = min(MAX_STEP, DIFFUSION_LIMIT * self.spacing[0] ** 2 / VISCOSITY)
        count = max(1, int(np.ceil(duration / longest - 1e-6)))
        after = np.empty(np.shape(state))
        # One trajectory at a time stays in the processor's cache.
        for index, field in enumerate(np.asarray(state, dtype=np.float64)):
            after[index, 0] = self.integrate(field[0], duration / count, count)
        return after

    def integrate(self, u: np.ndarray, step: float, count: int) -> np.ndarray:
        """The field (x, y) after ``count`` Heun steps of length ``step``."""
        for _ in range(count):
            rate = self.rate(u)
            u = u + 0.5 * step * (rate + self.rate(u + step * rate))
        return u

    def rate(self, u: np.ndarray) -> np.ndarray:
        """du/dt of one field (x, y); zero on its outermost points."""
        spacing = self.spacing[0]
        inner = u[1:-1, 1:-1]
        ahead = u[2:, 1:-1] + u[1:-1, 2:]
        behind = u[:-2, 1:-1] + u[1:-1, :-2]
        rate = np.zeros_like(u)
        slope = ahead - behind
        slope *= inner
        slope *= -0.5 / spacing
        ahead += behind
        ahead -= 4 * inner
        ahead *= VISCOSITY / spacing**2
        np.add(ahead, slope, out=rate[1:-1, 1:-1])
        return rate


@dataclass(frozen=True)
class Burgers2DHard(Burgers2D):
    """The same equation from one or two mounds of varied height and width that start anywhere.

    Mounds c exp(-|(x, y) - place|²/r²) with c ~ U(0.4, 1), r ~ U(0.1, 0.2) and both coordinates of
    their places U(0.2, 0.5). For ``extrapolation`` c lies in [1.05, 1.2], r in [0.08, 0.095] or
    [0.21, 0.23], the places in [0.2, 0.4]: further out or higher, a front would pile up at the
    frozen boundary, which it cannot leave.
    """

    name: ClassVar[str] = "burgers-2d-hard"
    title: ClassVar[str] = "scalar Burgers equation in two dimensions, mounds that start anywhere"
    initial_names: ClassVar[tuple[str, ...]] = numbered(("amplitude", "radius", "x", "y"), PULSES)

    @property
    def trajectories(self) -> dict[str, int]:
        """More than the published case, for the initial conditions vary in more ways."""
        return {"train": 40, "validation": 10, "test": 10}

    def initial_parameters(
        self, generator: np.random.Generator, count: int, extrapolation: bool = False
    ) -> np.ndarray:
        """Amplitude, radius and place of each mound."""
        return several(generator, count, PULSES, OUTSIDE if extrapolation else INSIDE)

    def initial_state(self, parameters: np.ndarray) -> np.ndarray:
        """The sum of the mounds."""
        amplitude, radius, *place = pulses(parameters, PULSES, axes=2)
        x, y = np.meshgrid(*self.grid().values(), indexing="ij")
        squared = (x - place[0]) ** 2 + (y - place[1]) ** 2
        return (amplitude * np.exp(-squared / radius**2)).sum(1, keepdims=True)
