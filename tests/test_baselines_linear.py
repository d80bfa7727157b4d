"""Baselines of POD coordinates on dynamics that are known in closed form."""

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose

from pyro_msm import data
from pyro_msm.errors import InputError
from pyro_msm.forecasting.baselines import (
    Analog,
    Dmd,
    PodLinear,
    PodSindy,
    pod_forecaster,
    pod_sindy,
)
from pyro_msm.forecasting.baselines.pod import Pod

POINTS = 24
TIMES = np.linspace(0.0, 1.0, 41)
LATER = np.linspace(0.0, 3.0, 121)
DYNAMIC = [Dmd, PodLinear]
NEAREST = {"rank": 1, "neighbours": 1, "offset": False, "warmup": 1, "ridge": None, "reach": 0.05}


def dataset(values, split, times=TIMES, **variables):
    """``values`` (trajectory, time, x) or (trajectory, time, channel, x[, y]), validated."""
    values = values[:, :, None] if values.ndim == 3 else values
    axes = ("x", "y")[: values.ndim - 3]
    dim = "trajectory" if len(split) == len(values) else "time"
    return data.validate(
        xr.Dataset(
            {"field": (("trajectory", "time", "channel", *axes), values), **variables},
            coords={
                "time": times,
                "channel": [f"u{index}" for index in range(values.shape[2])],
                "split": (dim, split),
                **{a: np.arange(n) / n for a, n in zip(axes, values.shape[3:], strict=True)},
            },
            attrs={"boundary": ["periodic"] * len(axes), "domain": [1.0] * len(axes)},
        )
    )


def advected(times, count=10, seed=0, speed=1.0):
    """Band-limited waves (trajectory, time, x) that travel at ``speed``, one more than a period a
    unit of time."""
    rng = np.random.default_rng(seed)
    x = np.arange(POINTS) / POINTS
    values = np.zeros((count, len(times), POINTS))
    for wave in range(1, 4):
        amplitude, phase = rng.normal(size=(count, 1, 1)), rng.uniform(0, 6, (count, 1, 1))
        values += amplitude * np.cos(2 * np.pi * wave * (x - speed * times[:, None]) + phase)
    return values + 0.5


def waves(times=TIMES):
    return dataset(advected(times), ["train"] * 6 + ["validation"] * 2 + ["test"] * 2, times)


def start(values, snapshots=1):
    return values.isel(time=slice(0, snapshots))


@pytest.mark.parametrize("kind", DYNAMIC)
def test_advection_is_exact_far_beyond_the_training_times(kind):
    fitted = kind().fit(waves())
    test = data.select(waves(), "test")
    forecast = fitted.forecast(start(test), LATER[1:])["field"][0, :, :, 0]
    assert_allclose(forecast, advected(LATER)[8:, 1:], atol=2e-3)
    assert fitted.choice["rank"] >= 6


def test_dmd_finds_the_frequencies():
    fitted = Dmd().fit(waves())
    turning = np.abs(fitted._model["rates_imaginary"]) * 40 / (2 * np.pi)
    for wave in (1, 2, 3):
        assert np.abs(turning - wave).min() < 1e-4
    assert np.abs(fitted._model["rates_real"]).min() < 1e-6


@pytest.mark.parametrize("kind", DYNAMIC)
def test_delays_tell_where_a_standing_wave_goes(kind):
    """One snapshot of u = a cos(ωt + φ) shape(x) does not tell its phase; several do."""
    rng = np.random.default_rng(1)
    amplitude, phase = rng.uniform(0.5, 2, (12, 1, 1)), rng.uniform(0, 6, (12, 1, 1))
    shape = np.cos(2 * np.pi * np.arange(POINTS) / POINTS)
    values = amplitude * np.cos(9 * TIMES[:, None] + phase) * shape
    standing = dataset(values, ["train"] * 7 + ["validation"] * 3 + ["test"] * 2)
    test = data.select(standing, "test")
    errors = {}
    for warmup in (1, 4):
        fitted = kind(warmup).fit(standing)
        forecast = fitted.forecast(start(test, warmup), TIMES[4:])
        errors[warmup] = float(np.abs(forecast["field"][0] - test["field"][:, 4:]).max())
        assert (fitted.choice["delays"] > 1) == (warmup > 1)
    assert errors[1] > 0.3
    assert errors[4] < 5e-3


