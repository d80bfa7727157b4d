"""The Korteweg–de Vries equation with several wave packets that start anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pyro_msm.data.systems.base import Generators, System
from pyro_msm.data.systems.initial import numbered, periodic_distance, pulses, several
from pyro_msm.data.systems.kdv import LENGTH, KdV

PULSES = 3
PHASES = [(0.0, 2 * np.pi)]
PLACES = [(0.0, LENGTH)]
INSIDE = ([(0.8, 2.4)], [(0.6, 1.2)], [(0.0, 4.0)], PHASES, PLACES)
OUTSIDE = ([(2.6, 3.2)], [(0.4, 0.55), (1.3, 1.6)], [(4.2, 5.0)], PHASES, PLACES)


@dataclass(frozen=True)
class KdVHard(System):
    """u_t = -u u_x - 0.02 u_xxx, periodic on [0, 10], from one to three wave packets anywhere.

    Each packet is a cos(k d + φ) exp(-d²/s²), where d is the periodic distance from its place, with
    a ~ U(0.8, 2.4), s ~ U(0.6, 1.2), k ~ U(0, 4), φ ~ U(0, 2π): long humps that shed solitons as
    well as packets that disperse. For ``extrapolation`` a lies in [2.6, 3.2], s in [0.4, 0.55] or
    [1.3, 1.6] and k in [4.2, 5]. The sizes and noise are those of ``kdv-1d``.

    Scheme: that of ``kdv-1d`` with ``scheme="spectral"``, the true equation.
    """

    name: ClassVar[str] = "kdv-1d-hard"
    title: ClassVar[str] = "Korteweg–de Vries equation, several packets that start anywhere"
    equation: ClassVar[str] = KdV.equation
    boundary: ClassVar[tuple[str, ...]] = KdV.boundary
    domain: ClassVar[tuple[float, ...]] = KdV.domain
    initial_names: ClassVar[tuple[str, ...]] = numbered(
        ("amplitude", "width", "wavenumber", "phase", "position"), PULSES
    )

    @property
    def trajectories(self) -> dict[str, int]:
        """More than the published case, for the initial conditions vary in more ways."""
        return {"train": 40, "validation": 10, "test": 10}

    @property
    def noise_std(self) -> float:
        """That of ``kdv-1d``, 0.01."""
        return 0.01

    @property
    def terms(self) -> dict[str, float]:
        """Those of ``kdv-1d`` with ``scheme="spectral"``."""
        return KdV(points=self.points, scheme="spectral").terms

    def initial_parameters(
        self, generator: np.random.Generator, count: int, extrapolation: bool = False
    ) -> np.ndarray:
        """Amplitude, width, wavenumber, phase and position of each packet."""
        return several(generator, count, PULSES, OUTSIDE if extrapolation else INSIDE)

    def initial_state(self, parameters: np.ndarray) -> np.ndarray:
        """The sum of the packets."""
        amplitude, width, wavenumber, phase, position = pulses(parameters, PULSES)
        distance = periodic_distance(self.grid()["x"], position, LENGTH)
        packet = np.cos(wavenumber * distance + phase) * np.exp(-((distance / width) ** 2))
        return (amplitude * packet).sum(1, keepdims=True)

    def step(
        self, state: np.ndarray, t: float, duration: float, generator: Generators | None = None
    ) -> np.ndarray:
        """As ``KdV.step`` does."""
        return KdV(points=self.points, scheme="spectral").step(state, t, duration)
