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
    """

    def __init__(self, basis: Tensor, micro: int, hidden: int) -> None:
        super().__init__()
        self.basis = nn.Parameter(basis.clone())
        self.offset = nn.Parameter(torch.zeros(basis.shape[1]))
        self.coefficients = ResidualMap(torch.eye(len(basis), micro), hidden)

    def forward(self, micro: Tensor) -> Tensor:
        """(…, n_η) → (…, values) with the grid flattened."""
        rank, values = self.basis.shape
        field = torch.addmm(self.offset, self.coefficients(micro).reshape(-1, rank), self.basis)
        return field.reshape(*micro.shape[:-1], values)