def oscillators(count=8, seed=2):
    """Two spatial shapes whose amplitudes follow a damped oscillator, a' = Ka."""
    rng = np.random.default_rng(seed)
    matrix = np.array([[-0.3, 2.0], [-2.0, -0.3]])
    x = 2 * np.pi * np.arange(POINTS) / POINTS
    shapes = np.stack([np.sin(x), np.cos(2 * x)])
    values, vectors = np.linalg.eig(matrix)
    growth = np.exp(values * LATER[:, None])
    flow = np.einsum("ij,tj,jk->tik", vectors, growth, np.linalg.inv(vectors)).real
    starts = rng.normal(size=(count, 2))
    fields = np.einsum("tik,nk,ix->ntx", flow, starts, shapes)
    return dataset(fields, ["train"] * 5 + ["validation"] + ["test"] * 2, LATER), values


def test_sindy_recovers_a_linear_equation():
    record, values = oscillators()
    fitted = PodSindy().fit(record)
    assert fitted.choice["rank"] == 2
    powers, weights = fitted._model["powers"], fitted._model["weights"]
    linear = weights[[int(np.flatnonzero((powers == unit).all(1))[0]) for unit in np.eye(2)]]
    found = np.sort_complex(np.linalg.eigvals(linear)) / (LATER[1] - LATER[0])
    assert_allclose(found, np.sort_complex(values), atol=5e-3)
    test = data.select(record, "test")
    forecast = fitted.forecast(start(test), LATER[1:])["field"][0]
    assert_allclose(forecast, test["field"][:, 1:], atol=0.01)


def test_sindy_within_a_budget_tries_some_settings_the_same_every_time(monkeypatch):
    record, _ = oscillators()
    tried = []
    monkeypatch.setattr(pod_sindy, "_powers", lambda *place: tried.append(place) or None)
    for _ in range(2):
        with pytest.raises(InputError, match="no setting could be fitted"):
            PodSindy(budget_seconds=0.0).fit(record)
    first, second = tried
    assert first[1:] == second[1:]
    with pytest.raises(InputError, match="no setting could be fitted"):
        PodSindy().fit(record)
    assert len(tried) > 4


def test_what_blows_up_is_said_to_diverge():
    """x' = x² reaches infinity at t = 1/x(0), here at half the training horizon beyond it."""
    choice = {"rank": 1, "degree": 2, "threshold": 0.0, "window": 5}
    model = {
        "powers": np.array([[0], [1], [2]]),
        "weights": np.array([[0.0], [0.0], [0.05]]),
        "scale": np.ones(1),
        "frames": np.array([41]),
        "bound": np.array([100.0]),
    }
    values = np.linspace(-1, 1, 82).reshape(2, 41)[..., None] * np.ones(POINTS)
    fitted = PodSindy()
    fitted.choice, fitted._model = choice, model
    fitted._pod, fitted._step = Pod.of(values[:, :, None].astype(np.float32)), 0.025
    initial = dataset(np.full((1, 2, POINTS), 0.4), ["train"], TIMES[:2])
    first = abs(fitted._pod.coordinates(start(initial)["field"].values)[0, 0, 0])
    sign = np.sign(fitted._pod.coordinates(start(initial)["field"].values)[0, 0, 0])
    fitted._model["weights"][2] *= sign
    blown = 0.025 / (0.05 * first)
    forecast = fitted.forecast(start(initial), LATER)
    diverged = float(forecast["diverged_at"][0, 0])
    assert blown - 0.03 < diverged < blown + 0.06
    finite = np.isfinite(forecast["field"][0, 0]).all(("channel", "x")).values
    assert (finite == (diverged - 1e-9 > LATER)).all()


