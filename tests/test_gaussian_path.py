"""Kernel interpolation and the Gaussian path: derivatives, marginals, connected paths."""

import itertools

import numpy as np
import pytest
import torch

from pyro_msm.distributions import GaussianPath, Interpolation
from tests.statistical import assert_mean, assert_moments, limit

DISPERSION = 0.8


def scalar(value):
    return torch.tensor(value, dtype=torch.float64)


def path(nodes=9, nugget=1e-6, state=2, batch=()):
    """A path with moving mean and variance."""
    times = torch.linspace(0, 1, nodes, dtype=torch.float64)
    phase = torch.arange(state, dtype=torch.float64)
    mean = torch.sin(3 * times[:, None] + phase)
    log_var = -1 + 0.7 * torch.cos(2 * times[:, None] - phase)
    return GaussianPath(
        times, mean.expand(*batch, -1, -1), log_var, scalar(0.4), scalar(nugget),
        validate_args=True,
    )  # fmt: skip


def test_interpolation_is_the_gaussian_process_mean_around_the_average():
    rng = np.random.default_rng(0)
    nodes, values = np.sort(rng.uniform(0, 2, 7)), rng.normal(size=7)
    times, length, nugget = rng.uniform(0, 2, 5), 0.4, 0.03

    def kernel(a, b):
        return np.exp(-0.5 * ((a[:, None] - b) / length) ** 2)

    gram = kernel(nodes, nodes) + nugget * np.eye(7)
    centred = values - values.mean()
    expected = values.mean() + kernel(times, nodes) @ np.linalg.solve(gram, centred)
    interpolation = Interpolation(torch.tensor(nodes), scalar(length), scalar(nugget))
    weights, _ = interpolation(torch.tensor(times))
    np.testing.assert_allclose(weights.numpy() @ values, expected, rtol=1e-10)


@pytest.mark.parametrize("nugget", [1e-8, 0.1])
def test_interpolation_derivative_is_that_of_autograd(nugget):
    nodes = torch.linspace(0, 1, 8, dtype=torch.float64)
    interpolation = Interpolation(nodes, scalar(0.3), scalar(nugget))
    times = torch.tensor([0.0, 0.13, 0.5, 0.99], dtype=torch.float64)
    _, rates = interpolation(times)
    jacobian = torch.autograd.functional.jacobian(lambda t: interpolation(t)[0], times)
    torch.testing.assert_close(rates, jacobian.diagonal(dim1=0, dim2=2).T, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("length", "nugget"), [(0.05, 1e-8), (0.4, 0.01), (3.0, 1e-4)])
def test_interpolation_reproduces_constants(length, nugget):
    nodes = torch.linspace(0, 1, 16)
    interpolation = Interpolation(nodes, torch.tensor(length), torch.tensor(nugget))
    weights, rates = interpolation(torch.linspace(0, 1, 33))
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights.sum(1), torch.ones(33), rtol=0, atol=1e-5)
    assert rates.sum(1).abs().max() < 1e-5 * rates.abs().max()


def test_interpolation_passes_through_the_nodes_without_a_nugget():
    nodes = torch.linspace(0, 1, 8, dtype=torch.float64)
    weights, _ = Interpolation(nodes, scalar(0.2), scalar(1e-12))(nodes)
    torch.testing.assert_close(weights, torch.eye(8, dtype=torch.float64), atol=1e-6, rtol=0)


def test_marginals_are_the_interpolated_functions_and_their_rates():
    ours = path(nodes=17, nugget=1e-10, batch=(3,))
    times = torch.linspace(0.02, 0.98, 9, dtype=torch.float64)
    phase = torch.arange(2, dtype=torch.float64)
    angle, turned = 3 * times[:, None] + phase, 2 * times[:, None] - phase
    expected = (
        torch.sin(angle),
        torch.exp(-1 + 0.7 * torch.cos(turned)),
        3 * torch.cos(angle),
        -1.4 * torch.sin(turned),
    )
    for got, wanted in zip(ours.marginals(times), expected, strict=True):
        assert got.shape == (3, 9, 2)
        torch.testing.assert_close(got, wanted.expand(3, 9, 2), atol=3e-4, rtol=0)


def test_marginal_rates_are_derivatives_by_time():
    ours = path(nugget=0.05)
    times = torch.tensor([0.1, 0.77], dtype=torch.float64)
    step = 1e-5
    later, earlier = ours.marginals(times + step), ours.marginals(times - step)
    now = ours.marginals(times)
    torch.testing.assert_close(now.mean_rate, (later.mean - earlier.mean) / (2 * step))
    torch.testing.assert_close(now.log_var_rate, (later.var.log() - earlier.var.log()) / (2 * step))


