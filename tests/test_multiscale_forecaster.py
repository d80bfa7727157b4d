"""The multiscale model behind the Forecaster contract."""

import numpy as np
import pyro
import pytest
import torch
import xarray as xr

import pyro_msm as msm
from pyro_msm import data as datasets
from pyro_msm.config import ModelConfig
from pyro_msm.errors import InputError
from pyro_msm.forecasting import MultiscaleForecaster, initial_window
from pyro_msm.forecasting.calibration import Calibration, without_noise
from pyro_msm.forecasting.sizes import chosen_macro
from pyro_msm.forecasting.validation import free_running_error
from tests.small_fields import (
    forecaster,
    model_and_guide,
    tiny_configuration,
    travelling_waves,
    with_drivers,
    with_mask,
)
from tests.statistical import assert_moments

DATA = travelling_waves()
TIMES = DATA["time"].values


def moving(data=DATA, **settings):
    """Untrained, with a drift and a dispersion that move the state."""
    made = forecaster(data, **settings)
    with torch.no_grad():
        made.model.network.log_dispersion.fill_(-1.0)
    return made


def start(data=DATA, warmup=1):
    return initial_window(data, warmup)


def assert_same_field(one, other, **tolerance):
    xr.testing.assert_allclose(one["field"], other["field"], **({"atol": 1e-5} | tolerance))


# --- the contract --------------------------------------------------------------------------------


def test_forecast_has_the_variables_and_coordinates_of_the_contract():
    made = moving(travelling_waves(grid=(20, 10), channels=2), macro=5)
    data = travelling_waves(grid=(20, 10), channels=2)
    result = made.forecast(start(data), TIMES[:5], members=3, generator=1)
    assert result["field"].dims == ("member", "trajectory", "time", "channel", "x", "y")
    assert result["field"].shape == (3, 4, 5, 2, 20, 10)
    assert result["macro"].dims[3:] == ("channel", "macro_x", "macro_y")
    assert result["micro"].dims == ("member", "trajectory", "time", "micro_component")
    assert result["diverged_at"].dims == ("member", "trajectory")
    assert result["diverged_at"].isnull().all()
    assert result["observation_std"].dims == ("channel",)
    for name in ("x", "y", "channel"):
        np.testing.assert_array_equal(result[name], data[name])
    np.testing.assert_array_equal(result["time"], TIMES[:5])


def test_of_second_order_the_rates_are_a_part_of_their_own():
    data = travelling_waves(grid=(20, 10), channels=2)
    made = moving(data, macro=5, order=2, snapshots=2)
    result = made.forecast(start(data, 2), TIMES[1:6], members=3, generator=1)
    assert result["macro_rate"].dims == result["macro"].dims
    assert result["macro_rate"].shape == result["macro"].shape == (3, 4, 5, 2, 5, 5)
    _, latents = made.advance(made.encode(start(data, 2), 3, 1), TIMES[1:6])
    values, rates = np.split(np.moveaxis(latents[..., :100], 0, 2), 2, -1)
    np.testing.assert_array_equal(result["macro"], values.reshape(result["macro"].shape))
    np.testing.assert_array_equal(result["macro_rate"], rates.reshape(result["macro"].shape))
    same = made.decode(latents + np.r_[np.zeros(50), np.ones(50), np.zeros(2)].astype("f4"))
    assert_same_field(same, made.decode(latents))


def test_rates_need_whole_snapshots_at_the_times_of_the_training():
    data = travelling_waves()
    made = moving(data, order=2, snapshots=3)
    first = start(data, 3)
    with pytest.raises(InputError, match=r"3 snapshots 0.025 apart.*0.05 0.05"):
        made.encode(first.assign_coords(time=2 * first["time"]))
    masked = with_mask(data)
    with pytest.raises(InputError, match="these have a mask"):
        made.encode(start(masked, 3))
    model, training = tiny_configuration()
    two = {"order": 2, "snapshots": 2}
    wrong = {
        "model.snapshots of at least 2": (data, {"order": 2}),
        "leave out model.frame": (data, two | {"frame": "comoving", "micro": 4}),
        "leave out model.physics": (data, two | {"physics": {"advection": 1.0}}),
        "these have a mask": (masked, two),
    }
    for message, (given, update) in wrong.items():
        with pytest.raises(InputError, match=message):
            MultiscaleForecaster(model.model_copy(update=update), training).check(given)


