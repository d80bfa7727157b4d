"""Slow–fast system B: a double well whose width breathes."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, sqrt
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pyro_msm.data.systems.slow_fast import SlowFast

if TYPE_CHECKING:
    from torch import Tensor

    from pyro_msm.nn.coupling import Coupling

GAMMA = 1.0
KAPPA = 0.5
SPREAD = 0.5
SIGMA = 0.5


@dataclass(frozen=True)
class SlowFastB(SlowFast):
    """A double well and an Ornstein–Uhlenbeck process that follows it, coupled by its square.

    b = x - x³ - γ x y², σ = ½; B = -(y - κx), α = √2 s, so that π_x = N(κx, s²), with γ = 1,
    κ = s = ½. Then

        b̄ = (1 - γs²) x - (1 + γκ²) x³ = ¾ x - 1¼ x³.
    """

    name: ClassVar[str] = "slow-fast-b"
    title: ClassVar[str] = "double well, fast process that follows it"
    equation: ClassVar[str] = "dX = (X - X³ - X Y²) dt + dW/2, Y near X/2"
    channels: ClassVar[tuple[str, ...]] = ("x",)
    fast: ClassVar[int] = 1
    noise: ClassVar[int] = 2

    def coupling(self) -> Coupling:
        """See ``SlowFast``."""
        from pyro_msm.nn.coupling import Coupling

        return Coupling(_drift, _diffusion, slow=1, fast=1, noise=1)

    def averaged_drift(self, x: np.ndarray) -> np.ndarray:
        """See ``SlowFast``."""
        x = np.asarray(x, float)
        return (1 - GAMMA * SPREAD**2) * x - (1 + GAMMA * KAPPA**2) * x**3

    def averaged_diffusion(self, x: np.ndarray) -> np.ndarray:
        """See ``SlowFast``."""
        return np.full((len(x), 1, 1), SIGMA**2)

    def fast_draws(self, x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """See ``SlowFast``."""
        return KAPPA * np.asarray(x, float) + SPREAD * generator.standard_normal((len(x), 1))

    def _advance(self, x: np.ndarray, y: np.ndarray, dt: float, noise: np.ndarray) -> None:
        decay = exp(-dt / self.epsilon)
        noise[:, 0] *= SIGMA * sqrt(dt)
        noise[:, 1] *= SPREAD * sqrt(1 - decay**2)
        x, y = x[0], y[0]
        growth, square = np.empty_like(x), np.empty_like(x)
        for kick, fast_kick in noise:
            np.multiply(x, x, out=growth)
            np.multiply(y, y, out=square)
            square *= GAMMA
            growth += square
            growth *= -dt
            growth += 1 + dt
            y *= decay
            np.multiply(x, KAPPA * (1 - decay), out=square)
            y += square
            y += fast_kick
            x *= growth
            x += kick


def _drift(x: Tensor, y: Tensor) -> Tensor:
    return x - x**3 - GAMMA * x * y**2


def _diffusion(x: Tensor, y: Tensor) -> Tensor:
    return (SIGMA + 0 * (x + y))[..., None]
