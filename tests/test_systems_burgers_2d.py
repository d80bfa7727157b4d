"""The two-dimensional Burgers solver against one-dimensional travelling waves."""

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from pyro_msm.data import systems
from pyro_msm.data.systems.burgers_2d import VISCOSITY

HEIGHT, SPEED = 0.1, 0.2


def travelling(system, t):
    """f(x + y) solves f_t = 2ν f'' - 2 f f': the travelling shock of Burgers in twice the time."""
    x, y = np.meshgrid(*system.grid().values(), indexing="ij")
    distance = x + y - 1.0 - 2 * SPEED * t
    return SPEED - HEIGHT * np.tanh(HEIGHT * distance / (2 * VISCOSITY))


def test_diagonal_shock_travels_with_second_order():
    errors = []
    for points in (32, 64, 128):
        system = systems.get("burgers-2d", points=points)
        start = travelling(system, 0.0)[None, None]
        after = system.step(start, 0.0, 0.2)[0, 0]
        # The frozen boundary is wrong for this solution; its error stays near the edge.
        middle = slice(3 * points // 8, 5 * points // 8)
        errors.append(np.abs(after - travelling(system, 0.2))[middle, middle].max())
    assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 2.0, atol=0.25)
    assert errors[-1] < 1e-3


def test_the_boundary_is_frozen_and_the_diagonal_a_mirror():
    system = systems.get("burgers-2d")
    start = system.initial_condition(np.random.default_rng(0), 2)
    after = system.step(start, 0.0, 0.1)
    edge = np.ones((128, 128), bool)
    edge[1:-1, 1:-1] = False
    assert_array_equal(after[..., edge], start[..., edge])
    assert np.abs(after - start)[..., ~edge].max() > 0.1
    assert_allclose(after, after.swapaxes(-1, -2), atol=1e-13)


def test_values_stay_in_their_initial_range_also_out_of_the_training_range():
    system = systems.get("burgers-2d-hard", frames=11)
    clean = system.simulate({"train": 4, "extrapolation": 4})["clean"].values
    first = clean[:, :1].max(axis=(2, 3, 4))
    assert (clean.max(axis=(2, 3, 4)) <= first * 1.001).all()
    assert clean.min() >= -1e-3


def test_published_configuration_of_burgers_2d():
    system = systems.get("burgers-2d")
    assert (system.frames, system.configured(frames=1001).times[1]) == (501, 1e-3)
    assert system.trajectories == {"train": 20, "validation": 5, "test": 5}
    state = system.initial_state(np.array([[1.1, 0.19]]))
    x, y = np.meshgrid(*[(np.arange(128) + 0.5) / 128] * 2, indexing="ij")
    expected = 1.1 * np.exp(-((x - 0.3) ** 2 + (y - 0.3) ** 2) / 0.19**2)
    assert_allclose(state[0, 0], expected, atol=1e-14)


def test_a_run_in_two_dimensions_can_be_restarted_anywhere():
    system = systems.get("burgers-2d", points=32)
    start = system.initial_condition(np.random.default_rng(0), 3)
    halfway = system.step(start, 0.0, 0.007)
    whole = system.step(start, 0.0, 0.02)
    assert_allclose(system.step(halfway, 0.007, 0.013), whole, atol=1e-14)
    assert_array_equal(system.step(start[1:2], 0.0, 0.02), whole[1:2])
