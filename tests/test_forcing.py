"""Forecasts that a forcing drives: how far it reaches, and where new data keep it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from pyro_msm import data as datasets
from pyro_msm.errors import InputError
from pyro_msm.forecasting import Forecaster, initial_window
from pyro_msm.forecasting.led import LEDForecaster
from tests.small_fields import forecaster, training_windows, travelling_waves, with_drivers
from tests.small_led import small_led, swarm

DIMS = ("trajectory", "forcing_time", "component")
Made = tuple[Forecaster, xr.Dataset]


def multiscale() -> Made:
    data = with_drivers(travelling_waves())
    made = forecaster(data)
    with torch.no_grad():
        made.model.network.log_dispersion.fill_(-1.0)
    return made, datasets.select(data, "test")


def led() -> Made:
    data, made = swarm(), small_led()
    made.build(data, 0)
    return made, datasets.select(data, "test")


def on_its_own_times(data: xr.Dataset, part: slice = slice(None)) -> xr.Dataset:
    """The same with the forcing of some times on a dimension of its own."""
    forcing = data["forcing"].isel(time=part).rename(time="forcing_time")
    return data.drop_vars("forcing").assign(forcing=forcing)


@pytest.mark.parametrize("family", [multiscale, led])
def test_new_data_hold_the_forcing_of_the_forecast(
    family: Callable[[], Made], tmp_path: Path
) -> None:
    """The last snapshots alone, with all the forcing, forecast as the whole record does."""
    made, test = family()
    times = test["time"].values[8:]
    now = on_its_own_times(test).isel(time=slice(9 - made.warmup, 9))
    for name in ("now.nc", "now.zarr"):
        datasets.save(now, tmp_path / name)
        window = initial_window(datasets.open(tmp_path / name), made.warmup, last=-1)
        found = made.forecast(window, times, 2, 1)
        expected = made.forecast(initial_window(test, made.warmup, last=8), times, 2, 1)
        variable = datasets.variable(found)
        assert np.isfinite(found[variable]).all()
        np.testing.assert_array_equal(found[variable], expected[variable])


@pytest.mark.parametrize("family", [multiscale, led])
def test_a_forcing_that_ends_before_the_forecast_is_told(family: Callable[[], Made]) -> None:
    made, test = family()
    times, warmup = test["time"].values, made.warmup
    now = test.isel(time=slice(9 - warmup, 9))
    expected = (
        rf"the forcing goes from t = {times[9 - warmup]:g} to {times[8]:g} and is needed from "
        rf".* to {times[-1]:g}: give the initial data forcing\(trajectory, forcing_time, component"
    )
    with pytest.raises(InputError, match=expected) as caught:
        made.forecast(initial_window(now, warmup, last=-1), times[8:])
    assert "\n" not in str(caught.value)
    # A thousandth of a step may be missing, no more.
    step = times[1] - times[0]
    window = initial_window(test, warmup, last=8)
    made.forecast(window, [times[9], times[-1] + 2e-4 * step])
    with pytest.raises(InputError, match="is needed"):
        made.forecast(window, [times[9], times[-1] + 0.01 * step])


@pytest.mark.parametrize("family", [multiscale, led])
def test_a_forcing_that_begins_after_what_the_model_reads_is_told(
    family: Callable[[], Made],
) -> None:
    made, test = family()
    first = 9 - (made.warmup if isinstance(made, LEDForecaster) else 1)
    for start, told in ((first, False), (first + 1, True)):
        window = initial_window(on_its_own_times(test, slice(start, None)), made.warmup, last=8)
        if told:
            with pytest.raises(InputError, match="is needed from"):
                made.forecast(window, test["time"].values[8:])
        else:
            made.forecast(window, test["time"].values[8:])


@pytest.mark.parametrize("data", [travelling_waves(), swarm().drop_vars("forcing")])
def test_a_model_without_forcing_asks_for_none(data: xr.Dataset) -> None:
    made: Any = forecaster(data) if "field" in data else small_led()
    if isinstance(made, LEDForecaster):
        made.build(data, 0)
    now = datasets.select(data, "test").isel(time=slice(0, made.warmup))
    forced = now.assign(forcing=(("trajectory", "time", "component"), np.ones((1, made.warmup, 2))))
    times = data["time"].values[made.warmup :]
    found, expected = (
        made.forecast(initial_window(d, made.warmup), times, 2, 1) for d in (forced, now)
    )
    xr.testing.assert_equal(found, expected)


def test_training_takes_a_forcing_at_times_of_its_own() -> None:
    data = with_drivers(travelling_waves())
    at = data["time"].values
    fine = np.linspace(at[0], at[-1], 2 * len(at) - 1)
    forcing = data["forcing"].interp(time=fine).rename(time="forcing_time")
    finer = datasets.validate(data.drop_vars("forcing").assign(forcing=forcing))
    which, start = torch.tensor([1, 0]), torch.tensor([7, 0])
    one, other = (training_windows(d).cut(which, start) for d in (data, finer))
    times = one.start[:, None] + one.times
    torch.testing.assert_close(other.forcing(times), one.forcing(times), atol=1e-5, rtol=1e-5)


def test_the_command_line_forecasts_with_the_forcing_of_the_horizon(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    data = with_drivers(travelling_waves(count=31))
    file, run, now = tmp_path / "mine.nc", tmp_path / "run", tmp_path / "now.nc"
    datasets.save(data, file)
    small = [
        "model.macro=10", "model.micro=2", "model.hidden=8", "model.drift_hidden=8",
        "model.basis=4", "training.steps=4", "training.window_length=4", "training.stride=2",
        "training.windows=2", "training.validate_every=4", "training.calibrate=false",
        "rollout.times=5",
    ]  # fmt: skip
    settings = [part for text in small for part in ("--set", text)]
    trained = cli("train", file, "--out", run, "--quiet", *settings)
    assert trained.exit_code == 0, trained.output
    forecast = ("forecast", run, "--initial", now, "--members", 2, "--force", "-o")
    datasets.save(data.isel(time=[-1]), now)
    refused = cli(*forecast, tmp_path / "next.nc")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert "the forcing goes from t = 1 to 1 and is needed from 1 to 2" in refused.stderr
    ahead = np.linspace(1, 2, 6)
    driven = data.isel(time=[-1]).assign(forcing=(DIMS, np.ones((4, 6, 1))))
    datasets.save(driven.assign_coords(forcing_time=ahead), now)
    done = cli(*forecast, tmp_path / "next.nc")
    assert done.exit_code == 0, done.output
    with xr.open_dataset(tmp_path / "next.nc") as found:
        assert float(found["time"][-1]) == 2.0
        assert np.isfinite(found["field"]).all()
