"""The spread fitted on validation forecasts: widened where narrow, narrowed where far too wide."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from pyro_msm.forecasting.calibration import Calibration, calibrate, observation_factor

POINTS, TRAJECTORIES, TIMES, ERROR, NOISE = 200, 40, 30, 0.1, 0.05


class Spread:
    """Forecasts zero; members differ by a constant spread, and by one that grows with time."""

    warmup = 1

    def __init__(self, initial: float, growing: float = 0.0, noise: float = NOISE) -> None:
        self.initial, self.growing, self.noise = initial, growing, noise
        self.calibration = Calibration()

    def observation_std(self) -> np.ndarray:
        return np.array([self.noise])

    def encode(self, window: xr.Dataset, members: int, seed: int) -> int:
        return members

    def advance(self, state: int, times: np.ndarray) -> tuple[int, np.ndarray]:
        shape = (2, len(times), state, TRAJECTORIES, POINTS)
        one, other = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        grown = np.sqrt(times)[:, None, None, None] * self.growing * self.calibration.dispersion
        return state, self.calibration.initial * self.initial * one + grown * other

    def decode(self, latents: np.ndarray) -> xr.Dataset:
        field = np.moveaxis(latents, 0, 2)[:, :, :, None]
        return xr.Dataset({"field": (("member", "trajectory", "time", "channel", "x"), field)})


def validation(growing: float = 0.0) -> xr.Dataset:
    """A truth ``ERROR`` away from zero, and ever farther, with observation noise."""
    rng = np.random.default_rng(1)
    shape = (TRAJECTORIES, TIMES, 1, POINTS)
    times = np.arange(TIMES) / TIMES
    error = np.sqrt(ERROR**2 + growing**2 * times)[:, None, None]
    field = error * rng.normal(size=shape) + NOISE * rng.normal(size=shape)
    dims = ("trajectory", "time", "channel", "x")
    return xr.Dataset({"field": (dims, field)}, {"time": times})


def found(forecaster: Spread, data: xr.Dataset) -> Calibration:
    result = calibrate(forecaster, data)  # type: ignore[arg-type]
    assert forecaster.calibration == Calibration()
    return result


@pytest.mark.parametrize("ratio", [0.05, 0.25, 1.0, 4.0, 20.0])
def test_the_spread_becomes_the_error_from_either_side(ratio: float) -> None:
    factors = found(Spread(ratio * ERROR), validation())
    assert factors.initial * ratio == pytest.approx(1, rel=0.05)
    assert factors.dispersion == 1


@pytest.mark.parametrize(("initial", "growing"), [(0.2, 0.05), (0.02, 1.0), (0.1, 0.3)])
def test_what_grows_and_what_does_not_are_told_apart(initial: float, growing: float) -> None:
    factors = found(Spread(initial, growing), validation(growing=0.3))
    assert factors.initial * initial == pytest.approx(ERROR, rel=0.1)
    assert factors.dispersion * growing == pytest.approx(0.3, rel=0.1)


@pytest.mark.parametrize("term", ["novelty", "tendency"])
def test_spread_goes_where_forecasts_fail(term: str) -> None:
    """Errors of some trajectories only, of which the model can tell that they are new, or quick."""
    new = np.linspace(0.0, 2.0, TRAJECTORIES)[:, None]

    class Knowing(Spread):
        def advance(self, state: int, times: np.ndarray) -> tuple[int, np.ndarray]:
            _, latents = super().advance(state, times)
            drawn = np.random.default_rng(4).normal(size=latents.shape)
            return state, latents + getattr(self.calibration, term) * ERROR * new * drawn

    data = validation()
    rng = np.random.default_rng(5)
    noise = NOISE * rng.normal(size=data["field"].shape)
    error = 1.5 * ERROR * new[:, None, None] * rng.normal(size=data["field"].shape)
    data["field"] = data["field"].dims, error + noise
    forecaster = Knowing(ERROR)
    factors = calibrate(forecaster, data, **{term: True})  # type: ignore[arg-type]
    assert getattr(factors, term) == pytest.approx(1.5, rel=0.1)
    assert factors.initial < 0.25
    assert getattr(found(Knowing(ERROR), data), term) == 0


def test_observation_noise_is_that_about_encoded_states() -> None:
    """The median over snapshots: a few that the decoder cannot show do not count as noise."""

    class Encoding(Spread):
        def encoded(self, snapshots: xr.Dataset) -> np.ndarray:
            return np.zeros((TRAJECTORIES, 1, POINTS))

    noisy = validation()
    size = np.hypot(ERROR, NOISE)
    one = Encoding(ERROR, noise=2 * size)
    assert observation_factor(one, noisy) == pytest.approx(0.5, rel=0.05)  # type: ignore[arg-type]
    noisy["field"][0] += 100.0
    assert observation_factor(one, noisy) == pytest.approx(0.5, rel=0.05)  # type: ignore[arg-type]
    seen = np.random.default_rng(3).uniform(size=noisy["field"].shape) > 0.3
    gone = noisy.assign(field=noisy["field"].where(seen, 1e6), mask=(noisy["field"].dims, seen))
    assert observation_factor(one, gone) == pytest.approx(0.5, rel=0.05)  # type: ignore[arg-type]


def test_a_spread_far_below_the_noise_is_seen() -> None:
    """Which a score of noisy members against noisy data hardly would."""
    noisy = validation()
    noisy["field"] += 4 * ERROR * np.random.default_rng(2).normal(size=noisy["field"].shape)
    forecaster = Spread(4 * ERROR, noise=float(np.hypot(NOISE, 4 * ERROR)))
    assert found(forecaster, noisy).initial == pytest.approx(0.25, rel=0.3)


def test_what_counts_as_noise_is_no_error() -> None:
    assert found(Spread(4 * ERROR), validation()).initial == pytest.approx(0.25, rel=0.05)
    wider = found(Spread(4 * ERROR, noise=1e-3), validation())
    assert wider.initial * 4 == pytest.approx(np.hypot(1, NOISE / ERROR), rel=0.05)


def test_a_noise_that_explains_the_whole_gap_leaves_nothing_to_the_spread() -> None:
    """What changes from one time to the next as if it were noise is taken for it."""
    assert found(Spread(4 * ERROR, noise=1.0), validation()).initial < 0.1


def test_what_the_decoder_cannot_show_is_an_error() -> None:
    """A model that calls it noise is told by differences of neighbours that it is none."""
    data = validation()
    noise = NOISE * np.random.default_rng(7).normal(size=data["field"].shape)
    data["field"] = data["field"].isel(time=0, drop=True).broadcast_like(data["field"]) + noise
    blind = found(Spread(4 * ERROR, noise=float(np.hypot(ERROR, NOISE))), data)
    assert blind.initial * 4 == pytest.approx(np.hypot(1, NOISE / ERROR), rel=0.05)


def test_what_was_not_observed_does_not_count() -> None:
    data = validation()
    seen = np.random.default_rng(3).uniform(size=data["field"].shape) > 0.3
    gone = data.assign(field=data["field"].where(seen, 1e6), mask=(data["field"].dims, seen))
    assert found(Spread(ERROR), gone).initial == pytest.approx(1, rel=0.05)


def test_an_ensemble_that_diverges_is_narrowed() -> None:
    class Fragile(Spread):
        def advance(self, state: int, times: np.ndarray) -> tuple[int, np.ndarray]:
            _, latents = super().advance(state, times)
            return state, latents if self.calibration.initial < 0.5 else np.nan * latents

    assert found(Fragile(4 * ERROR), validation()).initial == pytest.approx(0.25, rel=0.05)
