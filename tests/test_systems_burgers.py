"""The Burgers solver against the Cole–Hopf transformation."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import erf, logsumexp

from pyro_msm.data import systems
from pyro_msm.data.systems.initial import normal_above
from pyro_msm.errors import InputError


def cole_hopf_wave(x, t, viscosity, strength=0.9, k=2 * np.pi):
    """u = -2ν φ_x/φ with φ = 1 + c exp(-νk²t) cos kx, a periodic solution of the heat equation."""
    decayed = strength * np.exp(-viscosity * k**2 * t)
    return 2 * viscosity * k * decayed * np.sin(k * x) / (1 + decayed * np.cos(k * x))


def cole_hopf_pulse(x, t, amplitude, width, viscosity):
    """The solution from a exp(-(x-½)²/w) on the whole line (Whitham, 1974, eq. 4.14)."""
    y = np.linspace(-1, 2, 12001)
    area = amplitude * np.sqrt(np.pi * width) / 2 * erf((y - 0.5) / np.sqrt(width))
    exponent = -(area + (x[:, None] - y) ** 2 / (2 * t)) / (2 * viscosity)
    weights = np.exp(exponent - logsumexp(exponent, axis=1, keepdims=True))
    return ((x[:, None] - y) / t * weights).sum(1)


def burgers(**options):
    return systems.get("burgers-1d", **options)


def test_published_pulse_follows_cole_hopf_through_the_shock():
    system = burgers()
    x = system.grid()["x"]
    state = system.initial_state(np.array([[0.25, 0.01]]))
    for _ in range(2):
        state = system.step(state, 0.0, 0.5)
    exact = cole_hopf_pulse(x, 1.0, 0.25, 0.01, 5e-4)
    assert np.abs(np.gradient(exact, x)).max() > 10  # a shock indeed
    assert np.linalg.norm(state[0, 0] - exact) / np.linalg.norm(exact) < 3e-3


def test_space_is_of_second_order():
    errors = []
    for points in (32, 64, 128):
        system = burgers(points=points, viscosity=0.05)
        x = system.grid()["x"]
        after = system.integrate(cole_hopf_wave(x, 0.0, 0.05), 1e-4, 2000)
        errors.append(np.abs(after - cole_hopf_wave(x, 0.2, 0.05)).max())
    assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 2.0, atol=0.2)


def test_heun_is_of_second_order_in_time():
    system = burgers(points=64, viscosity=0.05)
    start = cole_hopf_wave(system.grid()["x"], 0.0, 0.05)
    reference = system.integrate(start, 0.2 / 6400, 6400)
    errors = [
        np.abs(system.integrate(start, 0.2 / n, n) - reference).max() for n in (100, 200, 400)
    ]
    assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 2.0, atol=0.15)


def test_finer_grids_take_steps_that_stay_stable():
    system = burgers(points=2000)
    state = system.initial_condition(np.random.default_rng(0))
    # Five times the published grid's step would be unstable; noise would show it.
    state = state + 1e-3 * np.random.default_rng(1).standard_normal(state.shape)
    after = system.step(state, 0.0, 0.05)
    assert np.abs(after).max() <= np.abs(state).max()
    with np.errstate(all="ignore"):
        assert not np.isfinite(system.integrate(state, 1e-3, 200)).all()


def test_mass_is_conserved_only_as_far_as_the_advective_form_does():
    system = burgers()
    start = system.initial_condition(np.random.default_rng(4), 3)
    after = system.step(start, 0.0, 1.0)
    assert_allclose(after.sum(-1), start.sum(-1), rtol=1e-6)


def test_published_sizes():
    data = burgers().simulate(frames=2)
    assert (data["split"] == "train").sum() == 8
    assert data.sizes["trajectory"] == 10
    assert_allclose(data["x"], np.arange(1000) / 1000)
    assert data.attrs["noise_std"] == 1e-3


def test_data_stay_finite_far_outside_the_training_range():
    data = burgers().simulate({"extrapolation": 8}, frames=11)
    assert np.isfinite(data["clean"]).all()
    assert (data["initial_parameters"] > 0).all()


def test_impossible_quantities_are_drawn_again():
    drawn = normal_above(np.random.default_rng(0), 200, (0.0, 0.0), (1.0, 1.0), (0.0, 0.5))
    assert (drawn > [0.0, 0.5]).all()


def test_restarting_and_batching_change_nothing():
    system = burgers(points=100)
    start = system.initial_condition(np.random.default_rng(0), 3)
    halfway = system.step(start, 0.0, 0.01)
    whole = system.step(halfway, 0.01, 0.01)
    assert_allclose(whole, system.step(start, 0.0, 0.02), atol=1e-14)
    assert_array_equal(system.step(halfway[2:], 0.01, 0.01), whole[2:])


def test_a_solution_that_blows_up_is_told():
    class Unstable(systems.Burgers):
        def step(self, state, t, duration, generator=None):
            return state * 1e200

    with pytest.raises(InputError, match=r"does not stay finite .* t=0\.1\)"):
        Unstable(frames=11).simulate({"train": 1})
