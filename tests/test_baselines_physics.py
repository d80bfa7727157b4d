"""Coarse simulation, the neural operator, and fitting all baselines at once."""

import sys

import numpy as np
import pytest
import torch
import xarray as xr
from numpy.testing import assert_allclose

from pyro_msm import data
from pyro_msm.errors import InputError
from pyro_msm.forecasting.baselines import (
    ALL_BASELINES,
    CoarseDns,
    Fno,
    coarse_dns,
    fit_all,
    resampling,
)
from pyro_msm.forecasting.baselines.fourier_operator import FourierOperator, SpectralConvolution


def start(values, snapshots=1):
    return values.isel(time=slice(0, snapshots))


def error_of(forecast, truth):
    difference = forecast["field"].values[0] - truth
    axes = tuple(range(2, truth.ndim))
    return float((np.sqrt((difference**2).sum(axes)) / np.sqrt((truth**2).sum(axes))).mean())


def burgers(points=320, **options):
    counts = {"train": 3, "validation": 2, "test": 2}
    system = data.systems.get("burgers-1d")
    return system.simulate(counts, seed=4, noise_std=0.0, points=points, frames=21, **options)


def waves(points=64, frames=21, channels=1, count=8):
    """Periodic waves that travel one period a unit of time: (trajectory, time, channel, x)."""
    rng = np.random.default_rng(0)
    times, x = np.linspace(0, 1, frames), np.arange(points) / points
    phase = rng.uniform(0, 1, (count, 1, 1, 1)) + np.arange(channels)[:, None] / 3
    values = np.sin(2 * np.pi * (x - times[:, None, None] + phase))
    return data.validate(
        xr.Dataset(
            {"field": (("trajectory", "time", "channel", "x"), values)},
            coords={
                "time": times,
                "x": x,
                "channel": [f"u{index}" for index in range(channels)],
                "split": ("trajectory", ["train"] * (count - 3) + ["validation"] * 2 + ["test"]),
            },
            attrs={"boundary": ["periodic"], "domain": [1.0]},
        )
    )


def test_coarse_simulation_converges_to_the_fine_one():
    record = burgers(viscosity=5e-3)
    test = data.select(record, "test")
    times = test["time"].values[1:]
    errors = {}
    for scheme in ("own", "limited", "galerkin"):
        for points in (20, 40, 80):
            fitted = CoarseDns(points).fit(record)
            fitted.choice = fitted.choice | {"scheme": scheme}
            forecast = fitted.forecast(start(test), times)
            errors[scheme, points] = error_of(forecast, test["field"].values[:, 1:])
    # The first two are of second order; the last is as good as the data, which are of 320 points.
    for scheme in ("own", "limited"):
        assert errors[scheme, 20] > 2.5 * errors[scheme, 40] > 6 * errors[scheme, 80]
    assert errors["galerkin", 40] < 3e-3
    assert CoarseDns(20).fit(record).choice["scheme"] == "galerkin"


def test_coarse_simulation_of_shocks_is_stable():
    """Central differences on 20 points diverge here."""
    hard = data.systems.get("burgers-1d-hard").simulate(
        {"train": 1, "validation": 4, "test": 2}, seed=3, frames=51
    )
    fitted = CoarseDns(20).fit(hard)
    assert fitted.choice["scheme"] != "own"
    assert fitted.validation_error < 0.35
    test = data.select(hard, "test")
    forecast = fitted.forecast(start(test), test["time"].values[1:])
    assert error_of(forecast, test["field"].values[:, 1:]) < 0.35
    fitted.choice = {"way": "fourier", "scheme": "own", "options": {}}
    forecast = fitted.forecast(start(data.select(hard, "validation")), test["time"].values[1:])
    assert np.isfinite(forecast["diverged_at"]).any()


def test_coarse_simulation_on_the_full_grid_is_the_system_itself():
    record = burgers()
    test = data.select(record, "test")
    fitted = CoarseDns(320).fit(record)
    forecast = fitted.forecast(start(test), test["time"].values)
    assert_allclose(forecast["field"][0], test["clean"], atol=1e-4)


