"""Particles in a box against their exact density, and that against its equation."""

from functools import cache

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import solve_ivp

from pyro_msm import data
from pyro_msm.data import systems
from pyro_msm.data.systems.fokker_planck import AxisDensity, exact_runs
from pyro_msm.errors import InputError

#: Two-sided normal quantile of a false-alarm rate of 1e-6.
SIGMAS = 4.9


def streams(count, seed=0):
    return [np.random.default_rng(each) for each in np.random.SeedSequence(seed).spawn(count)]


@pytest.mark.parametrize(
    ("name", "axis", "start"),
    [("advection-diffusion-1d", 0, 25.0), *(("advection-diffusion-3d", i, 2.0) for i in range(3))],
)
def test_particles_have_the_moments_of_the_exact_density(name, axis, start):
    system = systems.get(name, points=20_000, time_step=0.01)
    state = system.initial_state(np.array([[start]]))
    exact = AxisDensity(system, axis)
    density, t = exact.at(0.0), start
    for duration in (0.2, 1.8, 2.0):
        state = system.step(state, t, duration, streams(1, round(10 * t)))
        density, t = exact.step(density, t, duration), t + duration
        x = state[0, :, axis]
        mean, variance = exact.moments(density)
        assert_allclose(x.mean(), mean, atol=SIGMAS * np.sqrt(variance / len(x)))
        fourth = exact_central(exact, density, mean, 4)
        assert_allclose(x.var(), variance, atol=SIGMAS * np.sqrt((fourth - variance**2) / len(x)))
        assert np.abs(state).max() <= 0.5
    places = np.sort(x)
    distance = np.abs(exact.distribution(density, places) - (np.arange(len(x)) + 0.5) / len(x))
    assert distance.max() < np.sqrt(np.log(2 / 1e-6) / (2 * len(x)))  # Dvoretzky–Kiefer–Wolfowitz


def exact_central(exact, density, mean, power):
    x = np.linspace(-0.5, 0.5, 4001)
    return np.trapezoid(exact.density(density, x) * (x - mean) ** power, x)


def test_the_density_against_a_quadrature_of_one_step():
    """∫ p(x) K(y; x) dx with the Gaussian kernel and its mirror images."""
    system = systems.get("advection-diffusion-1d", time_step=0.01)
    exact = AxisDensity(system)
    before = exact.step(exact.at(0.1), 3.0, 0.5)
    after = exact.step(before, 3.5, 0.01)
    y, std = np.linspace(-0.5, 0.5, 41), np.sqrt(system.diffusion * 0.01)
    x, weight = np.polynomial.legendre.leggauss(400)
    x, weight = x / 2, weight / 2
    moved = x + 0.01 * np.cos(0.1 * 3.5)
    kernel = sum(
        np.exp(-0.5 * ((target - moved) / std) ** 2)
        for turn in (-2, 0, 2)
        for target in (y[:, None] + turn, 1 - y[:, None] + turn)
    ) / (std * np.sqrt(2 * np.pi))
    expected = kernel @ (weight * exact.density(before, x))
    assert_allclose(exact.density(after, y), expected, atol=1e-9)


@cache
def of_the_process(until):
    """Mean of the process itself by finite volumes: p_t = -cos(0.1 t) p_x + 0.1 p_xx, no flux."""
    cells = 400
    x = (np.arange(cells) + 0.5) / cells - 0.5
    start = 1e-3  # by when all of it is a narrow Gaussian
    p = np.exp(-0.5 * ((x - start) ** 2) / (0.2 * start)) / np.sqrt(2 * np.pi * 0.2 * start)

    def rate(t, p):
        flux = np.cos(0.1 * t) * (p[1:] + p[:-1]) / 2 - 0.1 * np.diff(p) * cells
        return -np.diff(np.concatenate([[0.0], flux, [0.0]])) * cells

    how = {"rtol": 1e-7, "atol": 1e-8, "lband": 1, "uband": 1}
    solved = solve_ivp(rate, (start, until), p, "LSODA", [until], **how)
    return float(x @ solved.y[:, -1] / cells)


def test_the_chain_tends_to_the_fokker_planck_equation():
    errors = []
    for step in (4e-3, 2e-3, 1e-3):
        exact = AxisDensity(systems.get("advection-diffusion-1d", time_step=step))
        mean, _ = exact.moments(exact.step(exact.at(0.0), 0.0, 5.0))
        errors.append(abs(float(mean) - of_the_process(5.0)))
    assert errors[-1] < 6e-4
    assert_allclose(np.divide(errors[:-1], errors[1:]), 2.0, atol=0.35)


