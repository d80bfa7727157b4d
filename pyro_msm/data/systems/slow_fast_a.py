"""Slow–fast system A: a tagged particle in a solvent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy.linalg import expm

from pyro_msm.data.systems.slow_fast import SlowFast

if TYPE_CHECKING:
    from torch import Tensor

    from pyro_msm.nn.coupling import Coupling

SOLVENT = 10
STRENGTH = 3.0
RANGE = 0.5
SIGMA = 0.5
BETA = 4.0

#: P = 1 + the Laplacian of a chain with free ends.
PRECISION = (
    np.diag(np.r_[2.0, np.full(SOLVENT - 2, 3.0), 2.0])
    - np.eye(SOLVENT, k=1)
    - np.eye(SOLVENT, k=-1)
)
COVARIANCE = np.linalg.inv(PRECISION) / BETA


@dataclass(frozen=True)
class SlowFastA(SlowFast):
    """A particle drawn to the origin and pushed off by ten fast particles on a chain.

    b = -x + (c/N) Σⱼ rⱼ exp(-rⱼ²/2ℓ²), rⱼ = x - yⱼ, with N = 10, c = 3, ℓ = ½; σ = ½. The solvent
    is dY = -ε⁻¹ P Y dt + (2/εβ)^{1/2} dV, P = 1 + chain Laplacian, β = 4, so that π = N(0, P⁻¹/β)
    whatever x is: the setting of the experiments of Saha and Ganguly (2026), a Gibbs law in a
    quadratic potential. Averaging a Gaussian over a Gaussian, with vⱼ = (P⁻¹)ⱼⱼ/β,

        b̄ = -x + (c/N) Σⱼ ℓ³ x (ℓ² + vⱼ)^{-3/2} exp(-x² / 2(ℓ² + vⱼ)).
    """

    name: ClassVar[str] = "slow-fast-a"
    title: ClassVar[str] = "tagged particle in a solvent that does not feel it"
    equation: ClassVar[str] = "dX = (-X + 3/N Σ r_j exp(-2 r_j²)) dt + dW/2, r = X - Y"
    channels: ClassVar[tuple[str, ...]] = ("x",)
    fast: ClassVar[int] = SOLVENT
    noise: ClassVar[int] = 1 + SOLVENT

    def coupling(self) -> Coupling:
        """See ``SlowFast``."""
        from pyro_msm.nn.coupling import Coupling

        return Coupling(_drift, _diffusion, slow=1, fast=SOLVENT, noise=1)

    def averaged_drift(self, x: np.ndarray) -> np.ndarray:
        """See ``SlowFast``."""
        x = np.asarray(x, float)
        width = RANGE**2 + np.diag(COVARIANCE)
        push = RANGE**3 * width**-1.5 * np.exp(-0.5 * x**2 / width)
        return x * (STRENGTH * push.mean(-1, keepdims=True) - 1)

    def averaged_diffusion(self, x: np.ndarray) -> np.ndarray:
        """See ``SlowFast``."""
        return np.full((len(x), 1, 1), SIGMA**2)

    def fast_draws(self, x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """See ``SlowFast``."""
        root = np.linalg.cholesky(COVARIANCE)
        return generator.standard_normal((len(x), SOLVENT)) @ root.T

    def _advance(self, x: np.ndarray, y: np.ndarray, dt: float, noise: np.ndarray) -> None:
        decay = expm(-PRECISION * dt / self.epsilon)
        kick = np.linalg.cholesky(COVARIANCE - decay @ COVARIANCE @ decay.T)
        noise[:, :1] *= SIGMA * np.sqrt(dt)
        noise[:, 1:] = kick @ noise[:, 1:]
        r, push, force = np.empty_like(y), np.empty_like(y), np.empty_like(x[0])
        for each in noise:
            np.subtract(x, y, out=r)
            np.multiply(r, r, out=push)
            push *= -0.5 / RANGE**2
            np.exp(push, out=push)
            push *= r
            np.add.reduce(push, axis=0, out=force)
            force *= dt * STRENGTH / SOLVENT
            x *= 1 - dt
            x += force
            x += each[:1]
            np.matmul(decay, y, out=r)
            np.add(r, each[1:], out=y)


def _drift(x: Tensor, y: Tensor) -> Tensor:
    r = x - y
    push = r * (-0.5 / RANGE**2 * r**2).exp()
    return -x + STRENGTH * push.mean(-1, keepdim=True)


def _diffusion(x: Tensor, y: Tensor) -> Tensor:
    return (SIGMA + 0 * (x + y[..., :1]))[..., None]
