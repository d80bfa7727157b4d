"""The variational posterior over latent paths: a Markov Gaussian process known by its marginals."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pyro_msm.distributions.windows_noise import windows_noise


class Marginals(NamedTuple):
    """N(mean, var) at some times, and how both move; each (batch…, times, state)."""

    mean: Tensor
    var: Tensor
    mean_rate: Tensor
    log_var_rate: Tensor


class Interpolation:
    r"""Squared-exponential kernel interpolation between nodes.

    A function with values v at the nodes is estimated by W v: the posterior mean of a Gaussian
    process with constant mean (the average of v), unit kernel
    :math:`\exp(-(t-t')^2 / 2\ell^2)` and noise variance ``nugget``. Rows of W sum to one, so
    constants are reproduced. Computed in float64: the kernel matrix of a long length scale is badly
    conditioned.

    Args:
        nodes: (N,) increasing times.
        length_scale: ℓ, in units of time.
        nugget: variance of the noise on the values, relative to the kernel's.

    Example:
        >>> import torch
        >>> nodes = torch.linspace(0, 1, 6)
        >>> weights, rates = Interpolation(nodes, torch.tensor(0.5), torch.tensor(1e-8))(
        ...     torch.tensor([0.3]))
        >>> (weights @ nodes).round(decimals=2), (rates @ nodes).round(decimals=2)
        (tensor([0.3000]), tensor([1.]))
    """

    def __init__(self, nodes: Tensor, length_scale: Tensor, nugget: Tensor) -> None:
        self.dtype = nodes.dtype
        self.nodes, self.length_scale = nodes.double(), length_scale.double()
        between = (self.nodes[:, None] - self.nodes) / self.length_scale
        noise = nugget.double() * torch.eye(len(nodes), dtype=torch.float64, device=nodes.device)
        gram = torch.exp(-0.5 * between.square()) + noise
        self.precision = torch.cholesky_inverse(torch.linalg.cholesky(gram))

    def __call__(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """W and dW/dt at ``times`` (Q,), each (Q, N), in the dtype of the nodes."""
        distance = (times.double()[:, None] - self.nodes) / self.length_scale
        kernel = torch.exp(-0.5 * distance.square())
        rows = torch.cat([kernel, -distance / self.length_scale * kernel])
        weights, rates = (rows @ self.precision).split(len(times))
        count = len(self.nodes)
        weights = weights + (1 - weights.sum(1, keepdim=True)) / count
        rates = rates - rates.sum(1, keepdim=True) / count
        return weights.to(self.dtype), rates.to(self.dtype)


class GaussianPath(TorchDistribution):
    r"""Gaussian process over a window, with marginals N(m(t), diag s(t)) interpolated from nodes.

    An encoder gives mean and log variance at the window's snapshots; kernel interpolation (one set
    of weights for all windows and components) gives m(t), log s(t) and their exact derivatives
    anywhere in the window. Behind the marginals stands the linear SDE

    .. math::
        dz = [\dot m - B (z - m)]\,dt + \ell\,d\beta, \qquad B = \tfrac12(\ell^2/s - d\ln s/dt),

    which has them for every dispersion ℓ; ℓ is the prior's (Course & Nair, *Amortized
    reparametrization*, NeurIPS 2023). ``kl_divergence`` with an ``SDEPath`` uses it.

    ``rsample`` and ``log_prob`` treat the snapshots as independent given their marginals: right
    where each snapshot enters the objective alone, so under ``TraceMeanField_ELBO`` and
    ``PathELBO``; *not* under plain ``Trace_ELBO``, which would take log_prob for the density of the
    path. ``rsample_joint`` draws connected paths.

    Args:
        times: (N,) times of the nodes from the start of the window, increasing.
        node_mean: (batch…, N, state).
        node_log_var: (batch…, N, state).
        length_scale: scalar, in units of time.
        nugget: scalar, the interpolation's relative noise variance: above 0 it smooths the
            encodings.

    Example:
        >>> import torch
        >>> times = torch.linspace(0, 1, 5)
        >>> path = GaussianPath(times, times[:, None], torch.zeros(5, 1), torch.tensor(0.5),
        ...                     torch.tensor(1e-8))
        >>> path.rsample((2,)).shape
        torch.Size([2, 5, 1])
        >>> path.marginals(torch.tensor([0.5])).mean_rate.round(decimals=1)
        tensor([[1.]])
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "node_mean": constraints.independent(constraints.real, 2),
        "node_log_var": constraints.independent(constraints.real, 2),
    }
    support = constraints.independent(constraints.real, 2)
    has_rsample = True

    def __init__(
        self,
        times: Tensor,
        node_mean: Tensor,
        node_log_var: Tensor,
        length_scale: Tensor,
        nugget: Tensor,
        validate_args: bool | None = None,
    ) -> None:
        self.times = times
        self.node_mean, self.node_log_var = torch.broadcast_tensors(node_mean, node_log_var)
        self.length_scale, self.nugget = length_scale, nugget
        shape = self.node_mean.shape
        super().__init__(shape[:-2], shape[-2:], validate_args=validate_args)

    def marginals(self, times: Tensor) -> Marginals:
        """Marginals at ``times`` (Q,), measured from the start of the window."""
        weights, rates = self._interpolation(times)
        both = torch.stack([weights, rates])[:, None]
        nodes = torch.stack([self.node_mean, self.node_log_var])
        lead = nodes.shape[1:-2]
        values = both @ nodes.reshape(1, -1, *self.event_shape)
        (mean, log_var), (mean_rate, log_var_rate) = values.reshape(
            2, 2, *lead, len(times), self.event_shape[-1]
        )
        return Marginals(mean, log_var.exp(), mean_rate, log_var_rate)

    @cached_property
    def _interpolation(self) -> Interpolation:
        return Interpolation(self.times, self.length_scale, self.nugget)

    @cached_property
    def _at_nodes(self) -> Marginals:
        return self.marginals(self.times)

    @property
    def mean(self) -> Tensor:
        """m at the nodes, (batch…, N, state)."""
        return self._at_nodes.mean

    @property
    def variance(self) -> Tensor:
        """s at the nodes, (batch…, N, state)."""
        return self._at_nodes.var

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Independent draws of the marginals at the nodes, (sample…, batch…, N, state)."""
        mean, var = self._at_nodes[:2]
        noise = windows_noise(self._extended_shape(torch.Size(sample_shape)), mean)
        return mean + var.sqrt() * noise

    def log_prob(self, value: Tensor) -> Tensor:
        """Sum of the marginal log densities at the nodes."""
        if self._validate_args:
            self._validate_sample(value)
        mean, var = self._at_nodes[:2]
        return torch.distributions.Normal(mean, var.sqrt()).log_prob(value).sum((-2, -1))

    def rsample_joint(
        self,
        dispersion: Tensor,
        sample_shape: Sequence[int] = (),
        substeps: int = 16,
    ) -> Tensor:
        r"""Connected paths at the nodes, drawn from the linear SDE behind the marginals.

        Between t₁ and t₂ its transition coefficient is
        :math:`\sqrt{s_2/s_1}\,\exp(-\tfrac12\int \ell^2/s\,dt)`.

        Args:
            dispersion: ℓ, (state,) or a scalar; constant over the window.
            sample_shape: leading shape of the sample.
            substeps: points of the trapezoidal rule for the integral, per interval.

        Returns:
            (sample…, batch…, N, state).
        """
        mean, var = self._at_nodes[:2]
        share = torch.linspace(0, 1, substeps + 1, dtype=mean.dtype, device=mean.device)
        fine = (self.times[:-1, None] + self.times.diff()[:, None] * share).flatten()
        rate = (dispersion.square() / self.marginals(fine).var).unflatten(-2, (-1, substeps + 1))
        spacing = (self.times.diff() / substeps)[:, None]
        integral = spacing * (rate.sum(-2) - 0.5 * (rate[..., 0, :] + rate[..., -1, :]))
        correlation = torch.exp(-0.5 * integral)
        noise = torch.randn(
            self._extended_shape(torch.Size(sample_shape)), dtype=mean.dtype, device=mean.device
        )
        # Standardised, the path is an autoregression with unit marginals.
        scores = [noise[..., 0, :]]
        for i in range(len(self.times) - 1):
            rho = correlation[..., i, :]
            scores.append(rho * scores[-1] + (1 - rho.square()).sqrt() * noise[..., i + 1, :])
        return mean + var.sqrt() * torch.stack(scores, -2)

    def expand(self, batch_shape: Any, _instance: Any = None) -> GaussianPath:
        """The same path for every element of a larger batch."""
        new = self._get_checked_instance(GaussianPath, _instance)
        shape = torch.Size(batch_shape) + self.event_shape
        new.times, new.length_scale, new.nugget = self.times, self.length_scale, self.nugget
        new.node_mean = self.node_mean.expand(shape)
        new.node_log_var = self.node_log_var.expand(shape)
        super(GaussianPath, new).__init__(shape[:-2], self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new
