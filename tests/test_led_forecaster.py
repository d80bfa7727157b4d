"""Learned effective dynamics as a forecaster: training, states, rollouts, bad input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from pyro_msm import data as datasets
from pyro_msm.config import Config
from pyro_msm.errors import InputError
from pyro_msm.forecasting import initial_window, trained_latent
from pyro_msm.forecasting.led import LEDForecaster
from pyro_msm.forecasting.led.particles import particle_bounds
from pyro_msm.inference.stages import StagedTrainer
from pyro_msm.runs import RunDirectory
from tests.small_led import small_led, swarm, waves

WEIGHTS = "last.safetensors"


@pytest.fixture(scope="module")
def trained() -> tuple[LEDForecaster, xr.Dataset]:
    data = waves()
    return small_led().fit(data, device="cpu"), data


def initial_of(data: xr.Dataset, warmup: int = 3) -> xr.Dataset:
    return initial_window(datasets.select(data, "test"), warmup)


def test_every_parameter_is_trained() -> None:
    data, forecaster = waves(), small_led(propagator="lstm")
    forecaster.build(data, 0)
    pair = forecaster._pair()
    before = {name: value.clone() for name, value in pair.named_parameters()}
    forecaster.train(data, device="cpu")
    moved = {name: not torch.equal(before[name], p) for name, p in pair.named_parameters()}
    # The encoder belongs to the first stage, whose best weights may be those it began with.
    assert all(done for name, done in moved.items() if name.startswith("model.propagator"))


@pytest.mark.parametrize("stop", [4, 9, 14])
@pytest.mark.parametrize(
    "led",
    [{}, {"shifts": True, "noise": 0.1}, {"shifts": True, "polynomial": 2}, {"propagator": "sde"}],
)
def test_resumed_training_is_the_same_to_the_last_bit(
    tmp_path: Path, stop: int, led: dict[str, Any]
) -> None:
    data = waves()
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    for folder in (straight, broken):
        forecaster = small_led({"checkpoint_every": 1}, **led)
        forecaster.build(data, 0)
        if folder == broken:
            interrupt_at(forecaster, data, folder, stop)
        else:
            forecaster.train(data, checkpoints=folder, device="cpu")
    resumed = small_led({"checkpoint_every": 1}, **led)
    resumed.build(data, 5)
    resumed.train(data, checkpoints=broken, resume=True, device="cpu")
    for name, value in forecaster_weights(straight).items():
        assert np.array_equal(value, forecaster_weights(broken)[name]), name


def test_to_resume_what_is_finished_changes_nothing(tmp_path: Path) -> None:
    data = waves()
    for resume in (False, True):
        forecaster = small_led({"steps": 17})  # the last validation is beside the rhythm of 6
        forecaster.build(data, 0)
        trainer = forecaster.train(data, checkpoints=tmp_path, resume=resume, device="cpu")
        found = trainer.state.best_error, forecaster_weights(tmp_path)
        if not resume:
            first = found
    assert found[0] == first[0]
    assert all(np.array_equal(found[1][name], value) for name, value in first[1].items())


def interrupt_at(forecaster: LEDForecaster, data: xr.Dataset, folder: Path, stop: int) -> None:
    """Trains until Ctrl-C would come in step ``stop``."""

    original = StagedTrainer.batch

    def batch(trainer: StagedTrainer) -> Any:
        if trainer.state.step == stop:
            raise KeyboardInterrupt
        return original(trainer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StagedTrainer, "batch", batch)
        with pytest.raises(KeyboardInterrupt):
            forecaster.train(data, checkpoints=folder, device="cpu")


def forecaster_weights(folder: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(folder / "best.safetensors")


def test_advancing_in_pieces_is_advancing_at_once(
    trained: tuple[LEDForecaster, xr.Dataset],
) -> None:
    forecaster, data = trained
    initial = initial_of(data)
    start = float(initial["time"][-1])
    times = start + forecaster.step * np.array([0.0, 0.5, 1.0, 2.0, 2.25, 2.75, 5.0, 9.5, 10.0])
    state = forecaster.encode(initial, 3, 7)
    _, whole = forecaster.advance(state, times)
    parts = []
    for piece in (times[:2], times[2:5], times[5:6], times[6:]):
        state, latents = forecaster.advance(state, piece)
        parts.append(latents)
    assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("cut", [6, 20])
def test_a_path_that_has_left_does_not_come_back(
    trained: tuple[LEDForecaster, xr.Dataset], monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    """In a world so small that paths go out of it and in again."""
    forecaster, data = trained
    initial = initial_of(data)
    times = float(initial["time"][-1]) + forecaster.step * np.arange(1, 31)
    start = forecaster.encode(initial, 40, 7)
    _, free = forecaster.advance(start, times)
    propagator = forecaster.model.propagator
    away = np.abs((free - propagator.centre.numpy()) / propagator.spread.numpy()).max(-1)
    limit = float(np.median(away.max(0)))
    assert ((away[:cut] > limit).any(0) & (away[cut:] < limit).any(0)).any()
    monkeypatch.setattr(trained_latent, "HORIZON", limit)
    _, whole = forecaster.advance(start, times)
    state, first = forecaster.advance(start, times[:cut])
    _, second = forecaster.advance(state, times[cut:])
    assert 0 < np.isnan(whole[-1, ..., 0]).mean() < 1
    np.testing.assert_array_equal(np.concatenate([first, second]), whole)


def test_between_two_steps_it_is_linear(trained: tuple[LEDForecaster, xr.Dataset]) -> None:
    forecaster, data = trained
    initial = initial_of(data)
    start = float(initial["time"][-1])
    state = forecaster.encode(initial, 1, 0)
    _, found = forecaster.advance(state, start + forecaster.step * np.array([3, 3.25, 4]))
    assert np.allclose(found[1], 0.75 * found[0] + 0.25 * found[2], atol=1e-6)


def test_members_do_not_depend_on_those_beside_them(
    trained: tuple[LEDForecaster, xr.Dataset],
) -> None:
    forecaster, data = trained
    initial = initial_of(data)
    times = datasets.select(data, "test")["time"].values[3:20]
    many = forecaster.forecast(initial, times, 5, 3)["field"]
    state = forecaster.encode(initial, range(3, 5), 3)
    few = forecaster.decode(forecaster.advance(state, times)[1])["field"]
    assert np.allclose(many.values[3:], few.values, atol=1e-5)
    assert float(many.std("member").max()) > 0


def test_assimilation_goes_on_with_the_memory() -> None:
    data, forecaster = waves(), small_led()
    forecaster.build(data, 0)  # untrained weights remember too
    forecaster.model.propagator.log_std.data.fill_(-30)  # nothing is drawn
    test = datasets.select(data, "test")
    late = forecaster.encode(initial_window(test, 3), 1, 0)
    late = forecaster.assimilate(late, test.isel(time=slice(3, 9)))
    forecaster.warmup = 9
    whole = forecaster.encode(initial_window(test, 9), 1, 0)
    assert late.origin == whole.origin
    assert np.allclose(late.memory, whole.memory, atol=1e-6)
    assert np.allclose(late.latent, whole.latent, atol=1e-6)


def test_a_lost_path_changes_no_other_and_starts_anew_with_what_is_seen(
    trained: tuple[LEDForecaster, xr.Dataset],
) -> None:
    forecaster, data = trained
    test = datasets.select(data, "test")
    state = forecaster.encode(initial_of(data), 2, 0)
    state, _ = forecaster.advance(state, test["time"].values[3:9])
    shown = test.isel(time=slice(9, 15))
    beside = forecaster.assimilate(state, shown)
    gone = np.array([[[np.nan]], [[0.0]]], np.float32)
    lost = replace(state, latent=state.latent + gone, memory=state.memory + gone)
    found = forecaster.assimilate(lost, shown)
    np.testing.assert_array_equal(found.pace.factor, [state.pace.factor[0], beside.pace.factor[1]])
    assert beside.pace.factor[1, 0] != 1
    _, ahead = forecaster.advance(found, test["time"].values[15:])
    assert np.isfinite(ahead).all()
    np.testing.assert_array_equal(
        ahead[:, 1], forecaster.advance(beside, test["time"].values[15:])[1][:, 1]
    )


def test_saved_and_loaded_it_forecasts_the_same(
    trained: tuple[LEDForecaster, xr.Dataset], tmp_path: Path
) -> None:
    forecaster, data = trained
    forecaster.save(tmp_path)
    again = LEDForecaster.load(tmp_path)
    times = datasets.select(data, "test")["time"].values[3:9]
    first, second = (f.forecast(initial_of(data), times, 2, 1) for f in (forecaster, again))
    assert np.array_equal(first["field"].values, second["field"].values)


def test_a_run_keeps_weights_that_forecast(tmp_path: Path) -> None:
    data = waves()
    run = RunDirectory.create(tmp_path / "run", Config())
    fitted = small_led().fit(data, run=run, device="cpu")
    loaded = LEDForecaster.from_run(run)
    assert (loaded.warmup, loaded.step) == (3, fitted.step)
    times = datasets.select(data, "test")["time"].values[3:9]
    first, second = (f.forecast(initial_of(data), times, 2, 1) for f in (fitted, loaded))
    assert np.array_equal(first["field"].values, second["field"].values)
    for name, value in fitted.state()[0].items():
        assert np.array_equal(value, loaded.state()[0][name]), name


@pytest.mark.parametrize("led", [{}, {"kl_weight": 0.1}, {"components": 2}])
def test_particles_stay_in_their_box(led: dict[str, Any]) -> None:
    data = swarm()
    forecaster = small_led(subset=20, mixture=3, **led).fit(data, device="cpu")
    test = datasets.select(data, "test")
    times = test["time"].values[3:12]
    found = forecaster.forecast(initial_of(data), times, 2, 0)["particles"]
    assert found.dims == ("member", "trajectory", "time", "particle", "component")
    assert found.shape == (2, 1, 9, 40, 2)
    assert float(abs(found).max()) <= 0.5
    assert np.isfinite(found.values).all()


def test_particles_follow_from_the_latents_alone() -> None:
    data, forecaster = swarm(), small_led()
    forecaster.build(data, 0)
    latents = np.random.default_rng(0).normal(size=(3, 2, 1, 4)).astype(np.float32)
    whole = forecaster.decode(latents)["particles"].values
    alone = forecaster.decode(latents[1:2, 1:])["particles"].values
    assert np.allclose(whole[1:, :, 1:2], alone, atol=1e-6)
    assert not np.allclose(whole[0, 0, 0], whole[0, 0, 1], atol=1e-2)


def test_forcing_and_clock_reach_the_propagator() -> None:
    data, forecaster = swarm(), small_led(clock=[0.7])
    forecaster.build(data, 0)
    assert forecaster.model.settings["inputs"] == 2 + 2 * 2
    known = forecaster._inputs(datasets.select(data, "test")).at(np.array([1.0]))[0, 0]
    phase = 0.7 * (1.0 + 0.25)
    before, after = np.cos(1.0 + 3.0), np.cos(1.5 + 3.0)
    expected = [np.cos(phase), np.sin(phase), before, before, after, after]
    assert np.allclose(known.numpy(), expected, atol=1e-5)
    assert small_led(forcing=False)._inputs(data).at(np.array([1.0])).shape[-1] == 0


def test_box_of_particles_is_the_domain_where_it_is_full() -> None:
    data = swarm()
    data["particles"] = 0.5 * data["particles"]
    low, high = particle_bounds(data)
    assert (low < data["particles"].values.min()).all()
    assert (high - low < 0.6).all()
    data["particles"].values[0, 0, :2] = [[-0.4999] * 2, [0.4998] * 2]
    low, high = particle_bounds(data)
    assert np.allclose(high - low, 1.0)
    assert np.allclose(low, -0.5, atol=1e-3)


BAD: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"steps": 6}, {}, "ends before the propagator is trained"),
    ({}, {"autoencoder": "convolution"}, "needs a field on a line"),
    ({}, {"latent": 20, "polynomial": 5}, "53130 monomials, more than 4000"),
]


@pytest.mark.parametrize(("training", "led", "message"), BAD)
def test_what_cannot_be_trained_is_told(
    training: dict[str, Any], led: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        small_led(training, **led).check(swarm())


def test_data_that_do_not_fit_are_told(trained: tuple[LEDForecaster, xr.Dataset]) -> None:
    forecaster, data = trained
    with pytest.raises(InputError, match="periodic axes; the data have boundary"):
        small_led(shifts=True).check(waves(boundary="wall"))
    masked = data.assign(mask=data["field"].astype(bool))
    with pytest.raises(InputError, match="need whole snapshots"):
        small_led().check(masked)
    with pytest.raises(InputError, match="interpolate it to that grid"):
        forecaster.encode(initial_of(data).isel(x=slice(0, 8)))
    with pytest.raises(InputError, match="a forecast starts from 3 snapshot"):
        initial_window(data.isel(time=slice(0, 2)), forecaster.warmup)
    state = forecaster.encode(initial_of(data))
    with pytest.raises(InputError, match="goes forward only"):
        forecaster.advance(state, np.array([0.0]))