def test_noise_in_proportion_to_the_drift_stands_still_with_it():
    """Where the equation is known the spread's calibration may ask for it."""
    data = travelling_waves()
    made = moving(data, known_drift=lambda field, times, parameters: 1.0 + 0 * field)
    assert made._tells_tendency()
    made.calibration = Calibration(0.0, 0.0, tendency=0.1)
    spread = made.forecast(start(), TIMES[:9], 20, 1)["macro"].std("member").isel(time=-1)
    assert float(spread.min()) > 0
    still = moving(data, known_drift=lambda field, times, parameters: 0 * field)
    still.calibration = made.calibration
    with torch.no_grad():
        for parameter in still.model.network.macro_drift.parameters():
            parameter.zero_()
    members = still.forecast(start(), TIMES[:9], 20, 1)["macro"].values
    assert not np.ptp(members, 0).any()
    assert not moving(data)._tells_tendency()


def test_macro_only_has_no_micro_part():
    result = moving(micro=0).forecast(start(), TIMES[:3])
    assert "micro" not in result
    assert np.isfinite(result["field"]).all()


@pytest.mark.parametrize("times", [TIMES, np.array([0.0, 0.0131, 0.5, 0.777, 1.9])])
def test_forecast_does_not_depend_on_blocks(times, monkeypatch):
    made = moving()
    whole = made.forecast(start(), times, 3, 1)
    monkeypatch.setattr(MultiscaleForecaster, "block_values", 3 * 4 * 40 * 2)
    assert len(list(made.forecast_blocks(start(), times, 3, 1))) == -(-len(times) // 2)
    parts = made.forecast(start(), times, 3, 1)
    assert_same_field(parts, whole)
    xr.testing.assert_allclose(parts["macro"], whole["macro"], atol=1e-5)
    assert set(parts.variables) == set(whole.variables)


def test_a_member_does_not_depend_on_the_others():
    made = moving()
    many, few = (made.forecast(start(), TIMES, members, 1) for members in (5, 2))
    assert_same_field(many.isel(member=slice(2)), few)
    alone = made.forecast(start().isel(trajectory=slice(0, 1)), TIMES, 2, 1)
    assert_same_field(few.isel(trajectory=slice(0, 1)), alone)


def test_seeds_and_generators():
    made = moving()
    one, same, other = (made.forecast(start(), TIMES[:9], 2, seed) for seed in (1, 1, 2))
    xr.testing.assert_identical(one, same)
    assert (one["field"] != other["field"]).any()
    first, second = (
        made.forecast(start(), TIMES[:9], 2, np.random.default_rng(0)) for _ in range(2)
    )
    xr.testing.assert_identical(first, second)


def test_forecasting_touches_no_global_state():
    made = moving()
    torch.manual_seed(0)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    made.forecast(start(), TIMES[:3], 2)
    made.encoded(DATA)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert not list(pyro.get_param_store().keys())


def test_members_start_from_the_posterior():
    """The first snapshot's spread is the encoder's standard deviation."""
    made = moving()
    _, latents = made.advance(made.encode(start(), 3000, 1), TIMES[:1])
    with torch.no_grad():
        mean, log_var = made.guide.encode(torch.as_tensor(start()["field"].values))
    assert_moments(latents[0], mean.numpy(), log_var.exp().numpy())


# --- divergence ----------------------------------------------------------------------------------


def unstable(seed=0):
    """dz/dt = 30 (z − mean) on top: leaves the model's world within the horizon."""
    made = moving(seed=seed)
    drift = made.model.network.learned_drift

    def explosive(state, context=None):
        return drift(state, context) + 30 * (state - made.model.network.state_mean)

    made.model.network.learned_drift = explosive
    return made


def test_divergence_is_nan_from_the_time_that_is_told(monkeypatch):
    made = unstable()
    result = made.forecast(start(), TIMES, 3, 1)
    when = result["diverged_at"]
    assert when.notnull().all()
    assert float(when.min()) > 0.05
    finite = np.isfinite(result["field"]).all(("channel", "x"))
    assert (finite == (result["time"] < when)).all()
    assert (np.isnan(result["field"]).all(("channel", "x")) == ~finite).all()
    monkeypatch.setattr(MultiscaleForecaster, "block_values", 3 * 4 * 40 * 4)
    blocks = made.forecast(start(), TIMES, 3, 1)
    np.testing.assert_array_equal(blocks["diverged_at"], when)
    np.testing.assert_array_equal(np.isnan(blocks["field"]), np.isnan(result["field"]))


def test_what_has_diverged_stays_so_in_later_blocks(monkeypatch):
    """A path that leaves the model's world and comes back is lost all the same."""
    made = moving()

    def excursion(time, latent, state, world):
        return torch.full_like(latent, 4e5 * np.cos(2 * np.pi * time))

    made._drift = excursion
    made.rollout_step, made.rollout_every = 0.025, 1
    whole = made.forecast(start(), TIMES, 2, 1)
    assert whole["diverged_at"].notnull().all()
    monkeypatch.setattr(MultiscaleForecaster, "block_values", 2 * 4 * 40 * 4)
    blocks = made.forecast(start(), TIMES, 2, 1)
    np.testing.assert_array_equal(np.isnan(blocks["field"]), np.isnan(whole["field"]))
    np.testing.assert_array_equal(blocks["diverged_at"], whole["diverged_at"])


# --- encode, advance, assimilate, decode ---------------------------------------------------------


def test_advance_goes_on_where_it_stopped_and_leaves_the_state_alone():
    made = moving()
    state = made.encode(start(), 2, 1)
    _, whole = made.advance(state, TIMES)
    middle, first = made.advance(state, TIMES[:17])
    _, second = made.advance(middle, TIMES[17:])
    np.testing.assert_allclose(np.concatenate([first, second]), whole, atol=1e-5)
    assert whole.shape == (41, 2, 4, 12)
    _, other = made.advance(middle, TIMES[17:], generator=5)
    assert (other[-1] != second[-1]).any()
    _, again = made.advance(middle, TIMES[17:], generator=5)
    np.testing.assert_array_equal(other, again)


def test_decode_is_the_models_mean_field_and_its_parts():
    made = moving()
    _, latents = made.advance(made.encode(start(), 2, 1), TIMES[:3])
    decoded = made.decode(latents)
    states = torch.as_tensor(np.moveaxis(latents, 0, 2))
    with torch.no_grad():
        law = made.model.network.experts(states)
        np.testing.assert_allclose(decoded["field"], law.mean.numpy(), atol=1e-5)
        np.testing.assert_allclose(
            made.observation_std(), law.variance.sqrt()[0, 0, 0, :, 0].numpy(), rtol=1e-5
        )
    flat = np.concatenate([decoded["macro"].values[..., 0, :], decoded["micro"].values], -1)
    np.testing.assert_array_equal(flat, states.numpy())
    micro = decoded["field"].values[0, 0, 0] - made.macro_part(latents[0, 0, 0])
    assert np.abs(micro).max() > 0


def test_assimilation_draws_afresh_at_the_time_of_the_snapshots():
    made = moving()
    state, _ = made.advance(made.encode(start(), 2, 1), TIMES[:11])
    seen = DATA.isel(time=slice(18, 21))
    moved = made.assimilate(state, seen)
    _, latents = made.advance(moved, TIMES[20:])
    direct = made.encode(seen.isel(time=slice(-1, None)), 2, 1)
    _, expected = made.advance(direct, TIMES[20:])
    assert latents.shape == expected.shape
    with torch.no_grad():
        mean, log_var = made.guide.encode(torch.as_tensor(DATA["field"].values[:, 20:21]))
    scores = (latents[0] - mean.numpy()) / np.exp(0.5 * log_var.numpy())
    assert np.abs(scores).max() < 5
    # Other random numbers than at the first start.
    assert (latents[0] != expected[0]).all()


def test_encoded_is_the_posterior_mean_of_every_snapshot():
    made = moving(snapshots=3)
    encoded = made.encoded(DATA)
    assert encoded.shape == (4, 39, 12)
    window = torch.as_tensor(DATA["field"].values[2, 5:8])[None]
    with torch.no_grad():
        np.testing.assert_allclose(encoded[2:3, 5], made.guide.encode(window)[0], atol=1e-5)


def test_several_snapshots_are_the_warm_up():
    made = moving(snapshots=3)
    assert made.warmup == 3
    window = start(warmup=3)
    assert made.forecast(window, TIMES[2:6]).sizes["time"] == 4
    longer = initial_window(DATA, 6, last=7)
    short = initial_window(DATA, 3, last=7)
    assert_same_field(made.forecast(longer, TIMES[7:9]), made.forecast(short, TIMES[7:9]))


def test_parameters_and_forcing_drive_the_forecast():
    data = with_drivers(travelling_waves())
    made = moving(data)
    base = made.forecast(start(data), TIMES, 2, 1)
    assert np.isfinite(base["field"]).all()
    for name in ("parameters", "forcing"):
        changed = start(data).copy()
        changed[name] = changed[name] + 1.0
        assert (made.forecast(changed, TIMES, 2, 1)["field"] != base["field"]).any()


def test_masked_snapshots_are_encoded_like_in_training():
    """NaN or any number where nothing was observed: zero, as the windows have it."""
    data = with_mask(travelling_waves())
    made = moving(data)
    filled = data.assign(field=data["field"].fillna(-999.0))
    zeros = data.assign(field=data["field"].fillna(0.0)).drop_vars("mask")
    expected = made.forecast(start(zeros), TIMES[:4], 2, 1)
    for given in (data, filled):
        assert_same_field(made.forecast(start(given), TIMES[:4], 2, 1), expected)
        np.testing.assert_allclose(made.encoded(given), made.encoded(zeros), atol=1e-5)


def test_rollout_is_finite_and_steps_resolve_data_and_dynamics():
    made = moving()
    network = made.model.network
    pace = float((network.state_rate / network.state_scale).max())
    assert made.rollout_step * pace <= 0.05 * (1 + 1e-9)
    assert made.rollout_step * made.rollout_every * pace <= 0.05 * (1 + 1e-9)
    count = (TIMES[1] - TIMES[0]) / made.rollout_step
    assert count == pytest.approx(round(count))


# --- errors --------------------------------------------------------------------------------------


def test_the_wrong_grid_is_told():
    made = moving()
    with pytest.raises(InputError, match=r"\(1, 20\), the model was trained on \(1, 40\)"):
        made.forecast(start(travelling_waves(grid=(20,))), TIMES[:2])
    with pytest.raises(InputError, match=r"\(2, 40\)"):
        made.forecast(start(travelling_waves(channels=2)), TIMES[:2])


def test_too_few_snapshots_are_told():
    with pytest.raises(InputError, match=r"has 1 snapshot\(s\), the model needs 3"):
        moving(snapshots=3).forecast(start(), TIMES[:2])


@pytest.mark.parametrize("name", ["parameters", "forcing"])
def test_missing_drivers_are_told(name):
    data = with_drivers(travelling_waves())
    made = moving(data)
    with pytest.raises(InputError, match=f"no variable {name}.*trained with"):
        made.forecast(start(data).drop_vars(name), TIMES[:2])


def test_times_before_the_initial_snapshot_are_told():
    made = moving()
    state, _ = made.advance(made.encode(start(), 2), TIMES[:20])
    with pytest.raises(InputError, match=r"t = 0.1.*before"):
        made.advance(state, np.array([0.1, 0.9]))
    with pytest.raises(InputError, match="increas"):
        made.advance(state, np.array([0.9, 0.8]))


def test_data_that_cannot_be_trained_on_are_told():
    model, training = tiny_configuration()
    with pytest.raises(InputError, match=r"model.macro = 7 does not divide"):
        MultiscaleForecaster(model.model_copy(update={"macro": 7}), training).check(DATA)
    with pytest.raises(InputError, match=r"needs 6 snapshots.*have 5"):
        MultiscaleForecaster(model, training).check(travelling_waves(count=5))
    with pytest.raises(InputError, match="no train split"):
        MultiscaleForecaster(model, training).check(travelling_waves(splits=("test",) * 4))


# --- training and persistence --------------------------------------------------------------------


def test_fit_save_and_load(tmp_path):
    made = MultiscaleForecaster(*tiny_configuration()).fit(DATA, device="cpu")
    made.save(tmp_path)
    loaded = MultiscaleForecaster.load(tmp_path)
    one, other = (f.forecast(start(), TIMES, 3, 4) for f in (made, loaded))
    xr.testing.assert_identical(one, other)
    assert loaded.warmup == made.warmup
    assert sorted(file.suffix for file in tmp_path.iterdir()) == [".json", ".safetensors"]


def test_fit_is_reproducible_and_leaves_the_data_alone():
    before = DATA.copy(deep=True)
    made = [MultiscaleForecaster(*tiny_configuration()).fit(DATA, device="cpu") for _ in range(2)]
    one, other = (f.forecast(start(), TIMES, 2, 4) for f in made)
    xr.testing.assert_identical(one, other)
    xr.testing.assert_identical(DATA, before)


def test_fit_function_trains_what_it_is_given_and_resumes(tmp_path):
    settings = {**tiny_configuration()[1].model_dump(), "validate_every": 4, "calibrate": False}
    longer = settings | {"steps": 30}
    whole = msm.fit(*model_and_guide(DATA), DATA, seed=1, device="cpu", **longer)
    msm.fit(*model_and_guide(DATA), DATA, seed=1, device="cpu", folder=tmp_path, **settings)
    resumed = msm.fit(
        *model_and_guide(DATA), DATA, seed=1, device="cpu", folder=tmp_path, resume=True, **longer
    )
    one, other = (fit.forecaster.forecast(start(), TIMES, 2, 4) for fit in (whole, resumed))
    xr.testing.assert_identical(one, other)
    assert whole.validation_error == resumed.validation_error > 0
    assert whole.seconds > 0
    steps = [record["step"] for record in whole.history if "loss" in record]
    assert steps == [5, 10, 15, 20, 25, 30]


@pytest.mark.parametrize("drivers", [False, True])
def test_validation_error_is_that_of_free_running_forecasts(drivers):
    """Root mean square over times of ‖the drift's own − y‖/‖y‖, typical of the trajectories."""
    data = with_drivers(travelling_waves()) if drivers else DATA
    made = moving(data)
    chosen = datasets.select(data, "validation")
    error = free_running_error(made, chosen)()
    with without_noise(made):
        result = made.forecast(start(chosen), TIMES, 1, 0)
    mean, truth = result["field"].mean("member").values[:, 1:], chosen["field"].values[:, 1:]
    norms = [np.sqrt((v**2).sum((2, 3))) for v in (mean - truth, truth)]
    each = np.sqrt(np.square(norms[0] / norms[1]).mean(1))
    assert error == pytest.approx(float(np.sqrt(each).mean() ** 2), rel=2e-3)
    # Noise that is not calibrated yet has no part in it.
    with torch.no_grad():
        made.model.network.log_dispersion += 2
    assert free_running_error(made, chosen)() == error


def test_validation_error_is_that_to_the_noise_free_field():
    made = moving(DATA)
    chosen = datasets.select(DATA, "validation")
    rng = np.random.default_rng(0)
    noisy = chosen.assign(field=chosen["field"] + 0.5 * rng.normal(size=chosen["field"].shape))
    noisy["field"][:, 0] = chosen["field"][:, 0]  # from which the forecast starts
    errors = [free_running_error(made, data)() for data in (chosen, noisy)]
    assert errors[1] == pytest.approx(errors[0], rel=0.1)


def test_without_validation_the_last_weights_are_kept_and_said(caplog):
    data = travelling_waves(splits=("train", "train", "train", "test"))
    MultiscaleForecaster(*tiny_configuration(steps=2)).fit(data, device="cpu")
    assert "no validation split" in caplog.text


def test_sizes_are_chosen_from_the_data_and_said(caplog):
    assert chosen_macro(DATA) == [20]
    assert chosen_macro(travelling_waves(grid=(24, 40))) == [8, 8]
    assert "model.macro = [20] chosen for a grid of 40 points" in caplog.text
    made = MultiscaleForecaster(ModelConfig(micro=0, hidden=8, drift_hidden=8))
    made.build(DATA)
    assert made.model.network.macro == (20,)


def test_known_physics_is_not_forgotten_in_silence(tmp_path):
    """A callable cannot be saved: loading says so rather than forecasting without it."""
    made = moving(known_drift=lambda field, times, parameters: -field)
    made.save(tmp_path)
    with pytest.raises(InputError, match="known_drift"):
        MultiscaleForecaster.load(tmp_path)
