"""A stochastic differential equation as the propagator of latent states."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pyro_msm.nn.dispersion import HIDDEN, LARGEST
from pyro_msm.nn.drift import MicroDrift
from pyro_msm.nn.latent_dynamics import LatentDynamics, Step
from pyro_msm.nn.mlp import mlp


class LatentSDE(LatentDynamics):
    r"""Latents that follow dz = g(z, f) dt + diag(s(z, f)) dβ, time in snapshots.

    The drift is that of the multiscale model's microscale state, with the latents in its place and
    no macroscale state beside them. A step is a Lie–Trotter splitting: the flow of the drift over
    the interval, by Runge–Kutta steps of fourth order, then the noise of the interval,

    .. math::
        z_{n+1} \sim N\bigl(\Phi_1(z_n), \mathrm{diag}\, s(z_n, f_n)^2\bigr),

    so that transitions have a density, of weak order one in the interval (Pilipovic, Samson and
    Ditlevsen, *Annals of Statistics* 2024, for splitting likelihoods). Nothing is remembered.

    Args:
        latent: size of the latents.
        inputs: numbers of known inputs, held over a step.
        hidden: width of the drift's perceptron.
        layers: its hidden layers.
        substeps: Runge–Kutta steps between two snapshots.

    Example:
        >>> sde = LatentSDE(3, substeps=2)
        >>> law, _ = sde(torch.zeros(5, 7, 3), torch.zeros(5, 7, 0), sde.start(5))
        >>> law.expected().shape
        torch.Size([5, 7, 3])
    """

    def __init__(
        self, latent: int, inputs: int = 0, *, hidden: int = 64, layers: int = 2, substeps: int = 1
    ) -> None:
        super().__init__(latent, inputs)
        self.components, self.state_size, self.polynomial = 1, 0, None
        self.substeps = substeps
        self.drift = MicroDrift(latent, 0, inputs, 0, hidden, layers, scale=0.1)
        self.log_std = nn.Parameter(torch.full((latent,), -2.0))
        self.gain = mlp(latent + inputs, latent, HIDDEN, 1, scale=0.0)

    @property
    def typical_log_std(self) -> Tensor:
        """(latent,) that of a step, in units of ``rate``, where the gain is 1."""
        return self.log_std

    def forward(self, latents: Tensor, inputs: Tensor, state: Tensor) -> tuple[Step, Tensor]:
        """As in the base; ``state`` is empty and returned."""
        scaled, known = self.scaled(latents, inputs)
        gain = math.log(LARGEST) * self.gain(torch.cat([scaled, known], -1)).tanh()
        log_std = self.log_std + gain + self.rate.log()
        mean = latents
        for _ in range(self.substeps):
            mean = self._runge_kutta(mean, inputs)
        logits = mean.new_zeros(*mean.shape[:-1], 1)
        return Step(logits, mean.unsqueeze(-2), log_std.unsqueeze(-2)), state

    def _runge_kutta(self, latents: Tensor, inputs: Tensor) -> Tensor:
        duration = 1 / self.substeps
        first = self._velocity(latents, inputs)
        second = self._velocity(latents + duration / 2 * first, inputs)
        third = self._velocity(latents + duration / 2 * second, inputs)
        fourth = self._velocity(latents + duration * third, inputs)
        return latents + duration / 6 * (first + 2 * (second + third) + fourth)

    def _velocity(self, latents: Tensor, inputs: Tensor) -> Tensor:
        """g(z, f)."""
        scaled, known = self.scaled(latents, inputs)
        return self.rate * self.drift(scaled, scaled[..., :0], known)
