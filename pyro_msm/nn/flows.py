"""Normalizing flows from zuko: the invariant law of a fast variable, and points to average over."""

from __future__ import annotations

import math
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from pyro_msm.errors import InputError

#: Base points of a one-dimensional flow lie within so many standard deviations.
TAIL = 6.5


class SplineFlow(nn.Module):
    r"""The push-forward of a standard normal z by y = A(S(z; x); x).

    S is a monotone rational-quadratic spline of each component (Durkan et al., Neural Spline Flows,
    2019), whose knots a small network of x and of the components before it sets; A is affine in
    each component, with shift and logarithmic scale linear in x and in the components before. With
    one component both act element-wise; with more they are autoregressive, in the direction in
    which drawing takes one pass.

    Args:
        features: components of y.
        context: components of x on which the law depends; 0 is the unconditional flow.
        bins: of each spline, on [-5, 5].
        hidden: width of the network behind the spline.

    Example:
        >>> flow = SplineFlow(features=1, context=1)
        >>> flow.at(torch.zeros(5, 1)).log_prob(torch.zeros(5, 1)).shape
        torch.Size([5])
    """

    def __init__(self, features: int, context: int = 0, bins: int = 16, hidden: int = 16) -> None:
        super().__init__()
        zuko = installed_zuko()
        self.context = context
        layer = partial(zuko.flows.MaskedAutoregressiveTransform, features, context)
        affine = layer(
            univariate=zuko.transforms.MonotonicAffineTransform,
            shapes=[(), ()],
            hidden_features=(),
        )
        spline = layer(
            univariate=zuko.transforms.MonotonicRQSTransform,
            shapes=[(bins,), (bins,), (bins - 1,)],
            hidden_features=(hidden,),
            activation=nn.Tanh,
        )
        base = zuko.lazy.UnconditionalDistribution(
            zuko.distributions.DiagNormal, torch.zeros(features), torch.ones(features), buffer=True
        )
        inverse = zuko.lazy.LazyInverse
        self.flow = zuko.lazy.Flow([inverse(affine), inverse(spline)], base)

    def forward(self, z: Tensor, x: Tensor | None = None) -> Tensor:
        """y(z; x): z (…, features) and x (…, context), whose leading axes broadcast."""
        return self.flow.transform(x if self.context else None).inv(z)

    def at(self, x: Tensor | None = None) -> torch.distributions.Distribution:
        """The law of y at each x (…, context), with ``log_prob`` and ``rsample``."""
        return self.flow(x if self.context else None)


class InvariantLaw(nn.Module):
    r"""π_θ(· | x), a flow whose base has several states: y = A(S(m_k + s_k z; x); x), k ~ w(x).

    z is a standard normal, A and S are those of ``SplineFlow``, and the logarithms of the
    occupancies w are linear in x up to their sum. With one state m = 0 and s = 1.

    Args:
        fast: components of y.
        context: components of x on which the law depends; 0 is an unconditional law.
        states: number of states of the base.
        bins, hidden: see ``SplineFlow``.

    Example:
        >>> law = InvariantLaw(fast=1, context=1, states=2)
        >>> values, occupancy = law(torch.randn(8, 1), torch.zeros(5, 1))
        >>> values.shape, occupancy.shape
        (torch.Size([5, 8, 2, 1]), torch.Size([5, 2]))
    """

    def __init__(
        self, fast: int, context: int = 0, states: int = 1, bins: int = 16, hidden: int = 16
    ) -> None:
        super().__init__()
        self.fast, self.context, self.states = fast, context, states
        self.shape = SplineFlow(fast, context, bins, hidden)
        if states > 1:
            self.place = nn.Parameter(torch.zeros(states, fast))
            self.log_width = nn.Parameter(torch.zeros(states, fast))
            self.occupancy = nn.Parameter(torch.zeros(states - 1, 1 + context))

    def forward(self, z: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """The values that z takes in each state, and how often the law is in these.

        Args:
            z: (L, fast).
            x: (rows, context).

        Returns:
            (rows, L, states, fast) and (rows, states); one row if the law does not depend on x.
        """
        x = x if self.context else x.new_zeros(1, 0)
        values = z[:, None]
        if self.states > 1:
            values = self.place + self.log_width.exp() * values
        found = self.shape(values, x[:, None, None])
        return found.expand(len(x), *found.shape[-3:]), self._occupancies(x)

    def at(self, x: Tensor) -> torch.distributions.Distribution:
        """The law of y at each x (rows, context), with ``log_prob`` and ``sample``."""
        law: Any = self.shape.at(x)
        if self.states == 1:
            return law if self.context else law.expand((len(x),))
        x = x if self.context else x.new_zeros(len(x), 0)
        state = Independent(Normal(self.place, self.log_width.exp()), 1)
        states = state.expand((len(x), self.states))
        law.base = MixtureSameFamily(Categorical(self._occupancies(x)), states)
        return law

    def _occupancies(self, x: Tensor) -> Tensor:
        if self.states == 1:
            return x.new_ones(len(x), 1)
        ahead = self.occupancy[:, 0] + x @ self.occupancy[:, 1:].mT
        return torch.cat([ahead.new_zeros(len(x), 1), ahead], 1).softmax(1)


def installed_zuko() -> ModuleType:
    """The package zuko; ``InputError`` where it is not installed."""
    try:
        import zuko
    except ImportError as error:
        raise InputError(
            "normalizing flows need the package zuko: install it with pip install 'pyro-msm[flows]'"
        ) from error
    return zuko


def base_points(
    count: int, fast: int, generator: torch.Generator | None = None, sets: int = 2
) -> tuple[Tensor, Tensor]:
    r"""Points z and weights w with E Σ w g(z) = ∫ g dN(0, 1) for every g: few stand for many draws.

    One component: a grid over ±6.5 at a random shift, with the normal density as weight, which for
    smooth g is exact to many digits. More: a Sobol' sequence at a random shift (Cranley and
    Patterson, 1976) through the normal quantile function, with equal weights.

    Args:
        count: points of each set.
        fast: components of z.
        generator: of the shifts; None takes the middle ones, always the same.
        sets: independent sets.

    Returns:
        Points (sets, count, fast) and weights (sets, count), float64.

    Example:
        >>> z, w = base_points(64, 1)
        >>> [round(float(v), 6) for v in (w[:, :, None] * z**4).sum((1, 2))]
        [3.0, 3.0]
    """
    if generator is None:
        # The middle of the cells of the grid, and of Sobol's.
        middle = 0.5 if fast == 1 else 0.5 / count
        shift = torch.full((sets, 1, fast), middle, dtype=torch.float64)
    else:
        shift = torch.rand(sets, 1, fast, dtype=torch.float64, generator=generator)
    if fast == 1:
        spacing = 2 * TAIL / count
        z = -TAIL + spacing * (torch.arange(count, dtype=torch.float64)[:, None] + shift)
        weights = spacing / math.sqrt(2 * math.pi) * torch.exp(-0.5 * z[..., 0] ** 2)
        return z, weights
    sobol = torch.quasirandom.SobolEngine(fast).draw(count, dtype=torch.float64)
    shares = (sobol + shift) % 1
    tiny = torch.finfo(torch.float64).eps
    weights = torch.full((sets, count), 1 / count, dtype=torch.float64)
    return torch.special.ndtri(shares.clamp(tiny, 1 - tiny)), weights
