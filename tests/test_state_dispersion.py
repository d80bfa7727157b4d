"""Dispersion that depends on the state: path term, density, integration, and the model with it."""

import numpy as np
import pytest
import torch
from numpy.polynomial.hermite_e import hermegauss
from pyro.distributions import Normal
from torch.distributions import kl_divergence

from pyro_msm.distributions import GaussianPath, SDEPath
from pyro_msm.forecasting import MultiscaleForecaster
from pyro_msm.forecasting.integrator import Integrator, PathState
from pyro_msm.forecasting.streams import Streams
from pyro_msm.guides import grow
from pyro_msm.models import MultiscaleSDE
from pyro_msm.nn.dispersion import LARGEST, StateGain
from tests.small_fields import model_and_guide, tiny_configuration, travelling_waves
from tests.statistical import assert_mean

BASE = torch.tensor([0.8, 0.5], dtype=torch.float64)


def gain(times, state):
    """Each component is driven by the other one, and by the time."""
    first, second = state.unbind(-1)
    return torch.stack([1 + 0.5 * torch.sin(second), (0.4 * first).exp()], -1)


def drift(times, state):
    return torch.cos(times)[..., None] - state * state.flip(-1)


def posterior():
    times = torch.linspace(0, 1, 9, dtype=torch.float64)
    mean = torch.stack([torch.sin(2 * times), times], -1)
    log_var = torch.stack([-1 - times, -2 + 0 * times], -1)
    one = torch.tensor(0.5, dtype=torch.float64)
    return GaussianPath(times, mean, log_var, one, torch.tensor(1e-9, dtype=torch.float64))


def prior(times):
    first = Normal(torch.zeros(2), torch.ones(2)).to_event(1)
    weight = torch.zeros((), dtype=torch.float64)
    return SDEPath(drift, BASE, first, times, initial_weight=weight, gain=gain)


def test_the_posterior_sde_keeps_its_marginals():
    """What makes the path term right: B = ½(L²/s − d ln s/dt) needs no term in ∂L²/∂z here."""
    q, generator = posterior(), torch.Generator().manual_seed(0)
    steps, count = 800, 20_000
    edges = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    at = q.marginals(edges)
    noise = torch.randn(count, 2, generator=generator, dtype=torch.float64)
    state = at.mean[0] + at.var[0].sqrt() * noise
    for i in range(steps):
        length = BASE * gain(edges[i], state)
        pull = 0.5 * (length.square() / at.var[i] - at.log_var_rate[i])
        rate = at.mean_rate[i] - pull * (state - at.mean[i])
        noise = torch.randn(count, 2, generator=generator, dtype=torch.float64)
        state = state + rate / steps + length * noise / steps**0.5
    scaled = ((state - at.mean[-1]) / at.var[-1].sqrt()).numpy()
    # Euler steps leave a bias of order one step.
    assert_mean(scaled, np.zeros(2), bias=0.01)
    assert_mean(scaled**2, np.ones(2), bias=0.02)
    assert_mean(scaled[:, :1] * scaled[:, 1:], np.zeros(1), bias=0.01)
    assert_mean(scaled**4, np.full(2, 3.0), bias=0.1)


def test_path_term_against_quadrature():
    q = posterior()
    p = prior(q.times)
    torch.manual_seed(2)
    estimates = np.array([float(kl_divergence(q, p)) for _ in range(4000)])
    points, weights = hermegauss(12)
    a, b = (torch.as_tensor(part) for part in np.meshgrid(points, points, indexing="ij"))
    share = torch.as_tensor(np.outer(weights, weights) / weights.sum() ** 2)
    fine = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
    at = q.marginals(fine)
    noise = torch.stack([a, b], -1)[..., None, :]
    state = at.mean + at.var.sqrt() * noise
    length = BASE * gain(fine, state)
    pull = 0.5 * (length.square() / at.var - at.log_var_rate)
    residual = at.mean_rate - pull * at.var.sqrt() * noise - drift(fine, state)
    exact = 0.5 * (residual / length).square().sum(-1).mean(-1)
    assert_mean(estimates, float((share * exact).sum()))


