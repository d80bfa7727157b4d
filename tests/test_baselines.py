"""Baselines on data whose best forecast is known in closed form."""

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal

from pyro_msm import data
from pyro_msm.errors import InputError
from pyro_msm.forecasting.baselines import (
    BASELINES,
    InitialRegression,
    MeanTrajectory,
    Persistence,
    regression,
)

TIMES = np.linspace(0.0, 2.0, 11)
POINTS = 16


def dataset(values, split, times=TIMES, **variables):
    """``values`` (trajectory, time, x) as a validated dataset."""
    dim = "trajectory" if len(split) == len(values) else "time"
    return data.validate(
        xr.Dataset(
            {"field": (("trajectory", "time", "channel", "x"), values[:, :, None]), **variables},
            coords={
                "time": times,
                "channel": ["u"],
                "x": np.arange(POINTS) / POINTS,
                "split": (dim, split),
            },
            attrs={"boundary": ["periodic"], "domain": [1.0]},
        )
    )


def linear_family(seed=0, train=6, validation=3, test=4, noise=0.0):
    """Trajectories that are linear in two numbers, both visible in the initial snapshot."""
    rng = np.random.default_rng(seed)
    count = train + validation + test
    x = 2 * np.pi * np.arange(POINTS) / POINTS
    shapes = np.stack([np.sin(x), np.cos(2 * x), np.cos(x)])
    growth = np.stack([np.exp(-TIMES), np.cos(3 * TIMES), 1 + TIMES**2])
    amplitudes = np.column_stack([rng.normal(size=(count, 2)), np.ones(count)])
    values = np.einsum("na,at,ax->ntx", amplitudes, growth, shapes)
    values += noise * rng.standard_normal(values.shape)
    split = ["train"] * train + ["validation"] * validation + ["test"] * test
    return dataset(values, split)


def start(test, snapshots=1):
    return test.isel(time=slice(0, snapshots))


@pytest.mark.parametrize("name", BASELINES)
def test_a_forecast_has_the_form_of_the_contract(name):
    family = linear_family()
    test = data.select(family, "test")
    forecast = BASELINES[name]().fit(family).forecast(start(test), TIMES[1:], members=7)
    assert forecast["field"].dims == ("member", "trajectory", "time", "channel", "x")
    assert forecast["field"].shape == (1, 4, 10, 1, POINTS)
    assert forecast["field"].dtype == np.float32
    assert forecast["diverged_at"].dims == ("member", "trajectory")
    assert np.isnan(forecast["diverged_at"]).all()
    assert_array_equal(forecast["time"], TIMES[1:])
    assert_array_equal(forecast["trajectory"], test["trajectory"])
    assert_array_equal(forecast["x"], test["x"])


@pytest.mark.parametrize("name", BASELINES)
def test_saving_and_loading_changes_nothing(name, tmp_path):
    family = linear_family(noise=0.1)
    fitted = BASELINES[name]().fit(family)
    fitted.save(tmp_path)
    loaded = BASELINES[name].load(tmp_path)
    initial = start(data.select(family, "test"))
    xr.testing.assert_identical(
        loaded.forecast(initial, TIMES[1:]), fitted.forecast(initial, TIMES[1:])
    )


def test_persistence_repeats_the_last_snapshot():
    family = linear_family()
    test = data.select(family, "test")
    forecast = Persistence().fit(family).forecast(start(test, 3), TIMES[3:])
    expected = np.broadcast_to(test["field"].values[:, 2:3], forecast["field"].shape[1:])
    assert_array_equal(forecast["field"][0], expected)


def test_persistence_fills_gaps_with_the_training_mean():
    family = linear_family()
    family["mask"] = xr.ones_like(family["field"], bool)
    family["mask"][9:, 0, 0, 5] = False
    test = data.select(family, "test")
    forecast = Persistence().fit(family).forecast(start(test), TIMES[1:])
    mean = data.select(family, "train")["field"].mean(("trajectory", "time"))[0, 5]
    assert_allclose(forecast["field"][0, :, :, 0, 5], mean, rtol=1e-5)
    assert_array_equal(forecast["field"][0, :, 0, 0, 6], test["field"][:, 0, 0, 6])


def test_mean_trajectory_interpolates_and_holds():
    family = linear_family()
    mean = data.select(family, "train")["field"].mean("trajectory").values
    times = np.array([TIMES[1], (TIMES[3] + 3 * TIMES[4]) / 4, TIMES[-1], 9.0])
    initial = start(data.select(family, "test"))
    forecast = MeanTrajectory().fit(family).forecast(initial, times)["field"][0]
    expected = np.stack([mean[1], (mean[3] + 3 * mean[4]) / 4, mean[-1], mean[-1]])
    assert_allclose(forecast, np.broadcast_to(expected, forecast.shape), rtol=1e-5, atol=1e-6)


def test_mean_trajectory_averages_what_was_observed():
    family = linear_family()
    mask = np.random.default_rng(1).random(family["field"].shape) < 0.5
    mask[:, 4, 0, 3] = False
    family["field"] = family["field"].where(mask)
    family["mask"] = (family["field"].dims, mask)
    family = data.validate(family)
    forecast = MeanTrajectory().fit(family).forecast(start(data.select(family, "test")), TIMES)
    observed = data.select(family, "train")["field"].mean("trajectory").fillna(0)
    assert_allclose(forecast["field"][0, 0], observed, rtol=1e-5, atol=1e-6)
    assert (forecast["field"][0, :, 4, 0, 3] == 0).all()


