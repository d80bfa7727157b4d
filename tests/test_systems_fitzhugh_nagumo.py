"""The FitzHugh–Nagumo solvers against a method of lines, and their published data."""

from functools import cache

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import solve_ivp

from pyro_msm import data
from pyro_msm.data import systems
from pyro_msm.data.systems.fitzhugh_nagumo import FRONT, LENGTH, PUBLISHED


def fitzhugh_nagumo(**options):
    return systems.get("fitzhugh-nagumo", **options)


def mean_absolute_difference(found, truth):
    """Mean over time and space, in units of each channel's range, (channel,)."""
    ranges = truth.max((0, 2)) - truth.min((0, 2))
    return np.abs(found - truth).mean((0, 2)) / ranges


def record(system, state, count, duration):
    """What is observed of the first trajectory, (time, channel, x)."""
    found = []
    for index in range(count):
        state = system.step(state, index * duration, duration)
        found.append(system.observe(state)[0])
    return np.array(found)


@cache
def method_of_lines(points, until, count):
    """The test trajectory by second-order differences and a stiff solver, from time -2 on."""
    x, spacing = np.linspace(0, LENGTH, points), LENGTH / (points - 1)

    def bent(values):
        mirrored = np.pad(values, 1, mode="reflect")
        return (mirrored[2:] - 2 * values + mirrored[:-2]) / spacing**2

    def rate(_, state):
        u, v = state.reshape(points, 2).T
        slow = 0.006 * (u - 2 * v + 0.03)
        return np.stack([bent(u) + u - u**3 - v, 4 * bent(v) + slow], axis=1).ravel()

    level, size, place, *waves = PUBLISHED[5]
    u = level + size * np.tanh((x - place) / FRONT)
    v = sum(c * np.cos(k * np.pi * x / LENGTH) for k, c in enumerate(waves))
    times = np.linspace(2, 2 + until, count + 1)
    start = np.stack([u, v], axis=1).ravel()
    how = {"rtol": 1e-7, "atol": 1e-9, "lband": 2, "uband": 2}
    solved = solve_ivp(rate, (0, 2 + until), start, "LSODA", times, **how)
    return solved.y.reshape(points, 2, -1).transpose(2, 1, 0)


@pytest.mark.parametrize(
    ("options", "points", "least", "most"),
    [
        # The walls of the public code are that far from no flux: more or less would be others.
        ({"scheme": "lattice-boltzmann"}, 101, 1e-3, 7e-3),
        ({"scheme": "strang", "time_step": 0.05}, 301, 0.0, 3e-4),
    ],
)
def test_both_schemes_against_a_method_of_lines(options, points, least, most):
    truth = method_of_lines(points, 60.0, 30)[1:, :, :: (points - 1) // 100]
    system = fitzhugh_nagumo(**options)
    found = record(system, system.initial_state(PUBLISHED[5:]), 30, 2.0)
    error = mean_absolute_difference(found, truth)
    assert (error < most).all()
    assert (error > least).all()


def test_strang_splitting_is_of_second_order():
    start = fitzhugh_nagumo(scheme="strang", time_step=0.01).initial_state(PUBLISHED[:2])
    ends = [
        fitzhugh_nagumo(scheme="strang", time_step=step).step(start, 0.0, 4.0)
        for step in (0.4, 0.2, 0.1, 0.01)
    ]
    errors = [np.abs(end - ends[-1]).max() for end in ends[:-1]]
    assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 2.0, atol=0.15)


def test_the_limit_cycle_has_the_known_period():
    system = fitzhugh_nagumo(scheme="strang", time_step=0.1)
    state = system.step(system.initial_state(PUBLISHED[5:]), 0.0, 100.0)
    mean = record(system, state, 420, 1.0)[:, 1].mean(-1)
    before = np.flatnonzero((mean[:-1] < 0) & (mean[1:] >= 0))
    crossings = before + mean[before] / (mean[before] - mean[before + 1])
    assert_allclose(np.diff(crossings), 186.0, atol=1.5)


def test_collisions_conserve_what_the_reaction_does_not_change():
    """A bump of v away from the walls loses only what the reaction takes."""
    system = fitzhugh_nagumo()
    x = system.grid()["x"]
    v = np.exp(-((x - 10) ** 2))
    after = system.observe(system.step(system.lift(np.stack([0 * v, v])[None]), 0.0, 0.1))[0]
    # d/dt Σv = ε Σ(u - 2v + 0.03), where u = -tv for so short a time t.
    change = 0.006 * (0.1 * (-2 * v.sum() + 0.03 * 101) - 0.1**2 / 2 * v.sum())
    assert_allclose(after[1].sum() - v.sum(), change, rtol=0.01)


def test_lifting_keeps_the_observation_and_time_steps_chain():
    for scheme in ("lattice-boltzmann", "strang"):
        system = fitzhugh_nagumo(scheme=scheme)
        state = system.initial_condition(np.random.default_rng(0), 3)
        seen = system.observe(state)
        assert seen.shape == (3, 2, 101)
        assert_allclose(system.observe(system.lift(seen)), seen, rtol=1e-14)
        whole = system.step(state, 0.0, 0.04)
        parts = system.step(system.step(state, 0.0, 0.02), 0.02, 0.02)
        assert_allclose(parts, whole, atol=1e-12)
        assert_allclose(system.step(state[1:2], 0.0, 0.04), whole[1:2], atol=1e-14)


def test_the_published_initial_conditions_come_first():
    made = fitzhugh_nagumo(scheme="strang", time_step=0.5).simulate(
        {"train": 4, "validation": 2, "test": 1, "extrapolation": 1}, seed=3, frames=2, end_time=1.0
    )
    rows = made["initial_parameters"].values
    assert_array_equal(rows[:3], PUBLISHED[:3])
    assert_array_equal(rows[4:7], PUBLISHED[3:])
    assert not (rows[3] == PUBLISHED).all(1).any()
    assert abs(rows[7, 3]) >= 0.14
    assert data.validate(made)["field"].shape == (8, 2, 2, 101)
    assert fitzhugh_nagumo().trajectories == {"train": 3, "validation": 2, "test": 1}
