"""The Korteweg–de Vries solver against solitons, LSODA and the theory of its stencil."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import solve_ivp

from pyro_msm.data import systems
from pyro_msm.errors import InputError

DELTA = 0.02
LENGTH = 10.0


def soliton(x, t, speed, start=3.0):
    """The solitary wave of u_t + u u_x + δ u_xxx = 0 (Drazin and Johnson, 1989, section 1.3)."""
    distance = (x - start - speed * t + LENGTH / 2) % LENGTH - LENGTH / 2
    return 3 * speed / np.cosh(0.5 * np.sqrt(speed / DELTA) * distance) ** 2


def spectral(points=256):
    return systems.get("kdv-1d", scheme="spectral", points=points)


@pytest.mark.parametrize("speed", [0.5, 1.0])
def test_soliton_keeps_its_speed_and_shape(speed):
    kdv = spectral()
    x = kdv.grid()["x"]
    after = kdv.step(soliton(x, 0.0, speed)[None, None], 0.0, 1.0)[0, 0]
    assert_allclose(after, soliton(x, 1.0, speed), atol=1e-6 * 3 * speed)


def test_a_soliton_that_crosses_the_seam_comes_back_in():
    kdv = spectral()
    x = kdv.grid()["x"]
    after = kdv.step(soliton(x, 0.0, 1.0, start=9.5)[None, None], 0.0, 1.0)[0, 0]
    assert_allclose(after, soliton(x, 1.0, 1.0, start=9.5), atol=3e-6)


def test_time_stepping_is_of_fourth_order():
    kdv = spectral(128)
    start = soliton(kdv.grid()["x"], 0.0, 1.0)
    reference = kdv.integrate(start, 0.4 / 1600, 1600)
    errors = [np.abs(kdv.integrate(start, 0.4 / n, n) - reference).max() for n in (50, 100, 200)]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert_allclose(orders, 4.0, atol=0.35)


def test_spectral_scheme_conserves_mass_and_energy():
    kdv = spectral(1000)
    start = kdv.initial_condition(np.random.default_rng(1), 2)
    after = kdv.step(start, 0.0, 0.5)
    assert_allclose(after.sum(-1), start.sum(-1), atol=1e-9)
    assert_allclose((after**2).sum(-1), (start**2).sum(-1), rtol=1e-6)


def test_published_scheme_agrees_with_a_precise_general_solver():
    kdv = systems.get("kdv-1d", points=200)
    spacing = LENGTH / 200

    def rate(_, u):
        slope = (np.roll(u, -1) - np.roll(u, 1)) / (2 * spacing)
        third = np.roll(u, -2) - 3 * np.roll(u, -1) + 3 * u - np.roll(u, 1)
        return -u * slope - DELTA * third / spacing**3

    start = kdv.initial_condition(np.random.default_rng(0))
    solution = solve_ivp(rate, (0, 0.2), start[0, 0], method="LSODA", rtol=1e-8, atol=1e-10)
    after = kdv.step(start, 0.0, 0.2)[0, 0]
    assert_allclose(after, solution.y[:, -1], atol=1e-6)


@pytest.mark.parametrize("wave", [10, 20])
def test_published_stencil_damps_waves_as_its_hyperviscosity_says(wave):
    kdv = systems.get("kdv-1d")
    k = 2 * np.pi * wave / LENGTH
    small = 1e-7 * np.cos(k * kdv.grid()["x"])[None, None]
    left = np.linalg.norm(kdv.step(small, 0.0, 0.1)) / np.linalg.norm(small)
    hyperviscosity = DELTA * kdv.spacing[0] / 2
    assert_allclose(np.log(left), -hyperviscosity * k**4 * 0.1, rtol=0.01)


def test_published_data_lose_a_tenth_of_their_energy_and_stay_near_the_true_equation():
    options = {"frames": 11, "seed": 0}
    published = systems.get("kdv-1d").simulate({"test": 3}, **options)["clean"].values
    true = systems.get("kdv-1d").simulate({"test": 3}, scheme="spectral", **options)["clean"].values
    energy = (published.astype(float) ** 2).sum(-1)
    assert_allclose(energy[:, -1] / energy[:, 0], 0.9, atol=0.03)
    error = np.linalg.norm(published - true, axis=-1) / np.linalg.norm(true, axis=-1)
    assert_allclose(error[:, -1], 0.115, atol=0.04)


def test_a_run_can_be_stopped_and_restarted_anywhere():
    kdv = systems.get("kdv-1d", points=200)
    start = kdv.initial_condition(np.random.default_rng(2), 3)
    halfway = kdv.step(start, 0.0, 0.0123)
    whole = kdv.step(halfway, 0.0123, 0.0077)
    assert_allclose(whole, kdv.step(start, 0.0, 0.02), atol=1e-9)
    assert_array_equal(kdv.step(halfway[1:2], 0.0123, 0.0077), whole[1:2])


def test_published_sizes_and_form():
    data = systems.get("kdv-1d").simulate(frames=2)
    assert dict(data.sizes) == {
        "trajectory": 20,
        "time": 2,
        "channel": 1,
        "x": 1000,
        "initial_parameter": 2,
    }
    names, counts = np.unique(data["split"], return_counts=True)
    assert dict(zip(names.tolist(), counts.tolist(), strict=True)) == {
        "test": 5,
        "train": 10,
        "validation": 5,
    }
    assert data["field"].dtype == data["clean"].dtype == np.float32
    assert data.attrs["boundary"] == ["periodic"]
    assert data.attrs["domain"] == [10.0]
    noise = (data["field"] - data["clean"]).values
    # 40,000 normal values: a standard error of 0.0035 relative, so five of them.
    assert_allclose(noise.std(), 0.01, rtol=0.018)
    first = systems.get("kdv-1d").simulate(frames=2, variant="first-readme")
    assert first.sizes["trajectory"] == 10


def test_published_initial_condition_of_both_variants():
    x = np.linspace(0, 10, 1000)
    for variant, power in (("paper", 2), ("first-readme", 1)):
        kdv = systems.get("kdv-1d", variant=variant)
        state = kdv.initial_state(np.array([[2.1, 0.9]]))
        expected = 2.1 * np.cos(np.pi * x) * np.exp(-((x - 7.5) ** 2) / 0.9**power)
        assert_allclose(state[0, 0], expected, atol=1e-14)


def test_larger_datasets_extend_smaller_ones():
    kdv = systems.get("kdv-1d", points=64, frames=4)
    small = kdv.simulate({"train": 2, "test": 1}, seed=5)
    large = kdv.simulate({"train": 4, "validation": 1, "test": 2}, seed=5)
    assert_array_equal(small["field"][:2], large["field"][:2])
    assert_array_equal(small["field"][2], large["field"][5])
    other = kdv.simulate({"train": 2, "test": 1}, seed=6)
    assert not np.allclose(small["clean"], other["clean"])


def test_extrapolation_lies_outside_the_range_of_training():
    parameters = systems.get("kdv-1d").initial_parameters(np.random.default_rng(3), 500, True)
    deviation = np.abs(parameters - [2.0, 1.0]) / 0.1
    assert deviation.min() >= 3 - 1e-9
    assert deviation.max() <= 5 + 1e-9


def test_coarse_version_is_the_same_system_on_fewer_points():
    coarse = systems.get("kdv-1d", scheme="spectral").coarse(20)
    state = coarse.initial_condition(np.random.default_rng(0), 2)
    assert state.shape == (2, 1, 20)
    assert coarse.scheme == "spectral"
    assert_allclose(coarse.spacing, 0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: systems.get("kdv-2d"),
            "unknown system 'kdv-2d': expected .*, kdv-1d, kdv-1d-hard",
        ),
        (lambda: systems.get("kdv-1d", colour=1), "no option 'colour': it has points, frames"),
        (lambda: systems.get("kdv-1d", scheme="best"), "'best', expected published or spectral"),
        (
            lambda: systems.get("kdv-1d", end_time=float("inf")),
            "end_time is inf, expected a number",
        ),
        (lambda: systems.get("kdv-1d", points=2.5), "points is 2.5, expected a whole number"),
        (lambda: systems.get("kdv-1d").simulate({"tset": 1}), "unknown split 'tset'"),
        (lambda: systems.get("kdv-1d").simulate({}), "no trajectories"),
        (lambda: systems.get("kdv-1d").simulate({"test": -1}), "-1 trajectories for test"),
        (lambda: systems.get("kdv-1d").simulate({"test": 1}, noise_std=-1), "noise_std is -1.0"),
        (lambda: systems.get("kdv-1d").simulate({"test": 1}, seed=-1), "seed is -1"),
    ],
)
def test_wrong_input_is_told(call, message):
    with pytest.raises(InputError, match=message):
        call()
