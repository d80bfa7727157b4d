"""Both wave systems against d'Alembert's solution."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from pyro_msm.data import systems
from pyro_msm.errors import InputError

LENGTH = 10.0


def pulse(x, t, width):
    distance = (x - t + 0.5) % 1.0 - 0.5
    return np.exp(-((distance / width) ** 2))


def second_order(**options):
    return systems.get("wave-1d-second-order", **options)


def one_pulse(width=0.4, position=4.0, direction=1.0):
    absent = [0.0, 1.0, 0.0, 0.0]
    return np.array([[1.0, width, position, direction, *absent]])


def dalembert(x, t, images, width=0.4):
    """½(1+s) g(x - x₀ - t) + ½(1-s) g(x - x₀ + t), summed over images (x₀, s)."""
    return sum(
        0.5 * (1 + s) * np.exp(-(((x - x0 - t) / width) ** 2))
        + 0.5 * (1 - s) * np.exp(-(((x - x0 + t) / width) ** 2))
        for x0, s in images
    )


def test_published_pulse_is_shifted_exactly():
    data = systems.get("wave-1d").simulate({"train": 3}, frames=11)
    widths = data["initial_parameters"].values
    for index, t in enumerate(data["time"].values):
        exact = pulse(data["x"].values, t, widths)
        assert_allclose(data["clean"][:, index, 0], exact, atol=2e-7)


def test_published_sizes_of_the_wave():
    data = systems.get("wave-1d").simulate(frames=2)
    assert data.sizes["trajectory"] == 30
    assert data.sizes["x"] == 1000
    assert systems.get("wave-1d").frames == 1001
    widths = data["initial_parameters"].values
    assert 0.01 <= widths.min() < widths.max() <= 0.02
    assert data.attrs["noise_std"] == 1e-3
    assert systems.get("wave-1d").simulate({"train": 1}, noise_std=0.0, frames=2).noise_std == 0


def test_a_wave_of_any_duration_and_in_parts():
    wave = systems.get("wave-1d-hard")
    start = wave.initial_condition(np.random.default_rng(0), 3)
    halfway = wave.step(start, 0.0, 0.1234)
    assert_allclose(wave.step(halfway, 0.1234, 0.3), wave.step(start, 0.0, 0.4234), atol=1e-12)
    assert_array_equal(wave.step(start[1:2], 0.0, 0.1), wave.step(start, 0.0, 0.1)[1:2])
    assert_allclose(wave.step(start, 0.0, 1.0), start, atol=1e-12)


def test_hard_waves_start_anywhere():
    wave = systems.get("wave-1d-hard")
    parameters = wave.initial_parameters(np.random.default_rng(0), 400).reshape(400, 3, 3)
    amplitude, width, position = np.moveaxis(parameters, -1, 0)
    present = np.count_nonzero(amplitude, axis=1)
    # Each number of pulses has probability ⅓: 133 ± 9.4, so five standard deviations.
    assert_allclose(np.bincount(present, minlength=4), [0, 133, 133, 133], atol=47)
    assert (amplitude < 0).any()
    assert np.abs(amplitude).max() <= 1.5
    assert 0.01 <= width.min() < width.max() <= 0.04
    assert position.min() < 0.01
    assert position.max() > 0.99


@pytest.mark.parametrize("t", [0.5, 3.0, 7.5])
@pytest.mark.parametrize("direction", [-1.0, 0.0, 0.5])
def test_pulse_between_walls_follows_dalembert(t, direction):
    system = second_order()
    x = system.grid()["x"]
    start = system.initial_state(one_pulse(direction=direction))
    images = [
        (2 * turn * LENGTH + sign * 4.0, sign * direction)
        for turn in (-1, 0, 1)
        for sign in (1, -1)
    ]
    after = system.step(start, 0.0, t)[0]
    assert_allclose(after[0], dalembert(x, t, images), atol=1e-9)
    rate = (dalembert(x, t + 1e-5, images) - dalembert(x, t - 1e-5, images)) / 2e-5
    assert_allclose(after[1], rate, atol=1e-7)


@pytest.mark.parametrize("points", [256, 255])
def test_periodic_pulse_follows_dalembert(points):
    system = second_order(walls="periodic", points=points)
    start = system.initial_state(one_pulse(direction=0.3))
    images = [(4.0 + turn * LENGTH, 0.3) for turn in (-1, 0, 1)]
    exact = dalembert(system.grid()["x"], 7.5, images)
    assert_allclose(system.step(start, 0.0, 7.5)[0, 0], exact, atol=1e-9)


def test_a_wall_sends_a_pulse_back_upright():
    system = second_order()
    start = system.initial_state(one_pulse(position=8.0, direction=1.0))
    after = system.step(start, 0.0, 4.0)[0]
    mirrored = system.initial_state(one_pulse(position=8.0, direction=-1.0))[0]
    assert_allclose(after, mirrored, atol=1e-8)


@pytest.mark.parametrize("walls", ["reflecting", "periodic"])
@pytest.mark.parametrize("points", [500, 501])
def test_energy_is_conserved_and_is_that_of_the_field(walls, points):
    system = second_order(walls=walls, points=points)
    state = system.initial_condition(np.random.default_rng(5), 4)
    energy = system.energy(state)
    u, v = state[:, 0], state[:, 1]
    slope = np.gradient(u, system.spacing[0], axis=-1)
    assert_allclose(energy, 0.5 * (slope**2 + v**2).sum(-1) * system.spacing[0], rtol=0.01)
    for t in (0.7, 5.0, 100.0):
        assert_allclose(system.energy(system.step(state, 0.0, t)), energy, rtol=1e-11)


def test_boundary_and_channels_of_the_data():
    data = second_order().simulate({"train": 1}, frames=2)
    assert data.attrs["boundary"] == ["wall"]
    assert data["channel"].values.tolist() == ["u", "u_t"]
    assert_allclose(data["x"][[0, -1]], [0.005, 9.995])
    periodic = second_order().simulate({"train": 1}, walls="periodic", frames=2)
    assert periodic.attrs["boundary"] == ["periodic"]
    assert_allclose(periodic["x"][[0, -1]], [0.0, 9.99])


def test_a_second_order_run_can_be_restarted_anywhere():
    system = second_order()
    start = system.initial_condition(np.random.default_rng(0), 2)
    halfway = system.step(start, 0.0, 3.3)
    assert_allclose(system.step(halfway, 3.3, 0.4), system.step(start, 0.0, 3.7), atol=1e-11)


def test_unknown_walls_are_told():
    with pytest.raises(InputError, match="option walls is 'soft', expected reflecting or periodic"):
        second_order(walls="soft")
