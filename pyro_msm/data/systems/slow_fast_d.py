"""Slow–fast system D: a noisy limit cycle in the plane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy.linalg import expm, solve_continuous_lyapunov

from pyro_msm.data.systems.slow_fast import SlowFast

if TYPE_CHECKING:
    from torch import Tensor

    from pyro_msm.nn.coupling import Coupling

#: Relaxation A and noise L of the fast part, and its pull C towards x.
RELAXATION = np.array([[1.0, 2.0, 0.0], [-2.0, 1.0, 0.5], [0.0, -0.5, 1.5]])
ROOT = np.array([[0.5, 0.0, 0.0], [0.2, 0.4, 0.0], [0.0, 0.1, 0.6]])
PULL = 0.7 * np.eye(3, 2)

#: A S + S Aᵀ = L Lᵀ.
COVARIANCE = solve_continuous_lyapunov(RELAXATION, ROOT @ ROOT.T)

#: R, G, σ₀ and U of the slow part.
ROTATION = np.array([[1.5, -1.0], [1.0, 1.5]])
FORCE = np.array([[0.0, 0.0, 1.0], [0.5, 0.0, 0.0]])
SIGMA = 0.2
MULTIPLIER = np.array([[0.3, 0.0, 0.2], [0.0, 0.3, 0.0]])


@dataclass(frozen=True)
class SlowFastD(SlowFast):
    """Two slow and three fast components without detailed balance, with multiplicative noise.

    b = R x + G y - |y|² x, σ = [σ₀ I | U y]; dY = -ε⁻¹ A (Y - Cx) dt + ε^{-1/2} L dV, so that
    π_x = N(Cx, S) with A S + S Aᵀ = L Lᵀ. Then

        b̄ = R x + G C x - (tr S + |Cx|²) x,   Σ̄ = σ₀² I + U (S + C x xᵀ Cᵀ) Uᵀ.
    """

    name: ClassVar[str] = "slow-fast-d"
    title: ClassVar[str] = "noisy limit cycle in the plane, three fast components"
    equation: ClassVar[str] = "dX = (R X + G Y - |Y|² X) dt + dW/5 + U Y dW', Y near 0.7 X"
    channels: ClassVar[tuple[str, ...]] = ("x1", "x2")
    fast: ClassVar[int] = 3
    noise: ClassVar[int] = 6

    @property
    def trajectories(self) -> dict[str, int]:
        """Time 200 to learn from: the drift is large beside the noise."""
        return {"train": 2, "validation": 2, "test": 5}

    def coupling(self) -> Coupling:
        """See ``SlowFast``."""
        from pyro_msm.nn.coupling import Coupling

        return Coupling(_drift, _diffusion, slow=2, fast=3, noise=3)

    def averaged_drift(self, x: np.ndarray) -> np.ndarray:
        """See ``SlowFast``."""
        x = np.asarray(x, float)
        centre = x @ PULL.T
        damping = np.trace(COVARIANCE) + (centre**2).sum(-1, keepdims=True)
        return x @ ROTATION.T + centre @ FORCE.T - damping * x

    def averaged_diffusion(self, x: np.ndarray) -> np.ndarray:
        """See ``SlowFast``."""
        centre = np.asarray(x, float) @ PULL.T
        square = COVARIANCE + centre[:, :, None] * centre[:, None, :]
        return SIGMA**2 * np.eye(2) + MULTIPLIER @ square @ MULTIPLIER.T

    def fast_draws(self, x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """See ``SlowFast``."""
        root = np.linalg.cholesky(COVARIANCE)
        return np.asarray(x, float) @ PULL.T + generator.standard_normal((len(x), 3)) @ root.T

    def _advance(self, x: np.ndarray, y: np.ndarray, dt: float, noise: np.ndarray) -> None:
        decay = expm(-RELAXATION * dt / self.epsilon)
        kick = np.linalg.cholesky(COVARIANCE - decay @ COVARIANCE @ decay.T)
        noise[:, :2] *= SIGMA * np.sqrt(dt)
        noise[:, 2] *= np.sqrt(dt)
        noise[:, 3:] = kick @ noise[:, 3:]
        # One product gives what is linear in (x, y): the new y, the linear part of the new x, U y.
        linear = np.block(
            [
                [np.eye(2) + dt * ROTATION, dt * FORCE],
                [(np.eye(3) - decay) @ PULL, decay],
                [np.zeros((2, 2)), MULTIPLIER],
            ]
        )
        state, after = np.concatenate([x, y]), np.empty((7, x.shape[1]))
        slow, fast = state[:2], state[2:]
        square, damping, change = np.empty_like(y), np.empty_like(x[0]), np.empty_like(x)
        for each in noise:
            np.matmul(linear, state, out=after)
            np.multiply(fast, fast, out=square)
            np.add.reduce(square, axis=0, out=damping)
            damping *= -dt
            np.multiply(slow, damping, out=change)
            change += after[:2]
            after[5:] *= each[2]
            change += after[5:]
            np.add(change, each[:2], out=slow)
            np.add(after[2:5], each[3:], out=fast)
        x[:], y[:] = slow, fast


def _drift(x: Tensor, y: Tensor) -> Tensor:
    linear = x @ x.new_tensor(ROTATION.T) + y @ y.new_tensor(FORCE.T)
    return linear - (y**2).sum(-1, keepdim=True) * x


def _diffusion(x: Tensor, y: Tensor) -> Tensor:
    import torch

    common = (*torch.broadcast_shapes(x.shape[:-1], y.shape[:-1]), 2)
    constant = (SIGMA * torch.eye(2, dtype=y.dtype, device=y.device)).expand(*common, 2)
    return torch.cat([constant, (y @ y.new_tensor(MULTIPLIER.T)).expand(common)[..., None]], -1)
