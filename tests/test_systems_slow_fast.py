"""Slow–fast systems: exact averages, stationary laws, the scheme against torchsde, restarts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchsde
from scipy.integrate import quad

import pyro_msm as msm
from pyro_msm.data import systems
from pyro_msm.data.systems import slow_fast, slow_fast_a, slow_fast_d
from pyro_msm.data.systems.effective import EffectiveSDE
from pyro_msm.errors import InputError
from tests.statistical import assert_mean, assert_moments

NAMES = tuple(f"slow-fast-{letter}" for letter in "abcd")


def streams(count, seed=0):
    return [np.random.default_rng([seed, index]) for index in range(count)]


def states(system, count, seed=0):
    """Slow values spread over where they live, fast values from their law there."""
    generator = np.random.default_rng(seed)
    x = 0.7 * generator.standard_normal((count, system.slow))
    return np.concatenate([x, system.fast_draws(x, generator)], axis=1)


def coefficients(system, x, y):
    """b and σ of the coupling, as arrays."""
    coupling = system.coupling()
    given = torch.tensor(x), torch.tensor(y)
    return coupling.drift(*given).numpy(), coupling.diffusion(*given).numpy()


# --- averages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_averages_are_the_means_of_the_coupling_over_the_fast_law(name):
    system = systems.get(name)
    for x in np.array([[-1.1], [0.2], [0.8]]) * np.ones(system.slow):
        y = system.fast_draws(np.tile(x, (20_000, 1)), np.random.default_rng(1))
        drift, sigma = coefficients(system, x[None], y)
        assert_mean(drift, system.averaged_drift(x[None])[0])
        square = sigma @ sigma.swapaxes(1, 2)
        expected = system.averaged_diffusion(x[None])[0]
        spread = square.std(0) > 1e-12
        np.testing.assert_allclose(square.mean(0)[~spread], expected[~spread], rtol=1e-12)
        if spread.any():
            assert_mean(square[:, spread], expected[spread])


@pytest.mark.parametrize("x", [-0.9, 0.3, 1.2])
def test_averages_of_c_are_integrals_over_its_bimodal_law(x):
    system = systems.get("slow-fast-c")
    weight = 1 / (1 + np.exp(-4 * x))

    def law(y):
        modes = np.exp(-2 * (y - 1) ** 2), np.exp(-2 * (y + 1) ** 2)
        return (weight * modes[0] + (1 - weight) * modes[1]) * np.sqrt(2 / np.pi)

    def mean(coefficient):
        return quad(lambda y: coefficient(y) * law(y), -6, 6, epsabs=1e-12)[0]

    at = np.array([[x]])
    assert system.averaged_drift(at)[0, 0] == pytest.approx(mean(lambda y: -x + 0.4 * y**3))
    square = mean(lambda y: 0.25 * (1 + 0.3 * y) ** 2)
    assert system.averaged_diffusion(at)[0, 0, 0] == pytest.approx(square)


def test_published_constants():
    slope = systems.get("slow-fast-a").averaged_drift(np.array([[1e-6]]))[0, 0] / 1e-6
    assert slope == pytest.approx(0.660, abs=5e-4)
    variances = np.diag(slow_fast_a.COVARIANCE)
    assert (round(variances.min(), 3), round(variances.max(), 3)) == (0.112, 0.155)
    assert np.trace(slow_fast_d.COVARIANCE) == pytest.approx(0.3464, abs=5e-5)


@pytest.mark.parametrize(
    ("name", "second", "fourth"), [("slow-fast-b", 0.5019, 0.4012), ("slow-fast-c", 0.4827, 0.486)]
)
def test_stationary_moments_of_the_effective_sde(name, second, fourth):
    grid = np.linspace(-5, 5, 4001)
    density = systems.get(name).effective.stationary_density(grid)
    moment = [np.sum(density * grid**power) * (grid[1] - grid[0]) for power in (0, 2, 4)]
    assert moment[0] == pytest.approx(1)
    assert moment[1] == pytest.approx(second, abs=2e-4)
    assert moment[2] == pytest.approx(fourth, abs=1e-3)


# --- the scheme ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_step_follows_the_coefficients_of_the_coupling(name):
    """Over many steps of the same state, the slow part moves by b dt with variance σσᵀ dt."""
    system = systems.get(name, epsilon=0.1)
    state = np.tile(states(system, 1), (4000, 1))
    dt = system.epsilon / system.steps_per_epsilon
    moved = system.step(state, 0.0, dt, streams(len(state)))[:, : system.slow]
    drift, sigma = coefficients(system, state[:1, : system.slow], state[:1, system.slow :])
    kick = (moved - state[:, : system.slow] - drift * dt) / np.sqrt(dt)
    square = sigma[0] @ sigma[0].T
    assert_moments(kick, 0.0, np.diag(square))
    assert_mean(kick[:, :, None] * kick[:, None, :], square)


@pytest.mark.parametrize("name", NAMES)
def test_the_fast_part_keeps_its_law_where_the_slow_part_stands_still(name):
    """With ε so small that X hardly moves: moments of Y over many of its own time scales."""
    system = systems.get(name, epsilon=1e-5)
    x = np.tile(0.4 * np.ones(system.slow), (300, 1))
    state = np.concatenate([x, np.zeros((300, system.fast))], axis=1)
    state = system.step(state, 0.0, 8 * system.epsilon, streams(300))
    moved = np.abs(state[:, : system.slow] - x).max()
    assert moved < 0.05
    y = state[:, system.slow :]
    expected = system.fast_draws(np.tile(x, (300, 1)), np.random.default_rng(5))
    bias = 0.1 * moved  # what the law of Y feels of it
    assert_mean(y, expected.mean(0), bias=0.02 + bias)
    assert_mean(y**2, (expected**2).mean(0), bias=0.02 + bias)


class Increments(torchsde.BaseBrownian):
    """A given Brownian path, for torchsde: (steps, batch, noise) increments of length dt."""

    def __init__(self, increments, dt):
        super().__init__()
        self.path, self.dt = torch.cat([increments[:1] * 0, increments.cumsum(0)]), dt

    def __call__(self, ta, tb=None, return_U=False, return_A=False):
        first, last = round(float(ta) / self.dt), round(float(tb) / self.dt)
        return self.path[last] - self.path[first]

    dtype, device, levy_area_approximation = torch.float64, torch.device("cpu"), "none"

    def __repr__(self):
        return f"Increments(dt={self.dt})"

    @property
    def shape(self):
        return self.path.shape[1:]

    def size(self):
        return self.shape


class DoubleWell(torch.nn.Module):
    """System B as torchsde takes it."""

    noise_type, sde_type = "diagonal", "ito"

    def __init__(self, epsilon):
        super().__init__()
        self.epsilon = epsilon

    def f(self, t, state):
        x, y = state.unbind(-1)
        return torch.stack([x - x**3 - x * y**2, (0.5 * x - y) / self.epsilon], -1)

    def g(self, t, state):
        scales = torch.tensor([0.5, (0.5 / self.epsilon) ** 0.5], dtype=torch.float64)
        return scales.expand_as(state)


def test_the_path_tends_to_that_of_torchsde_on_the_same_brownian_motion():
    epsilon, finest, count = 0.1, 1280, 50
    system = systems.get("slow-fast-b", epsilon=epsilon)
    start = states(system, count)
    noise = np.random.default_rng(3).standard_normal((2 * finest, 2, count))
    dt = epsilon / finest
    brownian = torch.tensor(noise.transpose(0, 2, 1) * np.sqrt(dt))
    times = torch.linspace(0, 2 * epsilon, 3, dtype=torch.float64)
    expected = torchsde.sdeint(
        DoubleWell(epsilon), torch.tensor(start), times, bm=Increments(brownian, dt),
        method="euler", dt=dt,
    )[-1].numpy()  # fmt: skip
    errors = []
    for each in (20, 40, 80):  # steps a time ε
        coarse = finest // each
        kicks = noise.reshape(-1, coarse, 2, count).sum(1) / np.sqrt(coarse)
        x, y = start.T[:1].copy(), start.T[1:].copy()
        system._advance(x, y, epsilon / each, kicks)
        errors.append(np.abs(np.concatenate([x, y]).T - expected).mean())
    assert errors[-1] < 3e-3
    orders = -np.diff(np.log2(errors))
    assert 0.7 < orders.mean() < 1.3  # additive noise: strong order one


@pytest.mark.parametrize("name", NAMES)
def test_long_paths_have_the_moments_of_the_effective_sde(name):
    """At ε = 0.1, up to the error of averaging, which is of order ε."""
    system = systems.get(name, epsilon=0.1)
    count, each = 60, 25
    state = system.initial_condition(np.random.default_rng(0), count)
    squares = []
    generators = streams(count, 1)
    for _ in range(each):
        state = system.step(state, 0.0, 0.4, generators)
        squares.append(np.sum(state[:, : system.slow] ** 2, axis=1))
    expected = np.sum(system.effective.stationary_points(4000) ** 2, axis=1).mean()
    assert_mean(np.mean(squares, axis=0), expected, bias=0.15 * expected)


@pytest.mark.slow
def test_full_moments_of_b_in_the_table():
    """Second and fourth moments at ε = 0.1: .506 and .422."""
    system = systems.get("slow-fast-b", epsilon=0.1)
    state = system.initial_condition(np.random.default_rng(0), 1000)
    generators, found = streams(1000, 1), []
    for _ in range(40):
        state = system.step(state, 0.0, 0.5, generators)
        found.append(state[:, 0])
    found = np.array(found)
    assert_mean(np.mean(found**2, 0), 0.506, bias=1e-3)
    assert_mean(np.mean(found**4, 0), 0.422, bias=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_a_run_can_be_restarted_anywhere_and_cut_into_any_company(name, monkeypatch):
    system = systems.get(name, epsilon=0.1)
    start = states(system, 4)
    generators = streams(4)
    whole = [system.step(start, 0.0, 0.05, generators)]
    whole.append(system.step(whole[0], 0.05, 0.05, generators))
    generators = streams(4)
    monkeypatch.setattr(slow_fast, "CHUNK", 7)
    again = system.step(start, 0.0, 0.05, generators)
    np.testing.assert_array_equal(again, whole[0])
    np.testing.assert_array_equal(system.step(again, 0.05, 0.05, generators), whole[1])
    alone = system.step(start[2:3], 0.0, 0.05, streams(4)[2:3])
    np.testing.assert_allclose(alone, whole[0][2:3], rtol=1e-12)
    at_once = system.step(start, 0.0, 0.1, streams(4))
    np.testing.assert_allclose(at_once, whole[1], rtol=1e-9)


def test_paths_start_in_their_stationary_law_and_extrapolation_does_not():
    system = systems.get("slow-fast-b", epsilon=0.1)
    inside = system.initial_condition(np.random.default_rng(2), 400)[:, 0]
    assert_mean(inside**2, 0.506, bias=0.01)
    assert_mean(inside, 0.0)
    parameters = system.initial_parameters(np.random.default_rng(2), 100, extrapolation=True)
    assert set(np.sign(parameters[:, 1])) == {-1.0, 1.0}
    assert np.all((np.abs(parameters[:, 1]) >= 1) & (np.abs(parameters[:, 1]) <= 1.5))
    shifted = system.initial_state(parameters) - system.initial_state(parameters * [1, 0])
    np.testing.assert_allclose(shifted, parameters[:, 1:] * [1.0, 0.0], atol=1e-12)


# --- the dataset ---------------------------------------------------------------------------------


def test_a_dataset_holds_the_slow_path_alone(tmp_path):
    options = {"epsilon": 0.1, "frames": 11, "end_time": 0.1, "burn_in": 0.2}
    data = systems.get("slow-fast-d").simulate({"train": 2, "test": 1}, seed=4, **options)
    assert data["path"].dims == ("trajectory", "time", "component")
    assert data["path"].shape == (3, 11, 2)
    assert list(data["component"].values) == ["x1", "x2"]
    np.testing.assert_array_equal(data["path"], data["clean"])
    larger = systems.get("slow-fast-d").simulate({"train": 5}, seed=4, **options)
    np.testing.assert_allclose(larger["path"][:2], data["path"][:2], rtol=1e-5)
    systems.get("slow-fast-d").simulate_to(
        tmp_path / "path.nc", {"train": 2, "test": 1}, seed=4, **options
    )
    np.testing.assert_array_equal(msm.data.open(tmp_path / "path.nc")["path"], data["path"])


@pytest.mark.parametrize("given", [None, 1, 3])
def test_a_step_without_a_generator_for_each_path_is_told(given):
    system = systems.get("slow-fast-b")
    with pytest.raises(InputError, match="one random generator for each of the 2 trajectories"):
        system.step(states(system, 2), 0.0, 0.1, given and streams(given))


def test_wrong_options_are_told():
    with pytest.raises(InputError, match="option epsilon is 0, expected a number from"):
        systems.get("slow-fast-a", epsilon=0)


def test_lift_keeps_what_is_observed():
    system = systems.get("slow-fast-d")
    seen = np.random.default_rng(0).standard_normal((5, 2))
    np.testing.assert_array_equal(system.observe(system.lift(seen)), seen)


# --- the effective SDE ---------------------------------------------------------------------------


def test_effective_paths_are_those_of_an_ornstein_uhlenbeck_process():
    pull = np.array([[1.0, 0.5], [-0.5, 1.0]])
    square = np.array([[0.4, 0.1], [0.1, 0.2]])
    process = EffectiveSDE(
        lambda x: -x @ pull.T, lambda x: np.broadcast_to(square, (len(x), 2, 2)), 2
    )
    start = np.tile([1.0, -1.0], (4000, 1))
    found = process.paths(start, np.array([0.0, 0.3, 0.7]), np.random.default_rng(0), step=0.002)
    decay = np.exp(-0.7) * np.array([[np.cos(0.35), -np.sin(0.35)], [np.sin(0.35), np.cos(0.35)]])
    assert_mean(found[:, -1], decay @ [1.0, -1.0], bias=2e-3)
    points = process.stationary_points(3000)
    assert_mean(points[::7, :, None] * points[::7, None, :], _lyapunov(pull, square), bias=5e-3)


def _lyapunov(pull, square):
    from scipy.linalg import solve_continuous_lyapunov

    return solve_continuous_lyapunov(pull, square)


def test_points_of_one_component_are_quantiles_of_the_gaussian_they_come_from():
    process = EffectiveSDE(lambda x: -x, lambda x: np.full((len(x), 1, 1), 2.0), 1)
    points = process.stationary_points(999)
    assert points[499, 0] == pytest.approx(0, abs=1e-6)
    assert points[int(0.975 * 999), 0] == pytest.approx(1.96, abs=0.01)
