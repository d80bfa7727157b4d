"""The steps of a rollout: what they resolve, and what validation says of them."""

import numpy as np
import pytest
import torch

from pyro_msm import data as datasets
from pyro_msm.forecasting import time_step
from pyro_msm.forecasting.calibration import Calibration
from tests.small_fields import forecaster, travelling_waves

DATA = travelling_waves()
VALIDATION = datasets.select(DATA, "validation")
STEP = 1 / 40


def turning(rate, calibrated=1.0):
    """A forecaster whose microscale state turns at ``rate``, and moves the field as it does."""
    made = forecaster(DATA)
    network = made.model.network
    network.state_rate = network.state_scale.clone()

    def drift(state, context=None):
        macro, micro = network.split(state)
        turned = rate * torch.stack([-micro[..., 1], micro[..., 0]], -1)
        return torch.cat([0 * macro.flatten(-2), turned], -1)

    network.learned_drift = drift
    with torch.no_grad():
        network.log_micro_var.fill_(-8.0)
        network.log_macro_var.fill_(8.0)
    made.calibration = Calibration(calibrated, calibrated)
    made._learn_grid(DATA)
    return made


def test_a_step_resolves_the_pace_of_the_state():
    made = turning(1.0)
    made.model.network.state_rate = 8 * made.model.network.state_scale
    step, every = time_step.resolving(made.model, DATA, learned=0.1)
    assert (step, every) == (pytest.approx(STEP / 2), 1)
    step, every = time_step.resolving(made.model, DATA, learned=0.8)
    assert (step, every) == (pytest.approx(STEP), 4)
    step, every = time_step.resolving(made.model, DATA, 0.001, learned=0.8)
    assert (step, every) == (0.001, 100)


@pytest.mark.parametrize("rate", [0.3, 30.0])
def test_steps_are_as_long_as_the_forecast_allows(rate):
    """The measured pace, 1, says nothing of a drift that turns thirty times as fast."""
    made = turning(rate, calibrated=0.7)
    time_step.resolve(made, VALIDATION)
    assert made.calibration == Calibration(0.7, 0.7)
    distance = made.rollout_step * made.rollout_every
    if rate < 1:
        assert distance == pytest.approx(0.1)
    else:
        assert distance * rate < 0.5
    run = time_step.FreeRun(VALIDATION, made.warmup)
    made.calibration = Calibration(0.0, 0.0)
    chosen = run.mean(made, 1)
    made.rollout_step, made.rollout_every = distance / 8, 1
    exact = run.mean(made, 1)
    assert run.relative(chosen - exact) < 2 * time_step.SHARE * run.relative(exact - run.truth)


def test_a_given_step_stays():
    made = turning(30.0)
    made.given_step = STEP
    time_step.resolve(made, VALIDATION)
    assert made.rollout_step == STEP


def test_a_step_at_which_the_forecast_is_lost_is_not_chosen():
    made = turning(1.0)
    network = made.model.network
    network.learned_drift = lambda state, context=None: -35.0 * (state - network.state_mean)
    time_step.resolve(made, VALIDATION)
    assert 35 * made.rollout_step * made.rollout_every < 0.55
    made.calibration = Calibration(0.0, 0.0)
    assert np.isfinite(time_step.FreeRun(VALIDATION, 1).mean(made, 1)).all()


def test_a_drift_that_no_step_tames_is_not_made_dear():
    made = turning(1.0)
    made.model.network.learned_drift = lambda state, context=None: torch.full_like(state, torch.nan)
    time_step.resolve(made, VALIDATION)
    assert made.rollout_step * made.rollout_every == pytest.approx(0.1)