def test_analog_follows_the_trajectory_that_it_starts_on():
    record = waves()
    fitted = Analog().fit(record)
    train = data.select(record, "train")
    fitted.choice = NEAREST | {"rank": 6}
    middle = train.isel(time=slice(10, 11))
    forecast = fitted.forecast(middle, TIMES[11:])["field"][0]
    assert_allclose(forecast, train["field"][:, 11:], atol=1e-4)


def test_analog_beyond_the_data_matches_again_or_stays():
    record = waves()
    fitted = Analog().fit(record)
    fitted.choice = NEAREST | {"rank": 6}
    train = data.select(record, "train")
    forecast = fitted.forecast(start(train), LATER)["field"][0, :, :, 0]
    # The waves return after one unit of time, and the last frame is the first one again.
    assert_allclose(forecast, advected(LATER)[:6], atol=1e-3)
    decaying = np.exp(-TIMES)[:, None] * np.linspace(1, 2, 7)[:, None, None] * np.ones(POINTS)
    alone = dataset(decaying, ["train"] * 5 + ["validation"] * 2)
    fitted = Analog().fit(alone)
    fitted.choice = NEAREST
    lowest = data.select(alone, "train").isel(trajectory=[0])
    forecast = fitted.forecast(start(lowest), LATER)["field"][0, 0, :, 0, 0]
    assert_allclose(forecast[40:], np.exp(-1), rtol=1e-4)


@pytest.mark.parametrize("kind", [Analog, *DYNAMIC, PodSindy])
def test_one_long_record_split_in_time(kind):
    times = np.linspace(0, 5, 201)
    record = dataset(
        advected(times, count=1), ["train"] * 121 + ["validation"] * 40 + ["test"] * 40, times
    )
    test = data.select(record, "test")
    fitted = kind().fit(record)
    forecast = fitted.forecast(start(test), test["time"].values[1:])["field"][0]
    assert_allclose(forecast, test["field"][:, 1:], atol=0.05)


@pytest.mark.parametrize("kind", [Analog, *DYNAMIC, PodSindy])
def test_two_channels_in_two_dimensions_without_validation(kind, tmp_path):
    one = advected(TIMES)[:, :, None, :, None]
    values = np.concatenate([one * np.ones(4), 100 * np.roll(one, 5, axis=3) * np.ones(4)], axis=2)
    record = dataset(values, ["train"] * 9 + ["test"])
    test = data.select(record, "test")
    fitted = kind().fit(record)
    forecast = fitted.forecast(start(test), TIMES[1:])
    assert forecast["field"].dims == ("member", "trajectory", "time", "channel", "x", "y")
    if kind in DYNAMIC:
        assert_allclose(forecast["field"][0, :, :, 0], test["field"][:, 1:, 0], atol=1e-2)
        assert_allclose(forecast["field"][0, :, :, 1], test["field"][:, 1:, 1], atol=1)
    fitted.save(tmp_path)
    again = kind.load(tmp_path)
    xr.testing.assert_identical(again.forecast(start(test), TIMES[1:]), forecast)
    assert again.choice == fitted.choice


def test_gaps_are_filled():
    complete = waves()
    mask = np.random.default_rng(3).random(complete["field"].shape) < 0.8
    gappy = data.validate(
        complete.assign(field=complete["field"].where(mask), mask=(complete["field"].dims, mask))
    )
    fitted = PodLinear().fit(gappy)
    test = data.select(gappy, "test")
    truth = data.select(complete, "test")["field"][:, 1:]
    forecast = fitted.forecast(start(test), TIMES[1:])["field"][0]
    assert float(np.sqrt(((forecast - truth) ** 2).mean())) < 0.15


@pytest.mark.parametrize("kind", [Analog, *DYNAMIC, PodSindy])
def test_what_never_changes_stays(kind):
    still = dataset(
        np.full((5, 21, POINTS), 3.0), ["train"] * 3 + ["validation", "test"], TIMES[:21]
    )
    forecast = kind().fit(still).forecast(start(data.select(still, "test")), LATER)
    assert_allclose(forecast["field"], 3, rtol=1e-5)


