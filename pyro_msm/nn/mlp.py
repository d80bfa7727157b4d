"""Multilayer perceptrons."""

from __future__ import annotations

from torch import nn


def mlp(
    inputs: int, outputs: int, hidden: int, layers: int = 2, scale: float = 1.0
) -> nn.Sequential:
    """A SiLU perceptron with ``layers`` hidden layers of ``hidden`` units.

    Args:
        inputs: width of the input.
        outputs: width of the output.
        hidden: width of the hidden layers.
        layers: number of hidden layers, at least 1.
        scale: factor on the initial weights of the last layer; a small one starts near 0.
    """
    parts: list[nn.Module] = []
    width = inputs
    for _ in range(layers):
        parts += [nn.Linear(width, hidden), nn.SiLU()]
        width = hidden
    last = nn.Linear(width, outputs)
    last.weight.data.mul_(scale)
    last.bias.data.zero_()
    return nn.Sequential(*parts, last)
