"""The KL divergence of paths: Ornstein–Uhlenbeck closed form, unbiasedness, Girsanov's formula."""

import math

import numpy as np
import pytest
import torch
from pyro.distributions import Normal
from torch.distributions import kl_divergence

from pyro_msm.distributions import GaussianPath, SDEPath, drift_residual, stratified_times
from tests.statistical import assert_mean

# Prior dz = −θ z dt + ℓ dβ; posterior dz = −κ (z − μ) dt + ℓ dβ from N(m₀, s₀).
THETA, KAPPA, CENTRE, LENGTH = 2.0, 0.7, 0.5, 0.9
FIRST_MEAN, FIRST_VAR = 1.2, 0.1
REST_VAR = LENGTH**2 / (2 * KAPPA)


def doubled(values):
    return torch.as_tensor(values, dtype=torch.float64)


def posterior(nodes=17, batch=()):
    """The Gaussian path with the marginals of the posterior process, to 1e-6."""
    times = torch.linspace(0, 1, nodes, dtype=torch.float64)
    mean = CENTRE + (FIRST_MEAN - CENTRE) * torch.exp(-KAPPA * times)
    var = REST_VAR + (FIRST_VAR - REST_VAR) * torch.exp(-2 * KAPPA * times)
    mean, log_var = mean[:, None].expand(*batch, -1, -1), var.log()[:, None]
    return GaussianPath(times, mean, log_var, doubled(0.4), doubled(1e-11))


def prior(times, drift=None, batch=(), **options):
    first = Normal(doubled([0.0]), doubled([0.6])).to_event(1).expand(batch)
    drift = drift or (lambda t, z: -THETA * z)
    return SDEPath(drift, doubled([LENGTH]), first, times, **options)


def closed_form():
    """½ ℓ⁻² ∫ E[(−κ(z−μ) + θz)²] dt for z ~ N(m, s): exponentials and constants."""
    slope, shift = THETA - KAPPA, KAPPA * CENTRE
    # E[(slope z + shift)²] = (slope m + shift)² + slope² s, with m = a + b e^{−κt}.
    constant, wave = slope * CENTRE + shift, slope * (FIRST_MEAN - CENTRE)
    once = (1 - math.exp(-KAPPA)) / KAPPA
    twice = (1 - math.exp(-2 * KAPPA)) / (2 * KAPPA)
    squares = constant**2 + 2 * constant * wave * once + wave**2 * twice
    spread = slope**2 * (REST_VAR + (FIRST_VAR - REST_VAR) * twice)
    return (squares + spread) / (2 * LENGTH**2)


@pytest.mark.parametrize("strata", [1, 8])
def test_estimate_is_unbiased_for_the_closed_form(strata):
    """Over random times and samples; each call shares its times among the batch."""
    torch.manual_seed(0)
    q = posterior(batch=(50,))
    p = prior(q.times, batch=(50,), initial_weight=torch.zeros(50), quadrature=strata)
    estimates = np.array([float(kl_divergence(q, p).mean()) for _ in range(800)])
    assert_mean(estimates, closed_form())


def test_estimate_of_identical_laws_is_zero():
    """No Monte-Carlo noise is left where the drifts agree."""
    q = posterior()
    p = prior(q.times, lambda t, z: -KAPPA * (z - CENTRE), initial_weight=doubled(0.0))
    assert float(kl_divergence(q, p)) == pytest.approx(0, abs=1e-5)


def test_initial_term_enters_with_its_weight_and_only_there():
    weights = doubled([0.0, 1.0, 3.5])
    q = posterior(batch=(3,))
    torch.manual_seed(0)
    weighted = kl_divergence(q, prior(q.times, batch=(3,), initial_weight=weights))
    torch.manual_seed(0)
    bare = kl_divergence(q, prior(q.times, batch=(3,), initial_weight=torch.zeros(3)))
    first = kl_divergence(
        Normal(doubled(FIRST_MEAN), doubled(FIRST_VAR**0.5)), Normal(doubled(0.0), doubled(0.6))
    )
    torch.testing.assert_close(weighted - bare, weights * first, rtol=1e-4, atol=1e-8)


def girsanov(paths, times, drift):
    """ln dQ/dP along posterior paths (sample, N): ∫ r/ℓ dβ + ½ ∫ r²/ℓ² dt, in left-point sums."""
    now, step = paths[:, :-1], np.diff(times)
    own = -KAPPA * (now - CENTRE)
    residual = (own - drift(times[:-1], now)) / LENGTH
    noise = (np.diff(paths) - own * step) / LENGTH
    return (residual * noise + 0.5 * residual**2 * step).sum(1)