def test_densities_of_many_phases_at_once_and_drawn_from():
    exact = AxisDensity(systems.get("advection-diffusion-1d", time_step=0.01))
    phases = np.array([0.0, 20.0, 40.0])
    both = exact.step(np.stack([exact.at(0.0)] * 3), phases, 1.0)
    assert_allclose(both[1], exact.step(exact.at(0.0), 20.0, 1.0), atol=1e-12)
    assert_allclose(exact.distribution(both, np.array([-0.5, 0.5])), [[0.0, 1.0]] * 3, atol=1e-9)
    drawn = exact.sample(both[0], 40_000, np.random.default_rng(0))
    mean, variance = exact.moments(both[0])
    assert_allclose(drawn.mean(), mean, atol=SIGMAS * np.sqrt(variance / len(drawn)))
    assert_allclose(drawn.var(), variance, rtol=0.05)


def test_runs_of_the_exact_law_are_those_of_the_simulation():
    """Mean over runs of M1 and of M2, at two times, on every axis."""
    system = systems.get("advection-diffusion-3d", points=100, time_step=0.01)
    times, runs = np.array([0.5, 1.5]), 60
    drawn = exact_runs(system, 4.0, times, runs, np.random.default_rng(0))
    assert drawn.shape == (runs, 2, 100, 3)
    generators = streams(runs)
    state = system.step(system.initial_state(np.zeros((runs, 1))), 4.0, 0.5, generators)
    later = system.step(state, 4.5, 1.0, generators)
    for number, simulated in enumerate((state, later)):
        for moment in (np.mean, np.var):
            one, other = moment(drawn[:, number], axis=1), moment(simulated, axis=1)
            error = np.sqrt((one.var(0) + other.var(0)) / runs)
            assert (np.abs(one.mean(0) - other.mean(0)) < SIGMAS * error).all()


def test_a_walk_can_be_stopped_and_goes_on():
    system = systems.get("advection-diffusion-3d", points=300)
    start, stops = system.initial_state(np.zeros((2, 1))), np.array([1.0, 7.0])
    whole = system.step(start, stops, 0.4, streams(2))
    halves = streams(2)
    middle = system.step(start, stops, 0.25, halves)
    assert_allclose(system.step(middle, stops + 0.25, 0.15, halves), whole, atol=1e-13)
    alone = system.step(start[1:], 7.0, 0.4, streams(2)[1:])
    assert_array_equal(alone, whole[1:])


def test_a_dataset_holds_the_drift_and_where_in_time_it_starts():
    system = systems.get("advection-diffusion-3d", time_step=0.01, points=50)
    counts = {"train": 1, "validation": 1, "test": 2}
    made = data.validate(system.simulate(counts, seed=1, frames=5, end_time=2.0))
    assert dict(made["particles"].sizes) == {
        "trajectory": 4, "time": 5, "particle": 50, "component": 3,
    }  # fmt: skip
    begun = made["initial_parameters"].values[:, 0]
    assert len(set(begun)) == 4
    assert ((begun >= 0) & (begun < 10 * np.pi)).all()
    absolute = begun[:, None] + made["time"].values
    assert_allclose(made["forcing"].values[..., 1], 1.5 * np.cos(absolute))
    assert_allclose(made["forcing"].values[..., 2], 0.0)
    # The particles of a trajectory follow its own drift.
    system = systems.get("advection-diffusion-1d", time_step=0.01)
    made = system.simulate({"train": 6}, seed=2, frames=2, end_time=1.0)
    exact = AxisDensity(system)
    for trajectory in range(6):
        begun = float(made["initial_parameters"][trajectory, 0])
        mean, variance = exact.moments(exact.step(exact.at(0.0), begun, 1.0))
        found = made["particles"].values[trajectory, 1].mean()
        assert_allclose(found, mean, atol=SIGMAS * np.sqrt(variance / 1000))


def test_what_it_needs_is_said(tmp_path):
    system = systems.get("advection-diffusion-1d", points=10)
    with pytest.raises(InputError, match="step needs a generator for each trajectory"):
        system.step(system.initial_state(np.zeros((1, 1))), 0.0, 1.0)
    with pytest.raises(InputError, match="expected a smaller time_step"):
        systems.get("advection-diffusion-1d", diffusion=2.0, time_step=0.1)
    system.simulate_to(tmp_path / "ad.nc", {"train": 2, "test": 1}, frames=3, end_time=0.1)
    expected = data.validate(system.simulate({"train": 2, "test": 1}, frames=3, end_time=0.1))
    xr.testing.assert_equal(data.open(tmp_path / "ad.nc"), expected)
