"""Learned effective dynamics of particles: what free runs are trained and chosen by."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from pyro_msm import data as datasets
from pyro_msm.forecasting import initial_window
from pyro_msm.forecasting.calibration import Calibration
from pyro_msm.forecasting.led.particle_spread import calibrate_particles
from pyro_msm.forecasting.led.stages import FreeRunning, Latents, path_loss
from pyro_msm.forecasting.led.validation import free_running_error
from pyro_msm.models.led import PathBatch
from tests.small_led import small_led, swarm


def test_a_free_run_is_scored_by_the_particles_that_it_is_decoded_to() -> None:
    forecaster = small_led(mixture=3)
    forecaster.build(swarm(), 0)
    model, steps, forced = forecaster.model, 7, 3
    generator = torch.Generator().manual_seed(0)
    path = torch.randn(2, steps + 1, 4, generator=generator)
    inputs = torch.randn(2, steps, 4, generator=generator)
    particles = torch.rand(2, 2, 6, 2, generator=generator) - 0.5
    start = model.propagator.start(2)
    batch = PathBatch(
        path[:, :-1], path[:, 1:], inputs, start, forced, particles, torch.tensor([2, 5])
    )
    loss, _ = path_loss(model, batch)

    latent, state, expected = path[:, 0], start, 0.0
    for step in range(steps):
        law, state = model.propagator(latent[:, None], inputs[:, step : step + 1], state)
        latent = law.expected()[:, 0]
        if step in (2, 5):
            decoded = model.particle_law(latent[:, None])
            expected -= decoded.log_prob(particles[:, [2, 5].index(step)]).sum()
        if step + 1 < forced:
            latent = path[:, step + 1]
    assert torch.allclose(loss, expected / particles.numel(), atol=1e-5)


def test_free_runs_train_the_decoder_and_not_the_encoder() -> None:
    data = swarm()
    forecaster = small_led()
    forecaster.build(data, 0)
    training = forecaster._training_data(data)
    latents = Latents(forecaster.model, forecaster.guide, training)
    latents.enter()
    stage = FreeRunning(forecaster.model, latents, forecaster.led, forecaster.training)
    stage.loss(3, torch.Generator().manual_seed(0)).backward()
    trained = {n for n, p in forecaster._pair().named_parameters() if p.grad is not None}
    assert any(name.startswith("model.decoder") for name in trained)
    assert any(name.startswith("model.propagator") for name in trained)
    assert not any(name.startswith("guide") for name in trained)


def test_weights_are_chosen_by_the_density_of_particles() -> None:
    data = swarm()
    forecaster = small_led(validation_horizon=10)
    forecaster.build(data, 0)
    validation = datasets.select(data, "validation")
    found = free_running_error(forecaster, validation)()

    forecaster.calibration = Calibration(0.0, 0.0)
    errors = []
    for first in (0, 17):  # two forecasts of ten snapshots after three, at either end of thirty
        initial = initial_window(validation, 3, first + 2)
        times = validation["time"].values[first + 3 : first + 13]
        _, latents = forecaster.advance(forecaster.encode(initial, 1, 0), times)
        for number, latent in enumerate(latents[:, 0, 0]):
            seen = torch.tensor(validation["particles"].values[0, first + 3 + number])
            errors.append(-forecaster.model.particle_law(torch.tensor(latent)).log_prob(seen))
    assert np.isclose(found, float(torch.stack(errors).mean().detach()) / 2, rtol=1e-4)


def test_a_known_input_that_never_varied_is_not_magnified() -> None:
    data = swarm()
    still = xr.zeros_like(data["forcing"]) + 2.0
    forecaster = small_led()
    forecaster.build(data.assign(forcing=still), 0)
    training = forecaster._training_data(data.assign(forcing=still))
    Latents(forecaster.model, forecaster.guide, training).enter()
    assert torch.equal(forecaster.model.propagator.inputs_spread, torch.ones(4))
    assert torch.allclose(forecaster.model.propagator.inputs_centre, torch.tensor(2.0))


@pytest.mark.parametrize("noisy", [False, True])
def test_members_get_the_noise_that_the_data_have(noisy: bool) -> None:
    """Latents stay where they are, but for noise: that of the data, or none in them."""
    data = swarm(particles=400)
    forecaster = small_led()
    forecaster.build(data, 0)
    propagator = forecaster.model.propagator
    propagator.network.last.weight.data.zero_()
    propagator.log_std.data.fill_(-0.5)
    forecaster.calibration = Calibration(float(noisy), float(noisy))
    validation = datasets.select(data, "validation").copy(deep=True)
    initial, times = initial_window(validation, 3), validation["time"].values[3:]
    validation["particles"][:, 3:] = forecaster.forecast(initial, times, 1, 5)["particles"][0]
    factor = calibrate_particles(forecaster, validation).dispersion
    assert factor >= 0.5 if noisy else factor == 0.01