def test_density_is_that_of_the_scheme_and_sampling_follows_it():
    times = torch.linspace(0, 0.5, 6, dtype=torch.float64)
    p = prior(times)
    torch.manual_seed(0)
    paths = p.rsample((4000,))
    now, step = paths[:, :-1], 0.1
    std = BASE * gain(times[:-1], now) * step**0.5
    score = (paths[:, 1:] - now - step * drift(times[:-1].expand(4000, 5), now)) / std
    by_hand = (-0.5 * score.square() - std.log() - 0.5 * np.log(2 * np.pi)).sum((1, 2))
    torch.testing.assert_close(p.log_prob(paths), by_hand, rtol=1e-3, atol=1e-4)
    assert_mean(score.numpy() ** 2, np.ones((5, 2)))


def test_integration_of_a_driven_component():
    """dx = 0, dy = −y dt + x dβ: the variance of y is x²/2, whatever the cuts of the times."""
    factors = lambda state, _: torch.stack([torch.ones_like(state[..., 0]), state[..., 0]], -1)  # noqa: E731

    def rate(time, state):
        return torch.stack([torch.zeros_like(state[..., 0]), -state[..., 1]], -1)

    integrator = Integrator(rate, torch.tensor([0.0, 1.0]), 0.02, every=3, gain=factors)
    start = torch.zeros(4000, 2, 2)
    start[..., 0] = torch.tensor([0.5, 2.0])
    state = PathState.start(0.0, start, Streams(0, range(4000), range(2)))
    times = np.linspace(0.2, 5.0, 25)
    _, whole = integrator.run(state, times)
    pieces = []
    for part in np.array_split(times, 4):
        state, path = integrator.run(state, part)
        pieces.append(path)
    np.testing.assert_allclose(whole, np.concatenate(pieces), atol=1e-5)
    assert_mean(whole[-1, :, :, 1] ** 2, np.array([0.125, 2.0]), bias=0.04)


def test_gains_see_the_other_scale_only_and_are_bounded():
    torch.manual_seed(0)
    gains = StateGain(3, 2, fixed=1)
    for parameter in gains.parameters():
        parameter.data.normal_(0, 0.5)
    macro, micro = torch.randn(5, 2, 4, requires_grad=True), torch.randn(5, 3, requires_grad=True)
    found = gains(macro, micro)
    assert found.min() > 1 / LARGEST / 1.001
    assert found.max() < LARGEST * 1.001
    of_macro, of_micro = found.split([8, 3], -1)
    seen = torch.autograd.grad(of_macro.sum(), (macro, micro), retain_graph=True)
    assert not seen[0].any()
    assert not seen[1][:, 0].any()
    assert seen[1][:, 1:].any()
    assert not torch.autograd.grad(of_micro.sum(), micro)[0].any()


@pytest.mark.parametrize("frame", ["fixed", "comoving"])
def test_a_model_starts_as_with_constant_dispersion_and_learns_its_own(frame):
    data = travelling_waves()
    model, training = tiny_configuration()
    model = model.model_copy(update={"micro": 4, "frame": frame, "dispersion": "state"})
    forecaster = MultiscaleForecaster(model, training)
    forecaster.build(data)
    network = forecaster.model.network
    state = network.state_mean + network.state_scale * torch.randn(6, network.state_size)
    torch.testing.assert_close(network.gain(state), torch.ones_like(state))
    forecaster.train(data)
    assert (network.gain(state) - 1).abs().max() > 1e-3
    arrays, settings = forecaster.state()
    again = MultiscaleForecaster.restore(arrays, settings)
    torch.testing.assert_close(again.model.network.gain(state), network.gain(state))


def test_growth_keeps_the_gains():
    data = travelling_waves()
    model, guide = model_and_guide(data, micro=2, dispersion="state")
    assert isinstance(model, MultiscaleSDE)
    for parameter in model.network.state_gain.parameters():
        parameter.data.normal_()
    old, new = model.network, grow(guide, data)[0].network
    state = old.state_mean + old.state_scale * torch.randn(6, old.state_size)
    more = torch.cat([state, torch.randn(6, 1)], -1)
    torch.testing.assert_close(new.gain(more)[:, :-1], old.gain(state))
