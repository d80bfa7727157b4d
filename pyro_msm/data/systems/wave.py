"""Waves that travel one way without changing their shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import fft

from pyro_msm.data.systems.base import Generators, System
from pyro_msm.data.systems.initial import (
    numbered,
    periodic_distance,
    pulses,
    several,
    uniform_in,
)

WIDTH = [(0.01, 0.02)]
OUTSIDE_WIDTH = [(0.006, 0.009), (0.022, 0.03)]
PULSES = 3
HARD = ([(-1.5, -0.5), (0.5, 1.5)], [(0.01, 0.04)], [(0.0, 1.0)])
HARD_OUTSIDE = ([(-2.5, -1.75), (1.75, 2.5)], [(0.006, 0.009), (0.045, 0.06)], [(0.0, 1.0)])


@dataclass(frozen=True)
class Wave(System):
    """u_t = -u_x, periodic on [0, 1]: a narrow pulse that travels around once.

    Initial condition u₀ = exp(-(d/w)²), d the periodic distance from x = 0 and w ~ U(0.01, 0.02),
    as in "Learning stochastic multiscale models" (NeurIPS 2025), whose data are this shift and not
    the solution of a wave equation: 20/5/5 trajectories, 1001 frames. For ``extrapolation`` w lies
    in [0.006, 0.009] or [0.022, 0.03].

    Scheme: a shift of the Fourier coefficients, exact for whatever the grid can hold and for every
    duration.
    """

    name: ClassVar[str] = "wave-1d"
    title: ClassVar[str] = "one-way wave, a narrow pulse that travels around once"
    equation: ClassVar[str] = "u_t = -u_x, periodic on [0, 1]"
    boundary: ClassVar[tuple[str, ...]] = ("periodic",)
    domain: ClassVar[tuple[float, ...]] = (1.0,)
    initial_names: ClassVar[tuple[str, ...]] = ("width",)

    @property
    def trajectories(self) -> dict[str, int]:
        """As published."""
        return {"train": 20, "validation": 5, "test": 5}

    @property
    def noise_std(self) -> float:
        """As published, 1e-3."""
        return 1e-3

    @property
    def terms(self) -> dict[str, float]:
        """Advection at unit speed."""
        return {"advection": 1.0}

    def initial_parameters(
        self, generator: np.random.Generator, count: int, extrapolation: bool = False
    ) -> np.ndarray:
        """Width w."""
        return uniform_in(generator, count, [OUTSIDE_WIDTH if extrapolation else WIDTH])

    def initial_state(self, parameters: np.ndarray) -> np.ndarray:
        """A pulse at x = 0."""
        width = np.asarray(parameters, dtype=np.float64)
        distance = periodic_distance(self.grid()["x"], 0.0, self.domain[0])
        return np.exp(-((distance / width) ** 2))[:, None]

    def step(
        self, state: np.ndarray, t: float, duration: float, generator: Generators | None = None
    ) -> np.ndarray:
        """The field a distance ``duration`` to the right."""
        k = 2 * np.pi / self.domain[0] * np.arange(self.points // 2 + 1)
        return fft.irfft(fft.rfft(state) * np.exp(-1j * k * duration), self.points)


@dataclass(frozen=True)
class WaveHard(Wave):
    """The same equation with one to three pulses that start anywhere.

    Each has an amplitude of either sign with modulus U(0.5, 1.5), a width w ~ U(0.01, 0.04) and a
    position U(0, 1), so that the mean trajectory is zero and a linear map of a few coordinates of
    u₀ says little. For ``extrapolation`` the moduli lie in [1.75, 2.5] and the widths in
    [0.006, 0.009] or [0.045, 0.06].
    """

    name: ClassVar[str] = "wave-1d-hard"
    title: ClassVar[str] = "one-way wave, several pulses that start anywhere"
    initial_names: ClassVar[tuple[str, ...]] = numbered(("amplitude", "width", "position"), PULSES)

    def initial_parameters(
        self, generator: np.random.Generator, count: int, extrapolation: bool = False
    ) -> np.ndarray:
        """Amplitude, width and position of each pulse."""
        return several(generator, count, PULSES, HARD_OUTSIDE if extrapolation else HARD)

    def initial_state(self, parameters: np.ndarray) -> np.ndarray:
        """The sum of the pulses."""
        amplitude, width, position = pulses(parameters, PULSES)
        distance = periodic_distance(self.grid()["x"], position, self.domain[0])
        return (amplitude * np.exp(-((distance / width) ** 2))).sum(1, keepdims=True)