def test_coarse_simulation_may_start_and_look_at_any_time():
    record = burgers()
    test, fitted = data.select(record, "test"), CoarseDns(80).fit(record)
    whole = fitted.forecast(start(test), test["time"].values[1:])
    sparse = fitted.forecast(start(test), test["time"].values[[4, 20]])
    assert_allclose(sparse["field"], whole["field"][:, :, [3, 19]], atol=1e-4)
    late = fitted.forecast(test.isel(time=[5]), test["time"].values[6:])
    assert error_of(late, test["field"].values[:, 6:]) < 0.2


def test_coarse_simulation_chooses_the_scheme_on_validation():
    counts = {"train": 1, "validation": 2, "test": 1}
    kdv = data.systems.get("kdv-1d").simulate(counts, frames=11, scheme="spectral", points=500)
    fitted = CoarseDns(100).fit(kdv)
    tried = [choice["options"] for choice in fitted._choices()]
    assert {"scheme": "published"} in tried
    assert {"scheme": "spectral"} in tried
    assert fitted.choice["options"] != {"scheme": "published"}
    test = data.select(kdv, "test")
    forecast = fitted.forecast(start(test), test["time"].values[1:])
    assert error_of(forecast, test["clean"].values[:, 1:]) < 0.03


def test_coarse_simulation_that_blows_up_says_when():
    record = burgers()
    fitted = CoarseDns(20).fit(record)
    fitted.choice = fitted.choice | {"scheme": "own"}
    initial = start(data.select(record, "test")) * 1.0
    initial["field"] = initial["field"] * 1e3
    initial.attrs = record.attrs
    times = record["time"].values[1:]
    forecast = fitted.forecast(initial, times)
    diverged = forecast["diverged_at"].values[0]
    assert np.isfinite(diverged).all()
    for row, when in enumerate(diverged):
        finite = np.isfinite(forecast["field"].values[0, row]).all((1, 2))
        assert (finite == (times < when)).all()


def test_coarse_flow_may_have_more_viscosity():
    tried = coarse_dns._variants(data.systems.get("cylinder-2d", reynolds=80, later_reynolds=40))
    assert [options["reynolds"] for options in tried] == [80, 40, 20, 10]
    assert [options["later_reynolds"] for options in tried] == [40, 20, 10, 5]
    assert coarse_dns._variants(data.systems.get("shallow-water-2d")) == [{}]


def test_coarse_simulation_needs_known_equations():
    with pytest.raises(InputError, match="these data come from none"):
        CoarseDns().fit(waves())


@pytest.mark.parametrize("fine", [60, 61])
@pytest.mark.parametrize("coarse", [15, 20])
def test_fourier_restriction_is_the_exact_low_pass(fine, coarse):
    x, few = np.arange(fine) / fine, np.arange(coarse) / coarse
    kept = (coarse - 1) // 2

    def signal(points, top):
        return sum(np.cos(2 * np.pi * wave * points + wave) for wave in range(top + 1))

    low = resampling.fourier(few, x, 1.0) @ signal(x, 25)
    assert_allclose(low, signal(few, kept), atol=1e-12)
    assert_allclose(resampling.fourier(x, few, 1.0) @ low, signal(x, kept), atol=1e-12)


@pytest.mark.parametrize("periodic", [True, False])
def test_averages_and_cubics_keep_what_they_should(periodic):
    fine, coarse = (np.arange(count) + 0.5 for count in (120, 24))
    fine, coarse = fine / 120, coarse / 24
    down = resampling.averages(coarse, fine, 1.0, periodic)
    up = resampling.cubic(fine, coarse, 1.0, periodic)
    assert_allclose(down.sum(1), 1)
    assert_allclose(up.sum(1), 1)
    noise = np.random.default_rng(0).standard_normal(120)
    assert_allclose(down @ noise, noise.reshape(24, 5).mean(1))
    if not periodic:
        inner = (fine > coarse[0]) & (fine < coarse[-1])
        assert_allclose((up @ coarse**3)[inner], (fine**3)[inner], atol=1e-12)
    grid = np.random.default_rng(1).standard_normal((3, 120, 120))
    blocks = grid.reshape(3, 24, 5, 24, 5).mean((2, 4))
    assert_allclose(resampling.apply([down, down], grid), blocks)