def test_mean_of_a_record_split_in_time_is_its_time_mean():
    values = np.random.default_rng(0).standard_normal((1, 11, POINTS))
    record = dataset(values, ["train"] * 6 + ["validation"] * 2 + ["test"] * 3)
    test = data.select(record, "test")
    forecast = MeanTrajectory().fit(record).forecast(start(test), TIMES[9:])
    expected = np.broadcast_to(values[0, :6].mean(0), (2, POINTS))
    assert_allclose(forecast["field"][0, 0, :, 0], expected, rtol=1e-5, atol=1e-6)


def test_regression_is_exact_on_a_linear_family_and_finds_its_rank():
    family = linear_family()
    test = data.select(family, "test")
    fitted = InitialRegression().fit(family)
    assert (fitted.rank, fitted.ridge) == (2, 0.0)
    forecast = fitted.forecast(start(test), TIMES[1:])["field"][0]
    assert_allclose(forecast, test["field"][:, 1:], atol=2e-5)
    halfway = fitted.forecast(start(test), np.array([(TIMES[4] + TIMES[5]) / 2, 7.0]))["field"][0]
    assert_allclose(halfway[:, 0], test["field"][:, 4:6].mean("time"), atol=2e-5)
    assert_allclose(halfway[:, 1], test["field"][:, -1], atol=2e-5)


def test_regression_is_ridge_regression():
    rng = np.random.default_rng(2)
    anomalies = rng.standard_normal((7, 1, 1, 9)).astype(np.float32)
    anomalies -= anomalies.mean(0)
    coordinates = regression._coordinates(anomalies, np.zeros((1, 1, 9), np.float32))
    scores = anomalies.reshape(7, 9) @ coordinates.modes[:3].T.astype(float)
    penalty = 0.01 * coordinates.values[0] ** 2 * np.eye(3)
    expected = np.linalg.solve(scores.T @ scores + penalty, scores.T)
    assert_allclose(coordinates.weights(3, 0.01), expected, atol=1e-6)


def test_regression_falls_back_to_the_mean_where_the_start_says_nothing():
    rng = np.random.default_rng(3)
    values = rng.standard_normal((60, 11, POINTS)) + 1
    unrelated = dataset(values, ["train"] * 20 + ["validation"] * 40)
    fitted = InitialRegression().fit(unrelated)
    assert fitted.rank == 0
    initial = start(data.select(unrelated, "validation"))
    xr.testing.assert_allclose(
        fitted.forecast(initial, TIMES[1:]),
        MeanTrajectory().fit(unrelated).forecast(initial, TIMES[1:]),
    )


@pytest.mark.parametrize("train", [1, 2, 6])
def test_regression_needs_no_validation_split(train):
    family = linear_family(train=train, validation=0, noise=1e-3)
    test = data.select(family, "test")
    fitted = InitialRegression().fit(family)
    forecast = fitted.forecast(start(test), TIMES[1:])["field"][0]
    if train == 6:
        assert_allclose(forecast, test["field"][:, 1:], atol=0.1)
    else:
        assert fitted.rank < train
        assert np.isfinite(forecast).all()


def test_regression_from_several_snapshots_averages_their_noise():
    errors = []
    for warmup in (1, 4):
        family = linear_family(seed=4, train=80, validation=20, test=30, noise=0.3)
        test = data.select(family, "test")
        forecast = InitialRegression(warmup).fit(family).forecast(start(test, warmup), TIMES[4:])
        truth = data.select(linear_family(4, 80, 20, 30), "test")["field"][:, 4:]
        errors.append(float(((forecast["field"][0] - truth) ** 2).mean()))
    assert errors[1] < 0.8 * errors[0]


def test_unobserved_starting_points_count_as_mean():
    family = linear_family()
    family["mask"] = xr.ones_like(family["field"], bool)
    family["mask"][9:, 0] = False
    initial = start(data.select(family, "test"))
    forecast = InitialRegression().fit(family).forecast(initial, TIMES[1:])
    mean = MeanTrajectory().fit(family).forecast(initial, TIMES[1:])
    assert_allclose(forecast["field"], mean["field"], atol=1e-5)


def test_regression_tells_what_it_cannot_do(tmp_path):
    family = linear_family()
    test = data.select(family, "test")
    with pytest.raises(InputError, match=r"fitted to start at t=0 and was asked to start at t=0.4"):
        InitialRegression().fit(family).forecast(start(test, 3), TIMES[3:])
    with pytest.raises(InputError, match="starts from 2 snapshots and was given 1"):
        InitialRegression(2).fit(family).forecast(start(test), TIMES[1:])
    with pytest.raises(InputError, match="regression from 12 snapshots: the data have 11"):
        InitialRegression(12).fit(family)
    record = dataset(np.ones((1, 11, POINTS)), ["train"] * 8 + ["test"] * 3)
    with pytest.raises(InputError, match="needs several trajectories"):
        InitialRegression().fit(record)
    Persistence().fit(family).save(tmp_path)
    with pytest.raises(InputError, match=r"holds forecaster 'persistence'"):
        InitialRegression.load(tmp_path)


def test_published_kdv_gives_the_errors_that_we_state():
    """Seed 0, final-paper sizes: regression .023, mean trajectory .061, persistence .78."""
    kdv = data.systems.get("kdv-1d").simulate(frames=51)
    test = data.select(kdv, "test")
    truth = test["field"].values[:, 1:, 0]
    errors = {}
    for name, baseline in BASELINES.items():
        forecast = baseline().fit(kdv).forecast(start(test), test["time"].values[1:])
        difference = forecast["field"].values[0, :, :, 0] - truth
        relative = np.linalg.norm(difference, axis=-1) / np.linalg.norm(truth, axis=-1)
        errors[name] = relative.mean()
    assert_allclose(errors["regression"], 0.023, atol=0.002)
    assert_allclose(errors["mean-trajectory"], 0.061, atol=0.003)
    assert_allclose(errors["persistence"], 0.78, atol=0.02)
