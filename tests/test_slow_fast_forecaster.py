"""The forecaster of averaged slow–fast dynamics: training, coefficients, paths, files, errors."""

from __future__ import annotations

import numpy as np
import pyro
import pytest
import torch
import xarray as xr
from pyro.infer import MCMC, NUTS

from pyro_msm.config import Config, SlowFastConfig, TrainingConfig
from pyro_msm.data.increments import Increments
from pyro_msm.errors import InputError
from pyro_msm.forecasting.slow_fast.coupling import coupling_of
from pyro_msm.forecasting.slow_fast.effective import Table, coefficients
from pyro_msm.forecasting.slow_fast.forecaster import SlowFastForecaster
from pyro_msm.forecasting.slow_fast.record import check_path, slow_time_scale
from pyro_msm.models.slow_fast import PathBatch
from pyro_msm.nn.flows import base_points
from pyro_msm.runs import RunDirectory
from tests.linear_coupling import SIGMA, linear, path

SETTINGS = SlowFastConfig(
    coupling="tests.linear_coupling:linear",
    conditional=False,
    bins=4,
    hidden=4,
    laws=["gaussian"],
    samples=16,
    cells=16,
    increments=8,
    penalties=[0.0],
    posterior="lowrank",
)
TRAINING = TrainingConfig(steps=6, learning_rate=1e-3, ema=0.9, checkpoint_every=3, log_every=2)


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return path(frames=1001)


@pytest.fixture(scope="module")
def fitted(data) -> SlowFastForecaster:
    return SlowFastForecaster(SETTINGS, TRAINING).fit(data)


def test_the_posterior_of_the_drift_is_the_closed_one(data, fitted):
    """b̄ = m - x with m ~ N(0, 1): its posterior is Gaussian, and Laplace's is it."""
    seen = Increments.of(data.isel(trajectory=slice(0, 2)))
    drift = float((seen.displacement[:, 0] + seen.place[:, 0] * seen.duration).sum())
    precision = 1 + float(seen.duration.sum()) / SIGMA**2
    draws = fitted.draws(np.array([[0.5]]), 400)[0][:, 0, 0] + 0.5
    spread = precision**-0.5
    assert abs(draws.mean() - drift / SIGMA**2 / precision) < 5 * spread / 20 + 0.02 * spread
    assert draws.std() == pytest.approx(spread, rel=5 / 800**0.5)
    assert fitted.effective_parameters == pytest.approx(1 - 1 / precision, rel=1e-6)


def test_a_law_of_several_states_is_kept_and_drawn_from(data, tmp_path, monkeypatch):
    """Chosen whatever the evidence: saved, loaded, resumed; draws have its mean."""
    monkeypatch.setattr("pyro_msm.forecasting.slow_fast.forecaster.chosen", max)
    settings = SETTINGS.model_copy(update={"laws": ["gaussian", "three-states"]})
    run = RunDirectory.create(tmp_path / "run", Config(slow_fast=settings))
    short = TRAINING.model_copy(update={"steps": 3})
    SlowFastForecaster(settings, short).fit(data, run=run, seed=1)
    made = SlowFastForecaster(settings, TRAINING).fit(data, run=run, seed=1, resume=True)
    again = SlowFastForecaster.from_run(run)
    assert again.law == made.law == "three-states"
    assert set(again.evidence) == {"gaussian", "three-states"}
    at = np.array([[0.2]])
    np.testing.assert_array_equal(again.drift(at), made.drift(at))
    drawn = again.fast_law(at, 4000)[:, 0, 0]  # b̄ = E Y - x
    mean = again.drift(at).item() + 0.2
    assert abs(drawn.mean() - mean) < 5 * drawn.std() / 4000**0.5 + 0.02


def test_settings_of_another_version_are_told_in_one_line(fitted, tmp_path, monkeypatch):
    header = fitted._header()
    header["settings"] = {**header["settings"], "shape_scales": [0.5]}
    run = RunDirectory.create(tmp_path / "run", Config(slow_fast=SETTINGS))
    monkeypatch.setattr("pyro_msm.forecasting.trained.load_checkpoint", lambda *_: ({}, header))
    with pytest.raises(InputError, match=r"of another version \(shape_scales\): train again$"):
        SlowFastForecaster.from_run(run)


def test_the_same_law_is_not_fitted_twice(data):
    """Without x, and with one component, a Gaussian has no width that depends on anything."""
    settings = SETTINGS.model_copy(update={"laws": ["gaussian", "affine"]})
    assert list(SlowFastForecaster(settings, TRAINING).fit(data).evidence) == ["gaussian"]