def test_samples_and_density_are_those_of_independent_marginals():
    torch.manual_seed(0)
    ours = path(nugget=0.05)
    samples = ours.rsample((40_000,))
    assert_moments(samples.numpy(), ours.mean.numpy(), ours.variance.numpy())
    pairs = (samples - ours.mean) / ours.variance.sqrt()
    assert_mean((pairs[:, :-1] * pairs[:, 1:]).numpy(), 0.0)
    normal = torch.distributions.Normal(ours.mean, ours.variance.sqrt())
    torch.testing.assert_close(
        ours.log_prob(samples[:5]), normal.log_prob(samples[:5]).sum((-2, -1))
    )


def test_shapes_of_batches_samples_and_expansions():
    ours = path(batch=(3,))
    assert (ours.batch_shape, ours.event_shape) == ((3,), (9, 2))
    wide = ours.expand((4, 3))
    assert wide.batch_shape == (4, 3)
    assert wide.rsample((5,)).shape == (5, 4, 3, 9, 2)
    assert wide.log_prob(wide.rsample((5,))).shape == (5, 4, 3)
    assert wide.marginals(ours.times[:2]).var.shape == (4, 3, 2, 2)
    assert wide.rsample_joint(scalar(DISPERSION), (5,)).shape == (5, 4, 3, 9, 2)


def test_gradients_reach_nodes_length_scale_and_nugget():
    times = torch.linspace(0, 1, 5, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    nodes = torch.randn(2, 5, 2, dtype=torch.float64, generator=generator)

    def quantities(mean, log_var, length, nugget):
        law = GaussianPath(times, mean, log_var, length, nugget)
        return law.marginals(torch.tensor([0.33, 0.7], dtype=torch.float64))

    arguments = [nodes[0], nodes[1], scalar(0.3), scalar(0.05)]
    assert torch.autograd.gradcheck(quantities, [a.requires_grad_() for a in arguments])


def exact_correlations(ours, dispersion):
    """Correlation between neighbouring nodes: d cov/dt = −B cov, by fine midpoint quadrature."""
    times = ours.times
    found = []
    for begin, end in itertools.pairwise(times):
        middles = begin + (end - begin) * (torch.arange(400, dtype=torch.float64) + 0.5) / 400
        at = ours.marginals(middles)
        pull = 0.5 * (dispersion**2 / at.var - at.log_var_rate)
        decay = torch.exp(-(pull.mean(0)) * (end - begin))
        first, last = ours.marginals(torch.stack([begin, end])).var
        found.append(decay * (first / last).sqrt())
    return torch.stack(found)


def test_connected_paths_have_the_marginals_and_the_transition_correlation():
    torch.manual_seed(1)
    ours = path(nugget=0.05)
    samples = ours.rsample_joint(scalar(DISPERSION), (40_000,))
    assert_moments(samples.numpy(), ours.mean.numpy(), ours.variance.numpy())
    scores = ((samples - ours.mean) / ours.variance.sqrt()).numpy()
    correlation = exact_correlations(ours, DISPERSION).numpy()
    assert_mean(scores[:, :-1] * scores[:, 1:], correlation, bias=1e-3)
    # Markov: across two intervals the correlations multiply.
    assert_mean(scores[:, :-2] * scores[:, 2:], correlation[:-1] * correlation[1:], bias=1e-3)


def test_the_linear_sde_behind_the_marginals_has_them():
    """Fine Euler–Maruyama steps of dz = [ṁ − B(z − m)]dt + ℓ dβ, from the first marginal."""
    torch.manual_seed(2)
    ours = path(nugget=0.05)
    count, fine = 20_000, 100
    times = torch.linspace(0, 1, 8 * fine + 1, dtype=torch.float64)
    at = ours.marginals(times)
    pull = 0.5 * (DISPERSION**2 / at.var - at.log_var_rate)
    step = float(times[1])
    state = at.mean[0] + at.var[0].sqrt() * torch.randn(count, 2, dtype=torch.float64)
    found = [state]
    for i in range(8 * fine):
        drift = at.mean_rate[i] - pull[i] * (state - at.mean[i])
        noise = torch.randn(count, 2, dtype=torch.float64)
        state = state + step * drift + DISPERSION * step**0.5 * noise
        if (i + 1) % fine == 0:
            found.append(state)
    scores = ((torch.stack(found) - ours.mean[:, None]) / ours.variance.sqrt()[:, None]).numpy()
    # Euler's bias is below step × B ≈ 0.005 relative.
    spread = (scores**2).mean(1)
    assert np.abs(spread - 1).max() < 0.01 + limit(spread.size) * np.sqrt(2 / count)
    products = np.moveaxis(scores[:-1] * scores[1:], 1, 0)
    assert_mean(products, exact_correlations(ours, DISPERSION).numpy(), bias=0.01)
