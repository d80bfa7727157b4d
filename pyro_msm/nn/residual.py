"""Residual perceptrons."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ResidualMLP(nn.Module):
    """A perceptron whose hidden layers of equal width are residual: h ← h + tanh(W h + b).

    Args:
        inputs: width of the input.
        outputs: width of the output.
        hidden: width of the hidden layers.
        layers: their number, at least 1.
        scale: factor on the initial weights of the last layer; 0 starts at 0.

    Example:
        >>> ResidualMLP(3, 2, hidden=8, layers=2)(torch.zeros(5, 3)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self, inputs: int, outputs: int, hidden: int, layers: int = 2, scale: float = 1.0
    ) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, hidden)
        self.middle = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(layers - 1))
        self.last = nn.Linear(hidden, outputs)
        self.last.weight.data.mul_(scale)
        self.last.bias.data.zero_()

    def forward(self, values: Tensor) -> Tensor:
        """(…, inputs) to (…, outputs)."""
        hidden = torch.tanh(self.first(values))
        for layer in self.middle:
            hidden = hidden + torch.tanh(layer(hidden))
        return self.last(hidden)
