"""The wave equation of second order in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import fft

from pyro_msm.data.systems.base import Generators, System
from pyro_msm.data.systems.initial import numbered, pulses, several
from pyro_msm.data.systems.options import option

LENGTH = 10.0
PULSES = 2
INSIDE = ([(-1.0, -0.5), (0.5, 1.0)], [(0.2, 0.6)], [(0.0, LENGTH)], [(-1.0, 1.0)])
OUTSIDE = ([(-2.0, -1.2), (1.2, 2.0)], [(0.12, 0.18), (0.65, 0.9)], [(0.0, LENGTH)], [(-1.0, 1.0)])


@dataclass(frozen=True)
class WaveSecondOrder(System):
    """u_tt = u_xx on [0, 10] between reflecting walls (u_x = 0), or periodic; T = 10.

    The state is (u, u_t), and both are observed: u alone does not say which way a wave goes. One or
    two pulses a exp(-((x - x₀)/w)²), with |a| ~ U(0.5, 1) of either sign, w ~ U(0.2, 0.6),
    x₀ ~ U(0, 10) and u_t = -s u_x with s ~ U(-1, 1): s = 1 travels to the right, s = -1 to the
    left, s = 0 starts at rest and falls into halves. Pulses near a wall start with their mirror
    image. For ``extrapolation`` |a| lies in [1.2, 2] and w in [0.12, 0.18] or [0.65, 0.9]. The
    length and time scales are chosen so that u and u_t are of about the same size. Not a published
    case; 20/5/5 trajectories, 1001 frames and the noise of ``wave-1d``.

    Scheme: cosine modes of the cell-centred grid (Fourier modes where periodic), each an oscillator
    that is solved exactly, so the energy ½∫(u_t² + u_x²)dx is conserved to rounding.
    """

    name: ClassVar[str] = "wave-1d-second-order"
    title: ClassVar[str] = "wave equation of second order, pulses between reflecting walls"
    equation: ClassVar[str] = "u_tt = u_xx, reflecting walls at 0 and 10 (or periodic)"
    channels: ClassVar[tuple[str, ...]] = ("u", "u_t")
    domain: ClassVar[tuple[float, ...]] = (LENGTH,)
    initial_names: ClassVar[tuple[str, ...]] = numbered(
        ("amplitude", "width", "position", "direction"), PULSES
    )

    end_time: float = option(10.0, "time of the last snapshot", minimum=1e-9)
    walls: str = option(
        "reflecting",
        "reflecting: u_x = 0 at both ends; periodic: what leaves at one end enters at the other",
        choices=("reflecting", "periodic"),
    )

    @property
    def boundary(self) -> tuple[str, ...]:  # type: ignore[override]
        """ "wall" or "periodic"."""
        return ("periodic",) if self.walls == "periodic" else ("wall",)

    @property
    def trajectories(self) -> dict[str, int]:
        """Those of ``wave-1d``."""
        return {"train": 20, "validation": 5, "test": 5}

    @property
    def noise_std(self) -> float:
        """That of ``wave-1d``, 1e-3."""
        return 1e-3

    def grid(self) -> dict[str, np.ndarray]:
        """Middles of the cells; where periodic, the first point is 0 as usual."""
        shift = 0.0 if self.walls == "periodic" else 0.5
        return {"x": self.spacing[0] * (np.arange(self.points) + shift)}

    @property
    def terms(self) -> dict[str, float]:
        """Waves of unit speed."""
        return {"wave_speed": 1.0}

    def initial_parameters(
        self, generator: np.random.Generator, count: int, extrapolation: bool = False
    ) -> np.ndarray:
        """Amplitude, width, position and direction of each pulse."""
        return several(generator, count, PULSES, OUTSIDE if extrapolation else INSIDE)

    def initial_state(self, parameters: np.ndarray) -> np.ndarray:
        """The pulses with their images beyond the ends."""
        x = self.grid()["x"]
        amplitude, width, position, direction = pulses(parameters, PULSES)
        state = np.zeros((len(amplitude), 2, self.points))
        for turn in (-1, 0, 1):
            images = [(position + turn * LENGTH, direction)]
            if self.walls == "reflecting":
                shift = 2 * turn * LENGTH
                images = [(shift + position, direction), (shift - position, -direction)]
            for centre, sense in images:
                scaled = (x - centre) / width
                pulse = amplitude * np.exp(-(scaled**2))
                state[:, 0] += pulse.sum(1)
                state[:, 1] += (sense * 2 * scaled / width * pulse).sum(1)
        return state

    def step(
        self, state: np.ndarray, t: float, duration: float, generator: Generators | None = None
    ) -> np.ndarray:
        """Every mode turned by its phase: exact for every duration."""
        u, v = np.moveaxis(self._modes(state), -2, 0)
        k = self._wavenumbers()
        cosine, sine = np.cos(k * duration), np.sin(k * duration)
        integral = duration * np.sinc(k * duration / np.pi)
        turned = np.stack([cosine * u + integral * v, cosine * v - k * sine * u], axis=-2)
        if self.walls == "periodic":
            return fft.irfft(turned, self.points)
        return fft.idct(turned, norm="ortho")

    def energy(self, state: np.ndarray) -> np.ndarray:
        """½∫(u_t² + u_x²)dx of states (…, channel, x), by Parseval's theorem."""
        u, v = np.moveaxis(np.abs(self._modes(state)) ** 2, -2, 0)
        density = v + self._wavenumbers() ** 2 * u
        if self.walls == "periodic":
            weight = np.full(density.shape[-1], 2.0)
            weight[0] = 1.0
            weight[-1] = 1.0 if self.points % 2 == 0 else 2.0
            density = density * weight / self.points
        return 0.5 * self.spacing[0] * density.sum(-1)

    def _modes(self, state: np.ndarray) -> np.ndarray:
        return fft.rfft(state) if self.walls == "periodic" else fft.dct(state, norm="ortho")

    def _wavenumbers(self) -> np.ndarray:
        if self.walls == "periodic":
            return 2 * np.pi / LENGTH * np.arange(self.points // 2 + 1)
        return np.pi / LENGTH * np.arange(self.points)
