"""Encoder and decoder of the microscale state, on a learned linear basis of the residual."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pyro_msm.nn.mlp import mlp


class ResidualMap(nn.Module):
    """A linear map plus a perceptron: starts as the linear map.

    Args:
        linear: (outputs, inputs) initial matrix.
        hidden: width of the two hidden layers.
    """

    def __init__(self, linear: Tensor, hidden: int) -> None:
        super().__init__()
        outputs, inputs = linear.shape
        self.linear = nn.Parameter(linear.clone())
        self.network = mlp(inputs, outputs, hidden, scale=0.1)

    def forward(self, value: Tensor) -> Tensor:
        """(…, inputs) → (…, outputs)."""
        result: Tensor = value @ self.linear.T + self.network(value)
        return result


class MicroDecoder(nn.Module):
    """D_η: microscale state → field, through the coefficients of a basis.

    Args:
        basis: (rank, values) orthonormal modes of the residual, scaled to the size of their
            coefficients: a coefficient vector of unit variance gives a field of the data's size.
        micro: n_η, size of the microscale state.
        hidden: width of the perceptron.
        channels: channels of the field.
    """

    def __init__(self, basis: Tensor, micro: int, hidden: int, channels: int = 1) -> None:
        super().__init__()
        self.channels = channels
        self.basis = nn.Parameter(basis.clone())
        self.offset = nn.Parameter(torch.zeros(basis.shape[1]))
        self.coefficients = ResidualMap(torch.eye(len(basis), micro), hidden)

    def forward(self, micro: Tensor, points: Tensor | None = None) -> Tensor:
        """(…, n_η) → (…, values) with the grid flattened, or the values at some of its points."""
        basis, offset = self.basis, self.offset
        if points is not None:
            basis = basis.unflatten(1, (self.channels, -1))[..., points].flatten(1)
            offset = offset.unflatten(0, (self.channels, -1))[..., points].flatten()
        rank, values = basis.shape
        field = torch.addmm(offset, self.coefficients(micro).reshape(-1, rank), basis)
        return field.reshape(*micro.shape[:-1], values)