def test_a_penalty_has_to_make_held_out_data_likelier(data):
    """A tiny one changes nothing; that is no reason to take it. E b̄ = E Y: a huge one ruins it."""
    settings = SETTINGS.model_copy(update={"penalties": [1e-3, 0.0, 1e4], "posterior": "map"})
    forecaster = SlowFastForecaster(settings, TRAINING).fit(data)
    assert forecaster.model.penalty == 0.0
    bad = SETTINGS.model_copy(update={"penalties": [1e4], "posterior": "map"})
    shrunk = SlowFastForecaster(bad, TRAINING).fit(data)
    at = np.zeros((1, 1))
    assert abs(shrunk.drift(at).item()) < 0.5 * abs(forecaster.drift(at).item())


def test_a_member_does_not_depend_on_those_beside_it(data, fitted):
    start = data.isel(time=slice(0, 1), trajectory=slice(2, 4))
    times = np.array([0.0, 0.1, 0.5])
    few = fitted.forecast(start, times, 3, 7)
    many = fitted.forecast(start, times, 50, 7)
    xr.testing.assert_equal(few, many.isel(member=slice(0, 3)))
    np.testing.assert_array_equal(few["path"][0, :, 0], start["path"][:, 0].astype("f4"))
    assert few["path"].dims == ("member", "trajectory", "time", "component")
    assert bool(few["diverged_at"].isnull().all())


def test_paths_have_the_law_of_the_effective_equation(data, fitted):
    """Ornstein–Uhlenbeck: after time t, mean m + (x - m) e^-t and variance σ²(1 - e^-2t)/2."""
    start = data.isel(time=slice(0, 1), trajectory=slice(2, 3))
    t, members = 0.5, 4000
    values = fitted.forecast(start, np.array([t]), members, 1)["path"].values.ravel()
    mean = fitted.drift(np.zeros((1, 1))).item()
    x = float(start["path"][0, 0, 0])
    variance = SIGMA**2 * (1 - np.exp(-2 * t)) / 2
    # Euler–Maruyama with step 0.02 is off by about one per cent.
    assert values.var() == pytest.approx(variance, rel=0.12)
    expected = mean + (x - mean) * np.exp(-t)
    assert abs(values.mean() - expected) < 5 * (variance / members) ** 0.5 + 0.02


def test_a_table_is_linear_between_and_beyond_its_nodes():
    def plane(x: np.ndarray, draw: int) -> tuple[np.ndarray, np.ndarray]:
        drift = np.stack([x[:, 0] + 2 * x[:, 1], draw - x[:, 1]], 1)
        return drift, np.tile(np.diag([4.0, 9.0]), (len(x), 1, 1))

    table = Table.of(plane, np.array([-1.0, 0.0]), np.array([1.0, 3.0]), 2)
    x = np.array([[0.123, 2.7], [-3.0, 5.0], [np.nan, 1.0]])
    drift, root = table(x, np.array([1, 0, 1]))
    np.testing.assert_allclose(drift[0], [0.123 + 5.4, 1 - 2.7])
    np.testing.assert_allclose(drift[1], [-3.0 + 10.0, -5.0])
    np.testing.assert_allclose(root[0], np.diag([2.0, 3.0]), atol=1e-12)
    assert np.isnan(drift[2]).all()


def test_what_is_saved_forecasts_the_same(data, fitted, tmp_path):
    fitted.save(tmp_path)
    again = SlowFastForecaster.load(tmp_path)
    x = np.linspace(-1, 1, 5)[:, None]
    np.testing.assert_array_equal(again.draws(x)[0], fitted.draws(x)[0])
    np.testing.assert_array_equal(again.model.width, fitted.model.width)
    assert again.step == fitted.step


def test_steps_and_a_resumption_give_the_same_weights(data, tmp_path):
    def run(name: str) -> RunDirectory:
        return RunDirectory.create(tmp_path / name, Config(slow_fast=SETTINGS))

    whole, parts = run("whole"), run("parts")
    SlowFastForecaster(SETTINGS, TRAINING).fit(data, run=whole, seed=1)
    short = TRAINING.model_copy(update={"steps": 3})
    SlowFastForecaster(SETTINGS, short).fit(data, run=parts, seed=1)
    SlowFastForecaster(SETTINGS, TRAINING).fit(data, run=parts, seed=1, resume=True)
    one, other = SlowFastForecaster.from_run(whole), SlowFastForecaster.from_run(parts)
    for name, value in one.guide.state_dict().items():
        assert torch.equal(value, other.guide.state_dict()[name]), name
    assert torch.equal(one.model.origin, other.model.origin)


