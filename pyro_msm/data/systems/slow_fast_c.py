"""Slow–fast system C: a bimodal fast law that x tilts, and multiplicative noise."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, sqrt
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy.special import expit

from pyro_msm.data.systems.slow_fast import SlowFast

if TYPE_CHECKING:
    from torch import Tensor

    from pyro_msm.nn.coupling import Coupling

MODE = 1.0
WIDTH = 0.5
TILT = 4.0
CUBIC = 0.4
SIGMA = 0.5
SLOPE = 0.3


@dataclass(frozen=True)
class SlowFastC(SlowFast):
    """A fast process between two modes, the likelier of which x decides.

    b = -x + c y³, σ = σ₀ (1 + η y); B = (μ tanh(ax/2 + μy/τ²) - y) / τ², α = √2, so that
    π_x = w N(μ, τ²) + (1 - w) N(-μ, τ²) with w = logistic(ax); μ = 1, τ = ½, a = 4, c = 0.4,
    σ₀ = ½, η = 0.3. Then

        b̄ = -x + c (μ³ + 3μτ²) tanh(ax/2),
        Σ̄ = σ₀² (1 + 2ημ tanh(ax/2) + η² (μ² + τ²)).

    The fast process is slow to change modes, which is why a time ε takes four times as many steps
    as in the other systems, and why averaging holds from smaller ε on.
    """

    name: ClassVar[str] = "slow-fast-c"
    title: ClassVar[str] = "bimodal fast law tilted by the slow variable, multiplicative noise"
    equation: ClassVar[str] = "dX = (-X + 0.4 Y³) dt + (1 + 0.3 Y) dW/2, Y near ±1"
    channels: ClassVar[tuple[str, ...]] = ("x",)
    fast: ClassVar[int] = 1
    noise: ClassVar[int] = 2
    steps_per_epsilon: ClassVar[int] = 200

    def coupling(self) -> Coupling:
        """See ``SlowFast``."""
        from pyro_msm.nn.coupling import Coupling

        return Coupling(_drift, _diffusion, slow=1, fast=1, noise=1)

    def averaged_drift(self, x: np.ndarray) -> np.ndarray:
        """See ``SlowFast``."""
        x = np.asarray(x, float)
        return -x + CUBIC * (MODE**3 + 3 * MODE * WIDTH**2) * np.tanh(TILT * x / 2)

    def averaged_diffusion(self, x: np.ndarray) -> np.ndarray:
        """See ``SlowFast``."""
        x = np.asarray(x, float)
        mean = MODE * np.tanh(TILT * x / 2)
        factor = 1 + 2 * SLOPE * mean + SLOPE**2 * (MODE**2 + WIDTH**2)
        return SIGMA**2 * factor[..., None]

    def fast_draws(self, x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """See ``SlowFast``."""
        upper = generator.uniform(size=(len(x), 1)) < expit(TILT * np.asarray(x, float))
        return np.where(upper, MODE, -MODE) + WIDTH * generator.standard_normal((len(x), 1))

    def _advance(self, x: np.ndarray, y: np.ndarray, dt: float, noise: np.ndarray) -> None:
        decay = exp(-dt / (WIDTH**2 * self.epsilon))
        noise[:, 0] *= SIGMA * sqrt(dt)
        noise[:, 1] *= WIDTH * sqrt(1 - decay**2)
        x, y = x[0], y[0]
        centre, change = np.empty_like(x), np.empty_like(x)
        for kick, fast_kick in noise:
            np.multiply(y, MODE / WIDTH**2, out=centre)
            np.multiply(x, TILT / 2, out=change)
            centre += change
            np.tanh(centre, out=centre)
            centre *= MODE * (1 - decay)
            x *= 1 - dt
            np.multiply(y, SLOPE, out=change)
            change += 1
            change *= kick
            x += change
            np.multiply(y, y, out=change)
            change *= y
            change *= CUBIC * dt
            x += change
            y *= decay
            y += centre
            y += fast_kick


def _drift(x: Tensor, y: Tensor) -> Tensor:
    return -x + CUBIC * y**3


def _diffusion(x: Tensor, y: Tensor) -> Tensor:
    return (SIGMA * (1 + SLOPE * y) + 0 * x)[..., None]
