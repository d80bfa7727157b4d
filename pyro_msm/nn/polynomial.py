"""Polynomials of a few variables, fitted by regression."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

#: Samples whose monomials are in memory at once, and how far beyond its samples a polynomial goes.
BLOCK, MARGIN = 4096, 1.1


def monomial_count(variables: int, degree: int) -> int:
    """Monomials of at most a degree.

    >>> monomial_count(12, 3)
    455
    """
    return math.comb(variables + degree, degree)


class Polynomial(nn.Module):
    """A polynomial map, on the box of its samples; outside it is that of the nearest point within.

    Equations with products of their variables, on few modes, are of this kind, and so nearly is
    their flow over a short time: regression then finds what a perceptron takes long to learn
    (operator inference: B. Peherstorfer and K. Willcox, 2016).

    Args:
        inputs: variables.
        outputs: values.
        degree: of the polynomial, at least 1.

    The buffers ``weight`` (monomials, outputs) and ``reach`` (inputs) are zero until ``fit``, as is
    ``log_left`` (outputs) until ``measure``.
    """

    weight: Tensor
    reach: Tensor
    log_left: Tensor
    factors: Tensor

    def __init__(self, inputs: int, outputs: int, degree: int) -> None:
        super().__init__()
        # A monomial is a product of ``degree`` factors, of which the first variable is 1.
        chosen = itertools.combinations_with_replacement(range(inputs + 1), degree)
        self.register_buffer("factors", torch.tensor(list(chosen)), persistent=False)
        self.register_buffer("weight", torch.zeros(monomial_count(inputs, degree), outputs))
        self.register_buffer("reach", torch.zeros(inputs))
        self.register_buffer("log_left", torch.zeros(outputs))

    def monomials(self, values: Tensor) -> Tensor:
        """(…, inputs) to (…, monomials)."""
        variables = torch.cat([torch.ones_like(values[..., :1]), values], -1)
        found = variables[..., self.factors[:, 0]]
        for factor in self.factors.T[1:]:
            found = found * variables[..., factor]
        return found

    def forward(self, values: Tensor) -> Tensor:
        """(…, inputs) to (…, outputs)."""
        near = torch.minimum(torch.maximum(values, -self.reach), self.reach)
        found: Tensor = self.monomials(near) @ self.weight
        return found

    def moments(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Means over samples of products of the monomials, and of these with the targets.

        Args:
            inputs: (samples, inputs).
            targets: (samples, outputs).
        """
        size = len(self.weight)
        products = inputs.new_zeros(size, size, dtype=torch.float64)
        shown = inputs.new_zeros(size, targets.shape[-1], dtype=torch.float64)
        for some, wanted in zip(inputs.split(BLOCK), targets.split(BLOCK), strict=True):
            found = self.monomials(some.double())
            products += found.T @ found
            shown += found.T @ wanted.double()
        return products / len(inputs), shown / len(inputs)

    def fit(self, moments: tuple[Tensor, Tensor], ridge: float, reach: Tensor) -> None:
        """The best weights by the moments of samples, with the mean square weight penalised.

        Args:
            moments: of the samples.
            ridge: the penalty's factor, for samples with variances near 1.
            reach: (inputs,) largest values of the samples.
        """
        products, shown = moments
        regular = products + ridge * torch.eye(len(products)).to(products)
        self.weight.copy_(torch.linalg.solve(regular, shown))
        self.reach.copy_(MARGIN * reach)

    def measure(self, inputs: Tensor, targets: Tensor) -> None:
        """Logarithm of the root mean square of what the polynomial leaves of samples."""
        squares = torch.zeros_like(self.log_left)
        for some, wanted in zip(inputs.split(BLOCK), targets.split(BLOCK), strict=True):
            squares += (wanted - self(some)).square().sum(0)
        self.log_left.copy_((squares / len(inputs)).clamp_min(1e-16).log() / 2)