def test_a_learned_noise_is_forecast_too(data):
    learned = SETTINGS.model_copy(update={"dispersion": "learned", "posterior": "map"})
    forecaster = SlowFastForecaster(learned, TRAINING).fit(data)
    assert forecaster.diffusion(np.zeros((1, 1))).item() == pytest.approx(SIGMA**2, rel=0.1)


def test_wrong_paths_are_told_in_one_line(data):
    train = data.isel(trajectory=slice(0, 2))
    mask = xr.ones_like(train["path"], bool)
    mask[1, 5] = False
    with pytest.raises(InputError, match=r"1 gaps, the first at trajectory 1, t = 0.1"):
        check_path(train.assign(mask=mask), 1)
    with pytest.raises(InputError, match=r"forgets its past within"):
        check_path(path(frames=400, step=0.9).isel(time=slice(None, None, 4)), 1)
    times = np.concatenate([np.arange(500) * 0.02, 40 + np.arange(501) * 0.02])
    with pytest.raises(InputError, match=r"gap of 30.* after t = 9.98"):
        check_path(train.assign_coords(time=times), 1)
    with pytest.raises(InputError, match=r"2 slow component\(s\) and the path has 1"):
        check_path(train, 2)
    with pytest.raises(InputError, match="learns from a variable `path`"):
        check_path(train.rename(path="other"), 1)


def test_the_slow_time_scale_is_that_of_the_memory():
    seen = Increments.of(path(trajectories=6, frames=8001))
    assert slow_time_scale(seen, 0.02) == pytest.approx(1.0, rel=0.2)


def test_wrong_couplings_are_told_in_one_line(data):
    with pytest.raises(InputError, match=r"these data come from no system"):
        SlowFastForecaster().check(data)
    with pytest.raises(InputError, match="cannot be imported"):
        coupling_of({"function": "tests.linear_coupling:nothing"}, False)
    with pytest.raises(InputError, match=r"expected a function as package\.module:name"):
        coupling_of({"function": "linear"}, False)
    with pytest.raises(InputError, match=r"expected a pyro_msm\.nn\.coupling\.Coupling"):
        coupling_of({"function": "tests.linear_coupling:path"}, False)
    with pytest.raises(InputError, match="has no diffusion σ"):
        coupling_of({"function": "tests.linear_coupling:bare"}, False)
    assert coupling_of({"function": "tests.linear_coupling:linear"}, True).diffusion is None
    with pytest.raises(InputError, match="is no slow–fast one"):
        coupling_of({"system": "kdv-1d", "options": {}}, False)


def test_wrong_forecasts_are_told_in_one_line(data, fitted):
    start = data.isel(time=slice(4, 5), trajectory=slice(0, 1))
    with pytest.raises(InputError, match="must increase from the last observation on"):
        fitted.forecast(start, np.array([0.0]))
    with pytest.raises(InputError, match="of 1 component"):
        fitted.forecast(xr.concat([start, start], "component"), np.array([1.0]))
    given = SlowFastForecaster(SETTINGS, TRAINING, coupling=linear()).fit(data)
    with pytest.raises(InputError, match="a Coupling that no file can hold"):
        SlowFastForecaster.restore(*given.state())


@pytest.mark.slow
def test_the_flow_posterior_is_that_of_nuts(data):
    """Mean and spread of the drift at three places, on a law of two free numbers and their mix."""
    flow = SETTINGS.model_copy(update={"posterior": "flow", "conditional": True})
    training = TrainingConfig(steps=1500, learning_rate=0.02, decay=0.5, decay_steps=300, ema=0.99)
    forecaster = SlowFastForecaster(flow, training).fit(data, seed=3)
    model, places = forecaster.model, np.array([[-0.2], [0.3], [0.8]])
    record = Increments.of(data.isel(trajectory=slice(0, 2)))
    batch = PathBatch(record, base_points(32, 1))
    pyro.set_rng_seed(0)
    model.eval()  # the fixed weights of the flow are no parameters
    mcmc = MCMC(NUTS(model, jit_compile=False), 500, 200, disable_progbar=True)
    mcmc.run(batch)
    drawn = mcmc.get_samples()["coordinates"][::5]
    reference = np.stack([coefficients(model, c, places)[0] for c in drawn])[..., 0]
    found = forecaster.draws(places, 400)[0][..., 0]
    spread = reference.std(0)
    assert (np.abs(found.mean(0) - reference.mean(0)) < 0.4 * spread).all()
    np.testing.assert_allclose(found.std(0), spread, rtol=0.3)
