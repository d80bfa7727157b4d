"""The multiscale likelihood: a macroscale expert times a microscale expert."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints


class ProductOfExperts(TorchDistribution):
    r"""Normalised product of two diagonal Gaussian experts over a field.

    .. math::
        p(y) = Z^{-1}\, N(y \mid D_\zeta, \Sigma_\zeta)\, N(y - D_\zeta \mid D_\eta, \Sigma_\eta)

    The macroscale expert says that the field is near the prolonged macroscale state, the microscale
    expert that what is left is near the decoded microscale state. With
    :math:`P = \Sigma_\zeta^{-1} + \Sigma_\eta^{-1}` the product is
    :math:`N(D_\zeta + w D_\eta, P^{-1})`, :math:`w = \Sigma_\zeta / (\Sigma_\zeta + \Sigma_\eta)`,
    exactly. The likelihood of Ailersic et al., *Learning Stochastic Multiscale Models* (2025).

    An infinite ``micro_var`` switches the microscale expert off (the macro-only model).

    Args:
        macro_mean: D_ζ, in units of the field. All four arguments broadcast to the batch shape.
        micro_mean: D_η, in units of the field.
        macro_var: the diagonal of Σ_ζ, in units of the field squared.
        micro_var: the diagonal of Σ_η, in units of the field squared.

    Missing observations: ``ProductOfExperts(...).mask(observed).to_event(n)``, with any finite
    number where nothing was observed.

    Example:
        >>> import torch
        >>> macro_var, micro_var = torch.tensor(3.0), torch.tensor(1.0)
        >>> field = ProductOfExperts(torch.zeros(3), torch.ones(3), macro_var, micro_var)
        >>> field.mean
        tensor([0.7500, 0.7500, 0.7500])
        >>> field.variance
        tensor([0.7500, 0.7500, 0.7500])
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "macro_mean": constraints.real,
        "micro_mean": constraints.real,
        "macro_var": constraints.positive,
        "micro_var": constraints.positive,
    }
    support = constraints.real
    has_rsample = True

    def __init__(
        self,
        macro_mean: Tensor,
        micro_mean: Tensor,
        macro_var: Tensor,
        micro_var: Tensor,
        validate_args: bool | None = None,
    ) -> None:
        self.macro_mean, self.micro_mean = macro_mean, micro_mean
        self.macro_var, self.micro_var = macro_var, micro_var
        batch_shape = torch.broadcast_shapes(
            macro_mean.shape, micro_mean.shape, macro_var.shape, micro_var.shape
        )
        # The experts' precisions stay in their own (small) shapes: no array of the field's size is
        # made for a variance that is one number.
        self._precision = 1 / macro_var + 1 / micro_var
        self._location = macro_mean + self.micro_weight * micro_mean
        super().__init__(batch_shape, validate_args=validate_args)

    @property
    def micro_weight(self) -> Tensor:
        """w = Σ_ζ / (Σ_ζ + Σ_η): the share of the microscale mean that reaches the field's mean."""
        # In this order an infinite variance has gradient 0, not NaN.
        return (1 / self.micro_var) / self._precision

    @property
    def mean(self) -> Tensor:
        """D_ζ + w D_η."""
        return self._location.expand(self.batch_shape)

    @property
    def mode(self) -> Tensor:
        """The mean."""
        return self.mean

    @property
    def variance(self) -> Tensor:
        """P⁻¹."""
        return (1 / self._precision).expand(self.batch_shape)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Reparametrised draws, (sample…, batch…)."""
        shape = self._extended_shape(torch.Size(sample_shape))
        noise = torch.randn(shape, dtype=self._location.dtype, device=self._location.device)
        return self._location + noise * self._precision.rsqrt()

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of each number of ``value``, exactly normalised."""
        if self._validate_args:
            self._validate_sample(value)
        constant = 0.5 * (self._precision.log() - math.log(2 * math.pi))
        density = constant - 0.5 * self._precision * (value - self._location).square()
        shape = torch.broadcast_shapes(value.shape, self.batch_shape)
        return density.expand(shape)

    def entropy(self) -> Tensor:
        """−E ln p of each number, in nats."""
        entropy = 0.5 * (1 + math.log(2 * math.pi) - self._precision.log())
        return entropy.expand(self.batch_shape)

    def expand(self, batch_shape: Any, _instance: Any = None) -> ProductOfExperts:
        """The same law for every element of a larger batch."""
        new = self._get_checked_instance(ProductOfExperts, _instance)
        batch_shape = torch.Size(batch_shape)
        for name in ("macro_mean", "micro_mean", "macro_var", "micro_var"):
            setattr(new, name, getattr(self, name).expand(batch_shape))
        new._precision, new._location = self._precision, self._location
        super(ProductOfExperts, new).__init__(batch_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new
