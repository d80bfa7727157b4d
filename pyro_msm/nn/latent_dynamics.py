"""What every propagator of latent states has in common."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from pyro_msm.nn.polynomial import Polynomial


class Step(NamedTuple):
    """A propagator's law of the next latents: a mixture of diagonal normals.

    With one component it is a normal law around a prediction.

    Attributes:
        logits: (…, K) unnormalised log weights.
        mean: (…, K, latent).
        log_std: broadcasts to (…, K, latent).
    """

    logits: Tensor
    mean: Tensor
    log_std: Tensor

    def expected(self) -> Tensor:
        """(…, latent) mean of the law."""
        return (self.logits.softmax(-1).unsqueeze(-1) * self.mean).sum(-2)

    def draw(self, normal: Tensor, factor: float = 1.0) -> Tensor:
        """A draw (…, latent) made of standard normal numbers (…, 1 + latent).

        The first of them chooses the component. ``factor`` widens the law about its mean.
        """
        uniform = torch.special.ndtr(normal[..., :1])
        levels = self.logits.softmax(-1).cumsum(-1)[..., :-1]
        place = (uniform >= levels).sum(-1)[..., None, None]
        place = place.expand(*place.shape[:-1], self.mean.shape[-1])
        mean = self.mean.gather(-2, place).squeeze(-2)
        std = self.log_std.exp().expand(self.mean.shape).gather(-2, place).squeeze(-2)
        drawn = mean + std * normal[..., 1:]
        if factor == 1.0:
            return drawn
        centre = self.expected()
        return centre + factor * (drawn - centre)


class LatentDynamics(nn.Module):
    """One step in time of a latent state: the base of the propagators.

    Args:
        latent: size of the latents.
        inputs: numbers of known inputs a step.

    The buffers ``centre``, ``spread`` and ``rate`` hold mean and standard deviation of the latents
    and the standard deviation of their increments; ``inputs_centre`` and ``inputs_spread`` are
    those of the known inputs.

    Attributes:
        components: of the law of a step.
        state_size: size of the hidden state; 0 without a memory.
        polynomial: that of the latents to whose increments a network adds.
    """

    components: int
    state_size: int
    polynomial: Polynomial | None
    centre: Tensor
    spread: Tensor
    rate: Tensor
    inputs_centre: Tensor
    inputs_spread: Tensor

    def __init__(self, latent: int, inputs: int) -> None:
        super().__init__()
        self.latent = latent
        self.register_buffer("centre", torch.zeros(latent))
        self.register_buffer("spread", torch.ones(latent))
        self.register_buffer("rate", torch.ones(latent))
        self.register_buffer("inputs_centre", torch.zeros(inputs))
        self.register_buffer("inputs_spread", torch.ones(inputs))

    @property
    def typical_log_std(self) -> Tensor:
        """(latent,) that of a step, in units of ``rate``."""
        raise NotImplementedError

    def forward(self, latents: Tensor, inputs: Tensor, state: Tensor) -> tuple[Step, Tensor]:
        """Laws of the latents one step after each of those given.

        Args:
            latents: (batch, N, latent), one after the other in time.
            inputs: (batch, N, inputs) known inputs of each step.
            state: (batch, state_size) hidden state before the first of them.

        Returns:
            Laws (batch, N, …), and the hidden state after the last step.
        """
        raise NotImplementedError

    def scaled(self, latents: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Latents and known inputs in standard units."""
        inputs = (inputs - self.inputs_centre) / self.inputs_spread
        return (latents - self.centre) / self.spread, inputs

    def start(self, batch: int) -> Tensor:
        """The hidden state before anything has been seen, (batch, state_size)."""
        return self.centre.new_zeros(batch, self.state_size)

    def free(self, latent: Tensor, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Expected latents of steps that each start from the one before.

        Args:
            latent: (batch, latent) at the start.
            inputs: (batch, N, inputs).
            state: (batch, state_size).

        Returns:
            (batch, N, latent), and the hidden state after the last step.
        """
        path = []
        for number in range(inputs.shape[1]):
            law, state = self(latent.unsqueeze(1), inputs[:, number : number + 1], state)
            latent = law.expected().squeeze(1)
            path.append(latent)
        return torch.stack(path, 1), state
