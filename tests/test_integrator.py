"""The rollout's integrator: order, restarts, noise, output at any time."""

import itertools

import numpy as np
import pytest
import torch
from scipy.linalg import solve_discrete_lyapunov

from pyro_msm.forecasting.integrator import Integrator, PathState
from pyro_msm.forecasting.streams import Streams
from tests.statistical import assert_mean

STILL = torch.zeros(1)


def begin(value, members=1, trajectories=1, time=0.0, root=None):
    streams = None if root is None else Streams(root, range(members), range(trajectories))
    latent = torch.tensor(value, dtype=torch.float32).expand(members, trajectories, -1)
    return PathState.start(time, latent, streams)


def logistic(time, latent):
    return latent * (1 - latent)


def logistic_solution(time):
    return 1 / (1 + 9 * np.exp(-time))


@pytest.mark.parametrize("every", [1, 2])
def test_order_is_three_without_noise(every):
    errors = []
    for count in (16, 32, 64):
        integrator = Integrator(logistic, STILL, 4 / count / every, every)
        _, path = integrator.run(begin([0.1]), np.array([2.0, 4.0]))
        errors.append(np.abs(path[:, 0, 0, 0] - logistic_solution(np.array([2.0, 4.0]))).max())
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(orders, 3, atol=0.5)


def test_one_drift_evaluation_a_node():
    calls = []

    def counted(time, latent):
        calls.append(time)
        return logistic(time, latent)

    Integrator(counted, STILL, 0.1, every=4).run(begin([0.1]), np.array([8.0]))
    # Heun over the first two node distances, then one every four steps.
    assert len(calls) == 2 * 8 + (80 - 8) / 4


def test_time_dependent_drift_sees_absolute_time():
    integrator = Integrator(lambda t, z: torch.full_like(z, np.cos(t)), STILL, 0.05)
    times = 3.0 + np.linspace(0, 2, 11)
    _, path = integrator.run(begin([np.sin(3.0)], time=3.0), times)
    np.testing.assert_allclose(path[:, 0, 0, 0], np.sin(times), atol=1e-4)


def noisy(every):
    def drift(time, latent):
        return torch.sin(3 * latent) - latent + np.cos(time)

    return Integrator(drift, torch.tensor([0.3, 0.1]), 0.02, every)


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize(
    "times",
    [np.arange(1, 601) * 0.02, np.sort(np.random.default_rng(0).uniform(0, 12, 300))],
    ids=["grid", "any"],
)
def test_results_do_not_depend_on_how_the_times_are_cut(every, times):
    integrator, first = noisy(every), begin([0.5, 0.2], 3, 2, root=7)
    _, whole = integrator.run(first, times)
    rng = np.random.default_rng(1)
    cuts = [0, 1, 2, 5, *sorted(rng.choice(np.arange(6, 300), 9, replace=False)), len(times)]
    state, parts = first, []
    for low, high in itertools.pairwise(cuts):
        state, part = integrator.run(state, times[low:high])
        parts.append(part)
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=0 if every == 1 else 2e-6)
    # The state that was given is where it was.
    np.testing.assert_array_equal(integrator.run(first, times)[1], whole)


def test_times_between_steps_are_interpolated_and_steps_are_exact():
    integrator, first = noisy(1), begin([0.5, 0.2], root=7)
    _, steps = integrator.run(first, np.arange(0, 41) * 0.02)
    np.testing.assert_array_equal(steps[0, 0, 0], np.float32([0.5, 0.2]))
    times = np.array([0.0, 0.005, 0.02, 0.031, 0.799])
    _, between = integrator.run(first, times)
    expected = [np.interp(times, np.arange(0, 41) * 0.02, steps[:, 0, 0, c]) for c in range(2)]
    np.testing.assert_allclose(between[:, 0, 0].T, expected, atol=1e-6)
    # Times that have been rounded are still the steps.
    _, rounded = integrator.run(first, np.float32(np.arange(0, 41) * 0.02).astype(float))
    np.testing.assert_array_equal(rounded, steps)


def test_the_last_step_may_be_asked_for_again_after_a_restart():
    integrator, first = noisy(1), begin([0.5, 0.2], root=7)
    state, path = integrator.run(first, np.array([0.1, 0.19]))
    _, again = integrator.run(state, np.array([0.19, 0.2]))
    np.testing.assert_array_equal(again[0], path[1])


def test_stationary_variance_of_the_ornstein_uhlenbeck_process():
    """Against the scheme's own, from its recursion, and the process's, up to the step."""
    rate, dispersion, step = 2.0, 0.5, 0.025
    integrator = Integrator(lambda t, z: -rate * z, torch.tensor([dispersion]), step)
    _, path = integrator.run(begin([0.0], 400, 5, root=3), np.array([6.0]))
    last = path[0, :, :, 0].reshape(-1)
    share = rate * step / 12
    recursion = np.array([[1 - 23 * share, 16 * share, -5 * share], [1, 0, 0], [0, 1, 0]])
    kick = np.zeros((3, 3))
    kick[0, 0] = dispersion**2 * step
    own = solve_discrete_lyapunov(recursion, kick)[0, 0]
    exact = dispersion**2 / (2 * rate)
    assert own == pytest.approx(exact, rel=rate * step)
    assert_mean(last, 0.0)
    assert_mean(last**2, own)


