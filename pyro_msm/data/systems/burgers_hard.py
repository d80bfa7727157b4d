"""The viscous Burgers equation in one dimension with several pulses that start anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pyro_msm.data.systems.burgers import Burgers
from pyro_msm.data.systems.initial import numbered, periodic_distance, pulses, several

PULSES = 4
PLACES = [(0.0, 1.0)]
INSIDE = ([(-0.4, -0.1), (0.1, 0.4)], [(0.03, 0.12)], PLACES)
OUTSIDE = ([(-0.6, -0.45), (0.45, 0.6)], [(0.02, 0.028), (0.13, 0.16)], PLACES)


@dataclass(frozen=True)
class BurgersHard(Burgers):
    """u_t = -u u_x + ν u_xx, periodic on [0, 1], from one to four pulses of both signs anywhere.

    Pulses a exp(-(d/w)²), where d is the periodic distance from their place, with |a| ~ U(0.1, 0.4)
    of either sign and w ~ U(0.03, 0.12): shocks that move both ways, meet, and merge or stand. For
    ``extrapolation`` |a| lies in [0.45, 0.6] and w in [0.02, 0.028] or [0.13, 0.16]. Equation,
    scheme and noise are those of ``burgers-1d``.
    """

    name: ClassVar[str] = "burgers-1d-hard"
    title: ClassVar[str] = "viscous Burgers equation, pulses of both signs that start anywhere"
    initial_names: ClassVar[tuple[str, ...]] = numbered(("amplitude", "width", "position"), PULSES)

    @property
    def trajectories(self) -> dict[str, int]:
        """More than the published case, for the initial conditions vary in more ways."""
        return {"train": 40, "validation": 10, "test": 10}

    def initial_parameters(
        self, generator: np.random.Generator, count: int, extrapolation: bool = False
    ) -> np.ndarray:
        """Amplitude, width and position of each pulse."""
        return several(generator, count, PULSES, OUTSIDE if extrapolation else INSIDE)

    def initial_state(self, parameters: np.ndarray) -> np.ndarray:
        """The sum of the pulses."""
        amplitude, width, position = pulses(parameters, PULSES)
        distance = periodic_distance(self.grid()["x"], position, self.domain[0])
        return (amplitude * np.exp(-((distance / width) ** 2))).sum(1, keepdims=True)
