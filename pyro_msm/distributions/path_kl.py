"""KL divergence from a Gaussian path to the law of an SDE, registered with torch.distributions."""

from __future__ import annotations

import torch
from pyro.distributions import Normal
from torch import Tensor
from torch.distributions import kl_divergence
from torch.distributions.kl import register_kl

from pyro_msm.distributions.gaussian_path import GaussianPath
from pyro_msm.distributions.sde_path import SDEPath
from pyro_msm.distributions.windows_noise import windows_noise


def stratified_times(first: Tensor, last: Tensor, strata: int) -> Tensor:
    """(strata,) times, one uniform in each of equal parts of [first, last]."""
    uniform = torch.rand(strata, dtype=first.dtype, device=first.device)
    parts = torch.arange(strata, dtype=first.dtype, device=first.device)
    return first + (last - first) * (parts + uniform) / strata


def drift_residual(posterior: GaussianPath, prior: SDEPath, times: Tensor) -> Tensor:
    r"""½‖r‖² in the metric of the dispersion, at one sample of the state for each time.

    .. math:: r(t) = B(t)(m - z) + \dot m - f(t, z), \qquad B = \tfrac12(\ell^2/s - d\ln s/dt)

    is the difference between the drift of the posterior's linear SDE and the prior's drift, so its
    expected squared norm is the integrand of Girsanov's formula.

    Args:
        posterior: batch shape (batch…).
        prior: the same batch shape.
        times: (Q,) from the start of the window.

    Returns:
        (batch…, Q).
    """
    mean, var, mean_rate, log_var_rate = posterior.marginals(times)
    noise = windows_noise(mean.shape, mean)
    absolute = prior.absolute(times)
    std = var.sqrt()
    state = mean + std * noise
    dispersion = prior.dispersion_at(absolute, state)
    pull = 0.5 * (dispersion.square() / var - log_var_rate)
    residual = mean_rate - pull * std * noise - prior.drift(absolute, state)
    return 0.5 * (residual / dispersion).square().sum(-1)


@register_kl(GaussianPath, SDEPath)
def kl_gaussian_path_sde_path(posterior: GaussianPath, prior: SDEPath) -> Tensor:
    r"""Unbiased estimate of KL(q ‖ p) over a window, (batch…).

    The integral of ``drift_residual`` over the window, by stratified random quadrature with one
    Monte-Carlo sample of the state a stratum, plus ``initial_weight`` · KL(q(z(t₀)) ‖ p(z₀)). For
    diagonal marginals this equals the loss of SDE Matching (Bartosh et al., 2025), also for a
    dispersion that depends on the state as ``SDEPath`` allows.
    """
    first, last = posterior.times[0], posterior.times[-1]
    times = stratified_times(first, last, prior.quadrature)
    integral = (last - first) * drift_residual(posterior, prior, times).mean(-1)
    at_start = Normal(
        posterior.mean[..., 0, :], posterior.variance[..., 0, :].sqrt(), validate_args=False
    ).to_event(1)
    return integral + prior.initial_weight * kl_divergence(at_start, prior.initial)