@pytest.mark.parametrize("every", [2, 4])
def test_noise_between_nodes_has_its_variance_at_every_step(every):
    """Without drift the path is a random walk, whatever the nodes."""
    integrator = Integrator(lambda t, z: 0 * z, torch.tensor([1.0]), 0.01, every)
    _, path = integrator.run(begin([0.0], 1000, 1, root=5), np.arange(1, 31) * 0.01)
    increments = np.diff(path[:, :, 0, 0], axis=0, prepend=0).T
    assert_mean(increments, 0.0)
    assert_mean(increments**2, 0.01)
    assert_mean(increments[:, 1:] * increments[:, :-1], 0.0)


@pytest.mark.parametrize("every", [2, 4])
def test_coarse_nodes_keep_the_stationary_variance(every):
    rate, dispersion, step = 2.0, 0.5, 0.0125
    integrator = Integrator(lambda t, z: -rate * z, torch.tensor([dispersion]), step, every)
    _, path = integrator.run(begin([0.0], 400, 5, root=3), np.array([4.0]))
    exact = dispersion**2 / (2 * rate)
    assert_mean(path[0, :, :, 0].reshape(-1) ** 2, exact, bias=exact * rate * step * every)


# --- a quick part -------------------------------------------------------------------------------


def split_logistic(every, step):
    """What grows is learned and slow, what saturates is known and quick."""
    return Integrator(
        lambda t, z: 1.0 * z, STILL, step, every, quick=lambda t, z: -z.square()
    )  # fmt: skip


@pytest.mark.parametrize("every", [1, 4])
def test_order_is_three_with_a_quick_part(every):
    errors = []
    for count in (16, 32, 64):
        integrator = split_logistic(every, 4 / count / every)
        _, path = integrator.run(begin([0.1]), np.array([2.0, 4.0]))
        errors.append(np.abs(path[:, 0, 0, 0] - logistic_solution(np.array([2.0, 4.0]))).max())
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(orders, 3, atol=0.5)


def test_a_quick_part_is_resolved_where_the_nodes_do_not_resolve_it():
    """A decay of which a node distance is twenty time scales, far beyond what is stable there."""

    def fast(t, z):
        return -200.0 * (z - np.cos(t))

    integrator = Integrator(lambda t, z: 0 * z, STILL, 0.002, 50, quick=fast)
    times = np.linspace(0.5, 3, 20)
    _, path = integrator.run(begin([1.0]), times)
    lagging = (200**2 * np.cos(times) + 200 * np.sin(times)) / (200**2 + 1)
    np.testing.assert_allclose(path[:, 0, 0, 0], lagging, atol=1e-4)


def test_evaluations_with_a_quick_part():
    calls = {"slow": 0, "quick": 0}

    def counted(name, value):
        def rate(time, latent):
            calls[name] += 1
            return value * latent

        return rate

    integrator = Integrator(
        counted("slow", -1.0), STILL, 0.1, 4, quick=counted("quick", -0.1)
    )  # fmt: skip
    integrator.run(begin([0.1]), np.array([8.0]))
    assert calls == {"slow": 2 * 8 + (80 - 8) / 4, "quick": 2 * 8 + 80 - 8}


def test_with_a_quick_part_results_do_not_depend_on_how_the_times_are_cut():
    def integrator():
        return Integrator(
            lambda t, z: 0.3 * torch.sin(3 * z), torch.tensor([0.3, 0.1]), 0.02, 3,
            gain=lambda z, rate: 1 + 0.1 * (z + rate).square(), quick=lambda t, z: np.cos(t) - z,
        )  # fmt: skip

    first, times = begin([0.5, 0.2], 3, 2, root=7), np.arange(1, 301) * 0.02
    _, whole = integrator().run(first, times)
    state, parts = first, []
    for low, high in itertools.pairwise([0, 1, 4, 9, 10, 131, 300]):
        state, part = integrator().run(state, times[low:high])
        parts.append(part)
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=2e-6)
    # And it is the path that the whole drift at every step gives, but for the scheme's error.
    together = Integrator(
        lambda t, z: 0.3 * torch.sin(3 * z) + np.cos(t) - z, torch.tensor([0.3, 0.1]), 0.02,
        gain=lambda z, rate: 1 + 0.1 * (z + rate).square(),
    )  # fmt: skip
    np.testing.assert_allclose(together.run(first, times)[1], whole, atol=0.03)


@pytest.mark.parametrize("quick", [False, True])
def test_noise_may_depend_on_the_whole_drift(quick):
    """dx = dt + |drift| dβ: the variance is t, however the drift is divided."""
    one, nothing = lambda t, z: torch.ones_like(z), lambda t, z: torch.zeros_like(z)
    integrator = Integrator(
        nothing if quick else one, torch.tensor([0.5]), 0.05, 3, gain=lambda z, rate: 2 * rate,
        quick=one if quick else None,
    )  # fmt: skip
    _, path = integrator.run(begin([0.0], 4000, 2, root=3), np.array([1.0, 2.0]))
    assert path.mean((1, 2)).ravel() == pytest.approx([1.0, 2.0], abs=5 * (2 / 8000) ** 0.5)
    assert path.var((1, 2)).ravel() == pytest.approx([1.0, 2.0], rel=5 * (2 / 8000) ** 0.5)
