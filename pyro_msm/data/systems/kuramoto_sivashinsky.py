"""The Kuramoto–Sivashinsky equation, spatiotemporal chaos."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from scipy import fft

from pyro_msm.data.systems import etdrk4
from pyro_msm.data.systems.base import Generators, System
from pyro_msm.data.systems.options import option

NOISE = 0.005
TRANSIENT = 100.0


@dataclass(frozen=True)
class KuramotoSivashinsky(System):
    """u_t = -u u_x - u_xx - u_xxxx, periodic, of length 22: chaotic.

    Initial condition: white noise, uniform in ±0.005 with zero mean (which is conserved), grown for
    100 time units; the attractor is reached by half of that. Its standard deviation is 1.18, its
    largest Lyapunov exponent 0.046–0.048, so errors grow e-fold in about 21 time units (Vlachas et
    al., Nat. Mach. Intell. 4, 2022: 0.048). There is one attractor: ``extrapolation`` holds more
    records on it.

    As published: 64 points, 5000 snapshots 0.25 apart for training and as many for validation, 1e5
    for the test, here 20 records. Scheme: pseudo-spectral without dealiasing, the Nyquist wave
    zero, ETDRK4 in steps of ``time_step`` = 0.025. Steps of 0.25 err by 2e-4 of the range after 20
    time units, at a tenth of the cost: compare speeds with those.
    """

    name: ClassVar[str] = "kuramoto-sivashinsky"
    title: ClassVar[str] = "Kuramoto–Sivashinsky equation, chaotic waves"
    equation: ClassVar[str] = "u_t = -u u_x - u_xx - u_xxxx, periodic, length 22"
    boundary: ClassVar[tuple[str, ...]] = ("periodic",)
    domain: ClassVar[tuple[float, ...]] = (22.0,)
    initial_names: ClassVar[tuple[str, ...]] = ("noise seed",)
    lyapunov_time: ClassVar[float | None] = 1 / 0.048

    points: int = option(64, "grid points", minimum=8)
    frames: int = option(5000, "snapshots, the first at time 0", minimum=2)
    end_time: float = option(1249.75, "time of the last snapshot", minimum=1e-9)
    time_step: float = option(0.025, "longest step of the solver", minimum=1e-6)

    @property
    def trajectories(self) -> dict[str, int]:
        """As many snapshots as published."""
        return {"train": 1, "validation": 1, "test": 20}

    @property
    def noise_std(self) -> float:
        """As published, none."""
        return 0.0

    @property
    def terms(self) -> dict[str, float]:
        """Long waves grow: the diffusion is negative."""
        return {"self_advection": 1.0, "diffusion": -1.0, "hyperviscosity": 1.0}

    def initial_parameters(
        self, generator: np.random.Generator, count: int, extrapolation: bool = False
    ) -> np.ndarray:
        """A number from which the noise is drawn."""
        return generator.integers(2**32, size=(count, 1)).astype(np.float64)

    def initial_state(self, parameters: np.ndarray) -> np.ndarray:
        """The noise, grown onto the attractor."""
        seeds = np.asarray(parameters)[:, 0].astype(int)
        noise = [np.random.default_rng(s).uniform(-NOISE, NOISE, self.points) for s in seeds]
        centred = np.array(noise) - np.mean(noise, axis=1, keepdims=True)
        return self.step(centred[:, None], -TRANSIENT, TRANSIENT)

    def step(
        self, state: np.ndarray, t: float, duration: float, generator: Generators | None = None
    ) -> np.ndarray:
        """ETDRK4 in equal steps of at most ``time_step``."""
        count = max(1, int(np.ceil(duration / self.time_step - 1e-6)))
        factors = _factors(self.points, self.domain[0], round(duration / count, 15))
        half = -0.5j * _wavenumbers(self.points, self.domain[0])
        v = fft.rfft(state)
        if self.points % 2 == 0:
            v[..., -1] = half[-1] = 0

        def nonlinear(v: np.ndarray) -> np.ndarray:
            u = fft.irfft(v, self.points)
            u *= u
            return half * fft.rfft(u)

        for _ in range(count):
            v = etdrk4.step(v, nonlinear, factors)
        return fft.irfft(v, self.points)


@lru_cache(maxsize=16)
def _wavenumbers(points: int, length: float) -> np.ndarray:
    return 2 * np.pi / length * np.arange(points // 2 + 1)


@lru_cache(maxsize=16)
def _factors(points: int, length: float, step: float) -> etdrk4.Coefficients:
    k = _wavenumbers(points, length)
    return etdrk4.coefficients(k**2 - k**4, step)