@pytest.mark.parametrize(
    "drift",
    [lambda t, z: -THETA * z, lambda t, z: np.sin(3 * z) - z**3 + t],
    ids=["linear", "nonlinear"],
)
def test_estimate_agrees_with_girsanov_on_connected_paths(drift):
    torch.manual_seed(1)
    fine = posterior(nodes=201)
    fine.nugget = doubled(1e-9)
    paths = fine.rsample_joint(doubled(LENGTH), (10_000,), substeps=2)[..., 0].numpy()
    by_paths = girsanov(paths, fine.times.numpy(), drift)

    q = posterior(batch=(50,))

    def as_tensor(t, z):
        return torch.as_tensor(drift(t.numpy()[..., None], z.numpy()))

    p = prior(q.times, as_tensor, batch=(50,), initial_weight=torch.zeros(50))
    estimates = np.array([float(kl_divergence(q, p).mean()) for _ in range(400)])
    own_error = estimates.std(ddof=1) / len(estimates) ** 0.5
    # Left-point sums over 200 steps are off by half a step relative, and a little more.
    assert_mean(by_paths, estimates.mean(), bias=6 * own_error + 0.01 * estimates.mean())


def test_time_dependent_dispersion_and_several_components():
    """Against quadrature of the same integrand with the expectation taken exactly."""
    times = torch.linspace(0, 1, 9, dtype=torch.float64)
    start = doubled([0.0, 2.0])
    mean = torch.stack([torch.sin(2 * times), times], -1).expand(2, -1, -1)
    log_var = torch.stack([-1 - times, -2 + 0 * times], -1)
    q = GaussianPath(times, mean, log_var, doubled(0.5), doubled(1e-9))

    def dispersion(t):
        return torch.stack([1 + 0.3 * torch.cos(t), 0.5 + 0.1 * t], -1)

    def drift(t, z):
        return torch.cos(t)[..., None] - z

    first = Normal(torch.zeros(2), torch.ones(2)).to_event(1).expand((2,))
    p = SDEPath(drift, dispersion, first, times, start=start, initial_weight=torch.zeros(2))
    torch.manual_seed(2)
    estimates = np.stack([kl_divergence(q, p).numpy() for _ in range(4000)])

    fine = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
    at, absolute = q.marginals(fine), start[:, None] + fine
    dispersed = dispersion(absolute)
    pull = 0.5 * (dispersed**2 / at.var - at.log_var_rate)
    # r = ṁ − B σ ε − cos t + m + σ ε: a mean, and 1 − B times σ ε.
    centre = at.mean_rate - torch.cos(absolute)[..., None] + at.mean
    square = (centre**2 + (1 - pull) ** 2 * at.var) / (2 * dispersed**2)
    assert_mean(estimates, square.sum(-1).mean(-1).numpy())


def test_residual_has_the_shape_of_batch_and_times():
    q = posterior(batch=(4, 3))
    p = prior(q.times, batch=(4, 3), start=torch.zeros(4, 3))
    assert drift_residual(q, p, doubled([0.2, 0.5])).shape == (4, 3, 2)
    assert kl_divergence(q, p).shape == (4, 3)


def test_every_stratum_holds_one_time():
    torch.manual_seed(0)
    times = stratified_times(doubled(1.0), doubled(3.0), 16)
    assert torch.equal(((times - 1) / 2 * 16).floor(), torch.arange(16, dtype=torch.float64))


def test_gradients_reach_posterior_and_prior():
    rate = doubled(1.3)
    times = torch.linspace(0, 1, 5, dtype=torch.float64)

    def divergence(mean, log_var, dispersion, rate):
        q = GaussianPath(times, mean, log_var, doubled(0.5), doubled(1e-4))
        first = Normal(doubled([0.0]), doubled([1.0])).to_event(1)
        p = SDEPath(lambda t, z: -rate * z, dispersion, first, times)
        torch.manual_seed(0)
        return kl_divergence(q, p)

    arguments = [torch.sin(times)[:, None], -times[:, None] - 1, doubled([0.4]), rate]
    assert torch.autograd.gradcheck(divergence, [a.requires_grad_() for a in arguments])
