"""How a moving frame turns is told from noise."""

import numpy as np
import pytest
import torch

from pyro_msm.models import MultiscaleSDE
from pyro_msm.models.turning import turning
from tests.small_fields import SIZES, travelling_waves


def paths(spread=0.0, noise=0.0, count=30, times=200, seed=0):
    rng = np.random.default_rng(seed)
    speed = 0.02 + spread * rng.normal(size=(count, 1))
    return speed * np.arange(times) + noise * rng.normal(size=(count, times))


@pytest.mark.parametrize("seed", range(5))
def test_a_steady_turn_has_no_spread_however_noisy(seed):
    mean, spread = turning(paths(noise=0.05, seed=seed))
    assert mean == pytest.approx(0.02, abs=1e-3)
    # What is left, if anything, is less than the noise of a path's two ends would make of it.
    assert spread < 0.2 * np.sqrt(2) * 0.05 / 199


def test_a_spread_of_speeds_is_seen_through_noise():
    _, spread = turning(paths(spread=0.003, noise=0.05))
    assert spread == pytest.approx(0.003, rel=0.4)


def test_speeds_that_change_along_a_path_count():
    angles = 0.1 * np.sin(0.1 * np.arange(300))[None]
    _, spread = turning(angles)
    assert spread == pytest.approx(0.01 / np.sqrt(2), rel=0.05)


def test_two_snapshots_are_enough():
    mean, spread = turning(np.array([[0.0, 0.3], [0.0, 0.5]]))
    assert (mean, spread) == (pytest.approx(0.4), pytest.approx(0.1))


def pulses(noise=0.02):
    """One pulse of random width in each trajectory, at unit speed around [0, 1)."""
    data, rng = travelling_waves(), np.random.default_rng(0)
    place, phase = data["x"].values - data["time"].values[:, None], rng.uniform(size=(4, 1, 1))
    sharpness = rng.uniform(6, 10, (4, 1, 1))
    field = np.exp(sharpness * (np.cos(2 * np.pi * (place - phase)) - 1))[:, :, None]
    data["field"][:] = field + noise * rng.normal(size=field.shape)
    return data


def test_a_model_of_waves_of_one_speed_turns_at_that_speed():
    data = pulses()
    model = MultiscaleSDE.for_data(data, 10, 4, frame="comoving", **SIZES)
    drift = model.network.micro_drift
    # Unit speed around [0, 1): 2π a unit of time, in units of its own root mean square.
    assert float(drift.turn) == pytest.approx(1.0, rel=0.05)
    assert float(drift.turn_spread) < 0.02
    state = model.network.state_mean.repeat(8, 1)
    state += model.network.state_scale * torch.randn(state.shape)
    micro = state[:, -4:]
    turns = drift(micro, state[:, :-4], None)[:, :2]
    across = (micro[:, 0] * turns[:, 1] - micro[:, 1] * turns[:, 0]) / micro[:, :2].square().sum(1)
    torch.testing.assert_close(across, across[:1].expand(8), rtol=0.05, atol=0)
