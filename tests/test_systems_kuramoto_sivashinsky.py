"""The Kuramoto–Sivashinsky solver: its linear growth, its order, its attractor."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from pyro_msm import data
from pyro_msm.data import systems


def kuramoto_sivashinsky(**options):
    return systems.get("kuramoto-sivashinsky", **options)


@pytest.mark.parametrize("wave", [1, 2, 3, 5])
def test_small_waves_grow_or_decay_as_the_dispersion_relation_says(wave):
    system = kuramoto_sivashinsky()
    k = 2 * np.pi * wave / 22
    small = 1e-8 * np.cos(k * system.grid()["x"])[None, None]
    after = system.step(small, 0.0, 2.0)
    assert_allclose(after, np.exp(2 * (k**2 - k**4)) * small, atol=1e-14)


def test_a_travelling_frame_changes_nothing():
    """u(x - ct, t) + c solves the equation where u does."""
    system = kuramoto_sivashinsky()
    state = system.initial_condition(np.random.default_rng(0), 1)
    moved = system.step(state + 2.0, 0.0, 11.0)  # once around
    assert_allclose(moved - 2.0, system.step(state, 0.0, 11.0), atol=1e-5)


def test_time_stepping_is_of_fourth_order():
    state = kuramoto_sivashinsky().initial_condition(np.random.default_rng(1), 2)
    ends = [
        kuramoto_sivashinsky(time_step=step).step(state, 0.0, 10.0)
        for step in (0.05, 0.025, 0.0125, 0.0025)
    ]
    errors = [np.linalg.norm(end - ends[-1]) for end in ends[:-1]]
    assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 4.0, atol=0.25)


def test_the_mean_and_the_empty_nyquist_wave_are_conserved():
    system = kuramoto_sivashinsky(time_step=0.1)
    state = system.initial_condition(np.random.default_rng(2), 3)
    after = system.step(state, 0.0, 5.0)
    assert_allclose(after.mean(-1), 0.0, atol=1e-13)
    assert_allclose(np.fft.rfft(after)[..., -1], 0.0, atol=1e-11)
    assert_allclose(system.step(state[1:2], 0.0, 5.0), after[1:2], atol=1e-9)


def test_records_start_on_the_attractor():
    made = kuramoto_sivashinsky(time_step=0.25).simulate(
        {"train": 1, "test": 4}, seed=0, frames=1200, end_time=300.0
    )
    field = data.validate(made)["field"].values
    assert field.shape == (5, 1200, 1, 64)
    assert_allclose(field.std(), 1.18, atol=0.06)
    assert_allclose(field[:, 0].std(), 1.18, atol=0.25)
    # No two of them alike, and the same ones again from the same seed.
    assert np.abs(np.corrcoef(field[:, 0, 0])[np.triu_indices(5, 1)]).max() < 0.95
    again = kuramoto_sivashinsky(time_step=0.25).simulate(
        {"test": 1}, seed=0, frames=2, end_time=0.25
    )
    assert_array_equal(again["field"].values[0, 0], field[1, 0])


@pytest.mark.slow
def test_the_largest_lyapunov_exponent():
    """Between 0.046 (ours) and 0.048 (published); the mean of 40 records, ± 0.0015."""
    system = kuramoto_sivashinsky(time_step=0.1)
    rng, count, size, each = np.random.default_rng(1), 40, 1e-7, 2.0
    state = system.initial_condition(rng, count)
    error = rng.standard_normal(state.shape)
    error -= error.mean(-1, keepdims=True)
    growth = []
    for _ in range(250):
        error *= size / np.sqrt(np.square(error).mean((1, 2), keepdims=True))
        both = system.step(np.concatenate([state, state + error]), 0.0, each)
        state, error = both[:count], both[count:] - both[:count]
        growth.append(np.log(np.sqrt(np.square(error).mean((1, 2))) / size) / each)
    assert_allclose(np.mean(growth[25:]), 0.047, atol=0.004)
