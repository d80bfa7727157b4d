"""A coupling whose averages are known: b = y - x, σ constant."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr

from pyro_msm.nn.coupling import Coupling

SIGMA = 0.5


def linear() -> Coupling:
    """b̄ = E Y - x, Σ̄ = ¼."""
    return Coupling(
        drift=lambda x, y: y - x,
        diffusion=lambda x, y: (SIGMA + 0 * (x + y))[..., None],
        slow=1,
        fast=1,
        noise=1,
    )


def bare() -> Coupling:
    """The same drift, and no σ."""
    return Coupling(drift=lambda x, y: y - x, diffusion=None, slow=1, fast=1, noise=None)


def rotating() -> Coupling:
    """Two slow components, three fast ones, noise that depends on both."""

    def drift(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return -x + y[..., :2] * (1 + y[..., 2:])

    def diffusion(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        scale = 1 + 0.1 * y[..., :2] + 0 * x
        return torch.diag_embed(scale)

    return Coupling(drift, diffusion, slow=2, fast=3, noise=2)


def path(trajectories: int = 4, frames: int = 501, step: float = 0.02, mean: float = 0.3,
         seed: int = 0) -> xr.Dataset:  # fmt: skip
    """Paths of dX = (mean - X) dt + dW/2 by Euler–Maruyama, the last two held out."""
    generator = np.random.default_rng(seed)
    x = np.zeros((trajectories, frames, 1))
    x[:, 0] = mean + 0.35 * generator.standard_normal((trajectories, 1))
    for k in range(frames - 1):
        noise = np.sqrt(step) * SIGMA * generator.standard_normal((trajectories, 1))
        x[:, k + 1] = x[:, k] + step * (mean - x[:, k]) + noise
    split = np.array(["train"] * (trajectories - 2) + ["validation", "test"])
    return xr.Dataset(
        {"path": (("trajectory", "time", "component"), x)},
        {"time": step * np.arange(frames), "split": ("trajectory", split)},
    )