def test_spectral_convolution_is_translation_equivariant_and_of_any_resolution():
    torch.manual_seed(0)
    layer = SpectralConvolution(3, (4,))
    x = torch.arange(32) / 32
    wave = torch.cos(2 * torch.pi * (2 * x + 0.1)).expand(1, 3, 32)
    assert_allclose(layer(wave.roll(5, -1)).detach(), layer(wave).roll(5, -1).detach(), atol=1e-6)
    finer = torch.cos(2 * torch.pi * (2 * torch.arange(64) / 64 + 0.1)).expand(1, 3, 64)
    assert_allclose(layer(finer)[..., ::2].detach(), layer(wave).detach(), atol=1e-6)


def test_the_operator_in_two_dimensions_uses_all_parameters():
    network = FourierOperator(2, 1, 6, (3, 3), (True, False), layers=2)
    network(torch.randn(2, 2, 12, 10)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_the_operator_learns_advection():
    record = waves(points=32)
    test = data.select(record, "test")
    fitted = Fno(steps=100).fit(record)
    forecast = fitted.forecast(start(test), test["time"].values[1:])
    assert error_of(forecast, test["field"].values[:, 1:]) < 0.1
    assert fitted.validation_error < 0.1


def test_the_operator_is_reproducible_and_survives_saving(tmp_path):
    record = waves(points=300, frames=9, channels=2)
    record.attrs["boundary"] = ["wall"]
    test = data.select(record, "test")
    first, second = (Fno(steps=3, seed=5).fit(record) for _ in range(2))
    times = np.linspace(0.05, 3, 20)
    forecast = first.forecast(start(test), times)
    xr.testing.assert_identical(second.forecast(start(test), times), forecast)
    first.save(tmp_path)
    xr.testing.assert_identical(Fno.load(tmp_path).forecast(start(test), times), forecast)
    assert forecast["field"].shape == (1, 1, 20, 2, 300)


def test_the_operator_in_a_small_plane():
    record = waves(points=12, frames=6)
    plane = record["field"].expand_dims(y=np.arange(70) / 70, axis=4)
    record = xr.Dataset({"field": plane}, record.coords)
    record.attrs = {"boundary": ["periodic", "open"], "domain": [1.0, 1.0]}
    record = data.validate(record)
    test = data.select(record, "test")
    forecast = Fno(steps=2).fit(record).forecast(start(test), test["time"].values[1:])
    assert forecast["field"].shape == (1, 1, 5, 1, 12, 70)


def test_all_baselines_on_one_system(tmp_path):
    record = burgers(points=80)
    fitted, problems = fit_all(record, steps=5, points=40, units=30)
    assert problems == {}
    assert list(fitted) == list(ALL_BASELINES)
    test = data.select(record, "test")
    later = np.linspace(0, 2, 31)[1:]
    for name, baseline in fitted.items():
        forecast = baseline.forecast(start(test), later, members=3)
        assert forecast["field"].shape == (1, 2, 30, 1, 80), name
        assert forecast["field"].dtype == np.float32
        assert forecast["diverged_at"].dims == ("member", "trajectory")
        baseline.save(tmp_path / name)
        again = ALL_BASELINES[name].load(tmp_path / name)
        xr.testing.assert_identical(again.forecast(start(test), later), forecast)


def test_all_baselines_start_from_the_same_snapshots():
    names = ["persistence", "regression", "pod-linear", "coarse-dns"]
    fitted, problems = fit_all(burgers(), names, warmup=3)
    assert {baseline.warmup for baseline in fitted.values()} == {3}
    assert problems == {}


def test_what_cannot_be_fitted_is_a_line_and_the_others_run(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydmd", None)
    fitted, problems = fit_all(waves(), ["dmd", "coarse-dns", "pod-linear"])
    assert list(fitted) == ["pod-linear"]
    assert "dmd needs pydmd" in problems["dmd"]
    assert problems["dmd"].endswith("pip install pyro_msm[baselines]")
    assert "leave the baseline out" in problems["coarse-dns"]
    assert all("\n" not in line for line in problems.values())
    with pytest.raises(InputError, match="unknown baseline 'arima': expected persistence"):
        fit_all(waves(), ["arima"])
    with pytest.raises(InputError, match="no baseline takes 'depth': expected points"):
        fit_all(waves(), ["coarse-dns"], depth=3)
