"""Mixtures of multivariate normals on a box."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pyro.distributions import MixtureSameFamily, MultivariateNormal, TransformedDistribution
from torch import Tensor
from torch.distributions import Categorical, constraints
from torch.distributions.transforms import AffineTransform, SigmoidTransform
from torch.nn import functional


class BoundedMixture(TransformedDistribution):
    r"""A mixture of multivariate normals under a sigmoid and an affine map onto a box.

    .. math::
        v \sim \sum_k \pi_k N(\mu_k, L_k L_k^\top), \qquad
        x = a + (b - a) \odot \mathrm{sigmoid}(v)

    ``log_prob`` is the density of x itself, with the Jacobian of the map: it integrates to one over
    the box. It is LED's mixture density decoder (Vlachas et al. 2022), whose published loss is the
    density of v.

    Args:
        logits: (…, K) unnormalised log weights.
        location: (…, K, D) means of v.
        scale_tril: (…, K, D, D) Cholesky factors of its covariances.
        low, high: (D,) bounds a < b of the box.

    Values on the boundary count as a rounding error inside.

    Example:
        >>> law = BoundedMixture(
        ...     torch.zeros(2), torch.zeros(2, 1), torch.ones(2, 1, 1),
        ...     torch.zeros(1), torch.ones(1),
        ... )
        >>> round(float(law.log_prob(torch.tensor([0.5])).exp()), 4)  # 4 / √2π
        1.5958
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(
        self,
        logits: Tensor,
        location: Tensor,
        scale_tril: Tensor,
        low: Tensor,
        high: Tensor,
        validate_args: bool | None = None,
    ) -> None:
        self.low, self.high = low, high
        mixture = MixtureSameFamily(
            Categorical(logits=logits, validate_args=False),
            MultivariateNormal(location, scale_tril=scale_tril, validate_args=False),
            validate_args=False,
        )
        onto_box = [SigmoidTransform(), AffineTransform(low, high - low)]
        super().__init__(mixture, onto_box, validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        """The box."""
        return constraints.independent(constraints.interval(self.low, self.high), 1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of x, (…,) of (…, D)."""
        width, margin = self.high - self.low, torch.finfo(value.dtype).eps
        # In units of the box: beside a bound far from 0 the margin would be rounded away.
        v = ((value - self.low) / width).clamp(margin, 1 - margin).logit()
        slope = functional.logsigmoid(v) + functional.logsigmoid(-v) + width.log()
        log_prob: Tensor = self.base_dist.log_prob(v) - slope.sum(-1)
        return log_prob

    def expand(self, batch_shape: Any, _instance: Any = None) -> BoundedMixture:
        """The same law for every element of a larger batch."""
        new = self._get_checked_instance(BoundedMixture, _instance)
        new.low, new.high = self.low, self.high
        return super().expand(batch_shape, _instance=new)

    def transport(self, uniform: Tensor, normal: Tensor) -> Tensor:
        """Draws of given random numbers: a component by ``uniform``, a place in it by ``normal``.

        Args:
            uniform: (n, …) in [0, 1).
            normal: (n, …, D) standard normal.

        Returns:
            (n, …, D).
        """
        mixture = self.base_dist
        levels = mixture.mixture_distribution.probs.cumsum(-1)
        chosen = (uniform.unsqueeze(-1) >= levels[..., :-1]).sum(-1)
        parts = mixture.component_distribution
        place = chosen[..., None, None].expand(*chosen.shape, 1, normal.shape[-1])
        location = parts.loc.expand(*chosen.shape, *parts.loc.shape[-2:]).gather(-2, place)
        factor = parts.scale_tril.expand(*chosen.shape, *parts.scale_tril.shape[-3:])
        wanted = place.unsqueeze(-1).expand(*place.shape, normal.shape[-1])
        drawn = (factor.gather(-3, wanted) @ normal[..., None, :, None]).squeeze(-1)
        values = (location + drawn).squeeze(-2)
        for transform in self.transforms:
            values = transform(values)
        return values
