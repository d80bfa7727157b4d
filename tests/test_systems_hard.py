"""What all systems share: coarse grids, extrapolation, and baselines that fail on hard ones."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from pyro_msm import data
from pyro_msm.data import systems
from pyro_msm.data.systems import coarsening
from pyro_msm.data.systems.burgers import Burgers
from pyro_msm.data.systems.initial import several, uniform_in
from pyro_msm.data.systems.kdv import KdV
from pyro_msm.errors import InputError
from pyro_msm.forecasting.baselines import InitialRegression, MeanTrajectory
from pyro_msm.scores import relative_error

SOLVED = [
    name
    for name in systems.names()
    if name != "cylinder-2d" and systems.get(name).variable == "field"
]
SMALL = {"burgers-2d": 32, "burgers-2d-hard": 32, "shallow-water-2d": 32}
SMALL["shallow-water-2d-hard"] = 32


@pytest.mark.parametrize("name", SOLVED)
def test_a_coarse_system_starts_from_averages_and_comes_back(name):
    system = systems.get(name, points=SMALL.get(name, 200))
    start = system.observe(system.initial_condition(np.random.default_rng(0), 2))
    coarse = system.coarse(8)
    averages = system.restrict(start, 8)
    assert averages.shape == (*start.shape[:2], *[8] * (start.ndim - 2))
    after = coarse.observe(coarse.step(coarse.lift(averages), 0.0, 1e-3))
    # Over a thousandth of the time the averages barely move; dealiasing takes part of their shape.
    scale = np.abs(averages).max()
    assert_allclose(after.mean((-1, 0)), averages.mean((-1, 0)), atol=0.02 * scale)
    assert np.linalg.norm(after - averages) < 0.6 * np.linalg.norm(averages)
    assert system.prolong(after).shape == start.shape


def test_restriction_averages_and_prolongation_interpolates():
    field = np.random.default_rng(0).standard_normal((2, 12, 8))
    coarse = coarsening.restrict(field, (3, 4))
    assert_allclose(coarse[1, 2, 0], field[1, 8:12, 0:2].mean())
    line = np.arange(10.0)
    fine = coarsening.prolong(line, (40,), ["open"])
    assert_allclose(fine[8:-8], ((np.arange(40) + 0.5) / 4 - 0.5)[8:-8])
    for boundary in ("periodic", "wall", "open"):
        assert_allclose(coarsening.prolong(np.full(4, 3.0), (12,), [boundary]), 3.0)
    with pytest.raises(InputError, match="200 grid points cannot be averaged onto 30"):
        systems.get("kdv-1d", points=200).restrict(np.zeros((1, 1, 200)), 30)


@pytest.mark.parametrize(("boundary", "phase"), [("periodic", 0.3), ("wall", 0.0)])
def test_prolongation_of_averages_converges(boundary, phase):
    """Second order: an average differs from the value in the middle by h²u''/24."""
    x = (np.arange(960) + 0.5) / 960
    field = np.cos(2 * np.pi * x + phase)
    errors = [
        np.abs(coarsening.prolong(coarsening.restrict(field, (n,)), (960,), [boundary]) - field)
        for n in (20, 40, 80)
    ]
    largest = [error.max() for error in errors]
    assert_allclose(np.log2(np.divide(largest[:-1], largest[1:])), 2.0, atol=0.15)


def test_intervals_are_drawn_in_proportion_to_their_length():
    drawn = uniform_in(np.random.default_rng(0), 4000, [[(-3.0, -2.0), (5.0, 8.0)]])[:, 0]
    # 1000 ± 27 of 4000 in the shorter one: five standard deviations.
    assert abs((drawn < 0).sum() - 1000) < 137
    assert ((drawn <= -2) | (drawn >= 5)).all()
    assert_allclose(drawn[drawn > 0].mean(), 6.5, atol=5 * 0.866 / np.sqrt(2860))


def test_pulses_that_are_absent_have_no_amplitude():
    table = several(np.random.default_rng(1), 50, 3, [[(1.0, 2.0)], [(3.0, 4.0)]])
    amplitude = table.reshape(50, 3, 2)[..., 0]
    present = amplitude > 0
    assert present[:, 0].all()
    assert (present[:, 1] >= present[:, 2]).all()


@pytest.mark.parametrize(
    "name", ["wave-1d", "wave-1d-hard", "wave-1d-second-order", "kdv-1d-hard", "burgers-1d-hard",
             "burgers-2d-hard", "shallow-water-2d", "shallow-water-2d-hard"],
)  # fmt: skip
def test_extrapolation_lies_outside_the_training_range(name):
    system = systems.get(name)
    inside, outside = (
        system.initial_parameters(np.random.default_rng(0), 300, further)
        for further in (False, True)
    )
    # The first quantity of the first pulse is always there.
    inside, outside = np.abs(inside[:, 0]), np.abs(outside[:, 0])
    apart = (outside < inside.min()) | (outside > inside.max())
    assert apart.all()


def test_hard_systems_use_the_same_scheme():
    state = systems.get("kdv-1d-hard").initial_condition(np.random.default_rng(0), 2)
    expected = KdV(scheme="spectral").step(state, 0.0, 0.01)
    assert_array_equal(systems.get("kdv-1d-hard").step(state, 0.0, 0.01), expected)
    state = systems.get("burgers-1d-hard").initial_condition(np.random.default_rng(0), 2)
    expected = Burgers().step(state, 0.0, 0.01)
    assert_array_equal(systems.get("burgers-1d-hard").step(state, 0.0, 0.01), expected)


def test_hard_kdv_conserves_mass_and_energy_out_of_range_too():
    kdv = systems.get("kdv-1d-hard")
    start = np.concatenate(
        [kdv.initial_condition(np.random.default_rng(3), 3, further) for further in (False, True)]
    )
    after = kdv.step(start, 0.0, 1.0)
    assert_allclose(after.sum(-1), start.sum(-1), atol=1e-9)
    assert_allclose((after**2).sum(-1), (start**2).sum(-1), rtol=1e-5)


def test_hard_burgers_resolves_its_shocks_out_of_range_too():
    coarse = systems.get("burgers-1d-hard", frames=11)
    start = coarse.initial_condition(np.random.default_rng(3), 6, extrapolation=True)
    fine = systems.get("burgers-1d-hard", points=2000)
    doubled = np.fft.irfft(np.fft.rfft(start) * 2, 2000)
    after, reference = coarse.step(start, 0.0, 0.5), fine.step(doubled, 0.0, 0.5)[..., ::2]
    error = np.linalg.norm(after - reference, axis=-1) / np.linalg.norm(reference, axis=-1)
    assert error.max() < 0.02
    # No new extremes but those of central differences at a shock.
    assert np.abs(after).max() < 1.05 * np.abs(start).max()


@pytest.mark.parametrize("name", ["wave-1d-hard", "kdv-1d-hard", "burgers-1d-hard"])
def test_trivial_baselines_fail_on_hard_systems(name):
    options = {"points": 250} if name == "kdv-1d-hard" else {}
    system = systems.get(name, frames=21, **options)
    simulated = system.simulate(system.trajectories, seed=1)
    test = data.select(simulated, "test")
    for baseline in (MeanTrajectory(), InitialRegression()):
        forecast = baseline.fit(simulated).forecast(test.isel(time=[0]), test["time"].values[1:])
        error = relative_error(forecast["field"].values, test["field"].values[:, 1:])
        assert np.nanmean(error) > 0.4
