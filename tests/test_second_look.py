"""What an encoder misses of a snapshot widens the ensemble, and is looked at twice."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pyro_msm import data as datasets
from pyro_msm.data.windows import Windows
from pyro_msm.forecasting import initial_window
from pyro_msm.forecasting.calibration import without_noise
from pyro_msm.forecasting.reach import Reach
from pyro_msm.forecasting.second_look import doubt, misfit, reconsidered
from tests.small_fields import forecaster, travelling_waves, with_mask

DATA = travelling_waves()


def made(**settings):
    found = forecaster(DATA, **settings)
    with torch.no_grad():  # a noise as small as that of the data: the untrained one is far larger
        found.model.network.log_macro_var.fill_(-6.0)
        found.model.network.log_micro_var.fill_(-6.0)
    windows = Windows(datasets.select(DATA, "train"), 6, stride=3)
    found.reach = Reach.of(found.guide, windows)
    return found


def start(size=1.0, data=DATA):
    window = initial_window(datasets.select(data, "test"), 1)
    window["field"] = size * window["field"]
    return window


@pytest.mark.parametrize(("frame", "micro"), [("fixed", 2), ("comoving", 4)])
def test_states_of_the_training_have_no_larger_misfit_than_the_reach(frame, micro):
    one = made(frame=frame, micro=micro)
    network = one.model.network
    train = datasets.select(DATA, "train")
    state = torch.tensor(one.encoded(train))
    found = misfit(network, state, torch.tensor(train["field"].values))
    assert found.shape == state.shape[:2]
    # All snapshots of windows 3 steps apart are looked at: nearly all there are.
    assert one.reach.misfit <= found.max() * (1 + 1e-5)
    assert one.reach.misfit > found.mean()
    assert network.angles == (2 if frame == "comoving" else 0)


def test_misfit_is_a_mean_over_what_is_observed():
    network = made().model.network
    state = network.state_mean.expand(2, -1)
    field = network.mean_field(state).detach().clone()
    field[0, :, :10] += 2 * torch.exp(torch.tensor(-3.0))
    field[1, :, 10:] = torch.nan
    # Both experts have a variance of exp(-6): their product half of it.
    expected = torch.tensor([10 / 40 * 4 * 2, 0.0])
    torch.testing.assert_close(misfit(network, state, field), expected, atol=1e-3, rtol=1e-3)


def test_doubt_changes_the_field_by_the_excess():
    network = made(frame="comoving", micro=5).model.network
    state = network.state_mean.repeat(2, 1)
    state[:, network.macro_values] = 1.0
    excess = torch.tensor([0.01, 4.0])
    width = doubt(network, state, excess)
    assert 0 < width[0] < width[1]
    away = torch.randn(300, 2, network.state_size, generator=torch.Generator().manual_seed(1))
    away[..., : network.macro_values + 2] = 0
    moved = network.mean_field(state + width[:, None] * network.state_scale * away)
    changes = torch.stack([misfit(network, state, field) for field in moved]).mean(0)
    torch.testing.assert_close(changes, excess, rtol=0.2, atol=0)


def test_the_second_look_finds_the_microscale_that_made_a_field():
    network = made(frame="comoving", micro=5).model.network
    scale = network.state_scale
    truth = network.state_mean.repeat(2, 1)
    truth[:, network.macro_values] = 1.0
    answer = truth.clone()
    truth[0, -3:] += torch.tensor([1.5, -1.0, 0.5]) * scale[-3:]
    truth[1, -3:] += torch.tensor([-0.5, 2.0, 0.0]) * scale[-3:]
    field = network.mean_field(truth).detach()
    field[1, :, :7] = torch.nan
    with torch.no_grad():
        found = reconsidered(network, answer, field, torch.full((2,), 100.0))
        kept = reconsidered(network, answer, field, torch.full((2,), 1e-6))
    before, after = misfit(network, answer, field), misfit(network, found, field)
    assert (after < 1e-4 * before).all()
    assert torch.equal(found[:, :-3], answer[:, :-3])
    # Without doubt the answer stays.
    torch.testing.assert_close(kept, answer, atol=1e-4, rtol=0)


def test_a_start_unlike_the_training_begins_with_what_is_missed_of_it():
    one = made()
    network = one.model.network
    odd = start()
    assert not one.unlike(odd).any()
    # As if training had shown this model nothing but what it can show.
    one.reach = replace(one.reach, misfit=0.0)
    assert one.unlike(odd).all()
    time = odd["time"].values[-1:]
    with without_noise(one):
        mean = one.forecast(odd, time, 1, 0)["field"].values[0, 0, 0]
        assert not np.ptp(one.forecast(odd, time, 3, 0)["field"].values, 0).any()
    members = one.forecast(odd, time, 200, 0)["field"].values[:, 0, 0]
    missed = np.sqrt(np.square(mean - odd["field"].values[0, 0]).mean())
    spread = np.sqrt(members.var(0, ddof=1).mean())
    assert 0.8 * missed < spread < 1.25 * missed
    # What is known of the noise is no doubt, and without a reach nothing is.
    plain = forecaster(DATA)
    plain.model.network.load_state_dict(network.state_dict())
    narrow = plain.forecast(odd, time, 200, 0)["field"].values[:, 0, 0]
    assert narrow.std() < members.std()
    assert not plain.unlike(odd).any()


def test_unobserved_points_are_not_missed():
    one = made()
    one.reach = replace(one.reach, misfit=0.0)
    window = initial_window(datasets.select(with_mask(travelling_waves()), "test"), 1)
    junk = window.assign(field=window["field"].where(window["mask"], 1e6))
    mean, _, width = one._look(junk)
    expected, _, known = one._look(window)
    torch.testing.assert_close((mean, width), (expected, known))
    whole = junk.drop_vars("mask")
    assert one._look(whole)[2] > 1.5 * width > 0