def turning_points(name):
    """Points on a circle of random radius, all turning at the same rate."""
    angle = np.linspace(0, 6, 31)[:, None] + np.arange(2)
    turning = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    radius = np.random.default_rng(6).uniform(1, 2, (8, 1, 1, 1))
    values = radius * turning
    dims = ("trajectory", "time", "particle", "component")
    if name == "path":
        values, dims = values[:, :, 0], ("trajectory", "time", "component")
    return data.validate(
        xr.Dataset(
            {name: (dims, values)},
            {
                "time": np.linspace(0, 6, 31),
                "component": ["x", "y"],
                "split": ("trajectory", ["train"] * 5 + ["validation"] * 2 + ["test"]),
            },
        )
    )


@pytest.mark.parametrize("kind", [Analog, *DYNAMIC, PodSindy])
def test_paths(kind):
    record = turning_points("path")
    test = data.select(record, "test")
    forecast = kind().fit(record).forecast(start(test), test["time"].values[1:])
    assert forecast["path"].dims == ("member", "trajectory", "time", "component")
    assert_allclose(forecast["path"][0], test["path"][:, 1:], atol=0.2)


@pytest.mark.parametrize("kind", [Analog, *DYNAMIC, PodSindy])
def test_particles_have_no_order_to_learn_from(kind):
    with pytest.raises(InputError, match="particles"):
        kind().fit(turning_points("particles"))


def test_pod_keeps_what_varies_and_counts_the_rest():
    rng = np.random.default_rng(4)
    basis = np.linalg.qr(rng.standard_normal((POINTS, 3)))[0].T
    scores = rng.standard_normal((5, 40, 3)) * [5, 2, 1]
    values = (scores @ basis + 1).astype(np.float32)[:, :, None]
    pod = Pod.of(values)
    assert pod.rank == 3
    coordinates = pod.coordinates(values)
    assert_allclose(pod.fields(coordinates), values, atol=1e-4)
    outside, size = pod.outside(values, coordinates)
    assert_allclose(outside, 0, atol=1e-4)
    assert_allclose(size, (values.astype(float) ** 2).sum((2, 3)) / pod.scale[0, 0] ** 2, rtol=1e-4)
    mask = np.ones(values.shape, bool)
    mask[:, :, :, ::3] = False
    assert_allclose(pod.coordinates(values, mask), coordinates, atol=1e-2)


def test_pod_of_many_points_is_that_of_few():
    rng = np.random.default_rng(5)
    few = rng.standard_normal((4, 30, 1, 10)).astype(np.float32) * np.arange(1, 11)
    many = np.repeat(few, 300, axis=3)
    assert_allclose(Pod.of(many).variance / 300, Pod.of(few).variance, rtol=1e-3)


def test_delay_vectors_hold_the_newest_part_first():
    numbers = np.arange(6.0).reshape(1, 6, 1)
    expected = [[4, 2, 0], [5, 3, 1]]
    assert_allclose(pod_forecaster.embedded(numbers, 3, 2)[0], expected)


def test_messages_say_what_is_missing():
    record = waves()
    with pytest.raises(InputError, match="dmd from 41 snapshots needs 43 snapshots"):
        Dmd(41).fit(record)
    fitted = PodLinear(3).fit(record)
    test = data.select(record, "test")
    with pytest.raises(InputError, match="starts from 3 snapshots and was given 1"):
        fitted.forecast(start(test), TIMES[1:])
    with pytest.raises(
        InputError, match=r"3 snapshots 0.025 apart, and was given the times 0, 0.05"
    ):
        fitted.forecast(test.isel(time=[0, 2, 4]), TIMES[5:])
    with pytest.raises(InputError, match="dmd is not fitted"):
        Dmd().forecast(start(test), TIMES[1:])
    path = xr.Dataset(
        {"path": (("trajectory", "time", "component"), np.random.default_rng(0).random((4, 5, 2)))},
        {"time": [0.0, 1.0, 2.0, 4.0, 5.0], "split": ("trajectory", ["train"] * 3 + ["test"])},
    )
    with pytest.raises(InputError, match="needs snapshots at equal steps of time"):
        PodLinear().fit(data.validate(path))
