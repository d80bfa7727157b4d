"""The shallow-water equations in two dimensions: radial dam breaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pyro_msm.data.systems import muscl
from pyro_msm.data.systems.base import Generators, System
from pyro_msm.data.systems.initial import numbered, pulses, several, uniform_in
from pyro_msm.data.systems.options import option

HALF = 2.5
RADIUS = [(0.3, 0.7)]
OUTSIDE_RADIUS = [(0.2, 0.27), (0.75, 1.0)]
DAMS = 2
PLACES = [(-1.2, 1.2)]
INSIDE = ([(0.4, 1.5)], [(0.25, 0.7)], PLACES, PLACES)
OUTSIDE = ([(1.7, 2.2)], [(0.18, 0.23), (0.75, 0.95)], PLACES, PLACES)


@dataclass(frozen=True)
class ShallowWater(System):
    """h_t + (hu)_x + (hv)_y = 0 and its momentum equations, g = 1, on [-2.5, 2.5]²; outflow.

    The water stands 2 deep inside a circle of radius r ~ U(0.3, 0.7) around the origin, 1 deep
    outside, and is at rest: the radial dam break of PDEBench (Takamoto et al., NeurIPS 2022, D.6),
    128² cells, T = 1, 101 frames. Observed is the deviation h - 1 of the depth alone, with noise
    0.01. For ``extrapolation`` r lies in [0.2, 0.27] or [0.75, 1].

    "Learning stochastic multiscale models" uses 900/50/50 of them; the default here is 60/5/10,
    about 1 GB with and without noise (``trajectories={"train": 900, …}`` needs 13 GB).

    The state is (h, hu, hv). ``lift`` takes the water to be at rest, which is so at time 0 only.

    Scheme: finite volumes, see ``muscl``. On 128 cells the depth of the exact one-dimensional dam
    break is met to 0.4 % of its step in the mean; the radial one at t = 1 differs from that on 512²
    by 6 % of the deviation, nearly all of it at the front.
    """

    name: ClassVar[str] = "shallow-water-2d"
    title: ClassVar[str] = "shallow water, a radial dam break of which the depth is observed"
    equation: ClassVar[str] = "h_t + ∇·(hv) = 0, (hv)_t + ∇·(hvv + ½h²I) = 0, outflow, [-2.5, 2.5]²"
    channels: ClassVar[tuple[str, ...]] = ("h-1",)
    unobserved: ClassVar[str] = "the water's momentum is not observed"
    boundary: ClassVar[tuple[str, ...]] = ("open", "open")
    domain: ClassVar[tuple[float, ...]] = (2 * HALF, 2 * HALF)
    initial_names: ClassVar[tuple[str, ...]] = ("radius",)

    points: int = option(128, "grid cells along each axis", minimum=8)
    frames: int = option(101, "snapshots, the first at time 0", minimum=2)

    @property
    def trajectories(self) -> dict[str, int]:
        """Fewer than the published 900/50/50: what a small machine holds."""
        return {"train": 60, "validation": 5, "test": 10}

    @property
    def noise_std(self) -> float:
        """As published, 0.01."""
        return 0.01

    def grid(self) -> dict[str, np.ndarray]:
        """Middles of the cells."""
        return {
            axis: spacing * (np.arange(self.points) + 0.5) - HALF
            for axis, spacing in zip("xy", self.spacing, strict=True)
        }

    def initial_parameters(
        self, generator: np.random.Generator, count: int, extrapolation: bool = False
    ) -> np.ndarray:
        """Radius of the dam."""
        return uniform_in(generator, count, [OUTSIDE_RADIUS if extrapolation else RADIUS])

    def initial_state(self, parameters: np.ndarray) -> np.ndarray:
        """Water at rest, 2 deep in cells whose middle lies in the circle."""
        radius = np.asarray(parameters, dtype=np.float64)[..., None]
        x, y = np.meshgrid(*self.grid().values(), indexing="ij")
        return self.lift((x**2 + y**2 <= radius**2)[:, None])

    def observe(self, state: np.ndarray) -> np.ndarray:
        """The deviation of the depth from 1."""
        return state[:, :1] - 1.0

    def lift(self, observation: np.ndarray) -> np.ndarray:
        """Water of this depth at rest: the truth at time 0, a guess later."""
        depth = 1.0 + np.asarray(observation, dtype=np.float64)
        return np.concatenate([depth, np.zeros_like(depth), np.zeros_like(depth)], axis=1)

    def step(
        self, state: np.ndarray, t: float, duration: float, generator: Generators | None = None
    ) -> np.ndarray:
        """MUSCL–Hancock in equal steps that its Courant number allows."""
        after = np.empty(np.shape(state))
        # One trajectory at a time: it stays in the cache, and its steps are its own.
        for index, water in enumerate(np.asarray(state, dtype=np.float64)):
            after[index] = muscl.advance(water, duration, self.spacing[0])
        return after


@dataclass(frozen=True)
class ShallowWaterHard(ShallowWater):
    """One or two dams of varied height and radius that stand anywhere near the middle.

    Inside its circle each dam adds U(0.4, 1.5) to the depth of 1; radii U(0.25, 0.7), centres
    U(-1.2, 1.2)². Overlapping dams add up. For ``extrapolation`` the heights lie in [1.7, 2.2] and
    the radii in [0.18, 0.23] or [0.75, 0.95].
    """

    name: ClassVar[str] = "shallow-water-2d-hard"
    title: ClassVar[str] = "shallow water, dam breaks anywhere of which the depth is observed"
    initial_names: ClassVar[tuple[str, ...]] = numbered(("height", "radius", "x", "y"), DAMS)

    def initial_parameters(
        self, generator: np.random.Generator, count: int, extrapolation: bool = False
    ) -> np.ndarray:
        """Height, radius and centre of each dam."""
        return several(generator, count, DAMS, OUTSIDE if extrapolation else INSIDE)

    def initial_state(self, parameters: np.ndarray) -> np.ndarray:
        """Water at rest behind the dams."""
        height, radius, *centre = pulses(parameters, DAMS, axes=2)
        x, y = np.meshgrid(*self.grid().values(), indexing="ij")
        inside = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2
        return self.lift((height * inside).sum(1, keepdims=True))
