"""Recurrent propagators of latent states."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pyro_msm.nn.latent_dynamics import LatentDynamics, Step
from pyro_msm.nn.polynomial import Polynomial
from pyro_msm.nn.residual import ResidualMLP

#: Gated cells, and how many vectors of ``memory`` numbers each carries along.
CELLS: dict[str, tuple[type[nn.GRU | nn.LSTM], int]] = {"gru": (nn.GRU, 1), "lstm": (nn.LSTM, 2)}


class Propagator(LatentDynamics):
    """One step in time of a latent state, with or without a memory.

    A gated cell reads the latents z and the known inputs f and remembers; a residual perceptron
    reads z, the memory h and f and gives the increment of z. Without a cell ("none") it is a map
    of z alone.

    Args:
        latent: size of the latents.
        inputs: numbers of known inputs a step.
        cell: "gru", "lstm" or "none".
        memory: size of the cell's hidden state.
        hidden: width of the perceptron.
        layers: its hidden layers.
        components: of the law of a step; 1 is a normal law whose spread does not vary.
        polynomial: degree of a polynomial of z whose increment the perceptron corrects; 0: none.
    """

    def __init__(
        self,
        latent: int,
        inputs: int = 0,
        *,
        cell: str = "gru",
        memory: int = 50,
        hidden: int = 64,
        layers: int = 2,
        components: int = 1,
        polynomial: int = 0,
    ) -> None:
        super().__init__(latent, inputs)
        self.components = components
        self.memory = 0 if cell == "none" else memory
        self.cell: nn.GRU | nn.LSTM | None = None
        self.state_size = 0
        if self.memory:
            kind, vectors = CELLS[cell]
            self.cell = kind(latent + inputs, memory, batch_first=True)
            self.state_size = vectors * memory
        outputs = latent if components == 1 else components * (1 + 2 * latent)
        self.polynomial = Polynomial(latent, latent, polynomial) if polynomial else None
        # What a fitted polynomial leaves is learned from nothing.
        self.network = ResidualMLP(
            latent + inputs + self.memory, outputs, hidden, layers, scale=0.0 if polynomial else 0.1
        )
        self.log_std = nn.Parameter(torch.full((latent,), 0.0 if polynomial else -2.0))

    @property
    def typical_log_std(self) -> Tensor:
        """(latent,) that of a step, in units of ``rate``: a factor on what a polynomial leaves."""
        return self.log_std if self.polynomial is None else self.log_std + self.polynomial.log_left

    def forward(self, latents: Tensor, inputs: Tensor, state: Tensor) -> tuple[Step, Tensor]:
        """Laws of the latents one step after each of those given: see the base."""
        scaled, known = self.scaled(latents, inputs)
        seen = torch.cat([scaled, known], -1)
        if self.cell is not None:
            memory, state = self._remember(self.cell, seen, state)
            seen = torch.cat([seen, memory], -1)
        found = self.network(seen)
        if self.polynomial is not None:
            latents = latents + self.rate * self.polynomial(scaled)
        if self.components == 1:
            mean = (latents + self.rate * found).unsqueeze(-2)
            log_std = self.typical_log_std + self.rate.log()
            return Step(found.new_zeros(*found.shape[:-1], 1), mean, log_std), state
        found = found.unflatten(-1, (self.components, -1))
        logits, increment, log_std = found.split([1, self.latent, self.latent], -1)
        mean = latents.unsqueeze(-2) + self.rate * increment
        log_std = (log_std + self.typical_log_std).clamp(-12, 4) + self.rate.log()
        return Step(logits.squeeze(-1), mean, log_std), state

    def _remember(self, cell: Any, seen: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        parts = tuple(part.contiguous() for part in state.unsqueeze(0).split(self.memory, -1))
        if len(parts) == 1:
            memory, hidden = cell(seen, parts[0])
            return memory, hidden.squeeze(0)
        memory, hidden = cell(seen, parts)
        return memory, torch.cat(hidden, -1).squeeze(0)
