"""The spread fitted on validation forecasts: widened where narrow, narrowed where far too wide."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from pyro_msm.forecasting.calibration import Calibration, calibrate

POINTS, TRAJECTORIES, TIMES, ERROR, NOISE = 200, 6, 30, 0.1, 0.05


class Spread:
    """Forecasts zero, with members that are ``spread`` times the dispersion factor away from it."""

    warmup = 1

    def __init__(self, spread: float) -> None:
        self.spread, self.calibration = spread, Calibration()

    def observation_std(self) -> np.ndarray:
        return np.array([NOISE])

    def encode(self, window: xr.Dataset, members: int, seed: int) -> int:
        return members

    def advance(self, state: int, times: np.ndarray) -> tuple[int, np.ndarray]:
        shape = (len(times), state, TRAJECTORIES, POINTS)
        drawn = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        return state, self.calibration.dispersion * self.spread * drawn

    def decode(self, latents: np.ndarray) -> xr.Dataset:
        field = np.moveaxis(latents, 0, 2)[:, :, :, None]
        return xr.Dataset({"field": (("member", "trajectory", "time", "channel", "x"), field)})


def validation(noise_std: float | None) -> xr.Dataset:
    """A truth that is ``ERROR`` away from zero, with observation noise."""
    rng = np.random.default_rng(1)
    shape = (TRAJECTORIES, TIMES, 1, POINTS)
    field = ERROR * rng.normal(size=shape) + NOISE * rng.normal(size=shape)
    attrs = {} if noise_std is None else {"noise_std": noise_std}
    dims = ("trajectory", "time", "channel", "x")
    return xr.Dataset({"field": (dims, field)}, {"time": np.arange(TIMES) / TIMES}, attrs)


@pytest.mark.parametrize("ratio", [0.25, 1.0, 4.0])
def test_the_spread_comes_near_the_error_from_either_side(ratio: float) -> None:
    forecaster = Spread(ratio * ERROR)
    found = calibrate(forecaster, validation(NOISE))  # type: ignore[arg-type]
    assert forecaster.calibration == Calibration()
    reached = found.dispersion * ratio
    assert 0.9 <= reached <= 2**0.5
    if ratio == 1:
        assert found == Calibration()


def test_a_spread_is_narrowed_only_as_far_as_the_error_is_known() -> None:
    """Without the noise's size all of the gap counts as error, so the ensemble stays wider."""
    told, untold = (
        calibrate(Spread(4 * ERROR), validation(noise)).dispersion  # type: ignore[arg-type]
        for noise in (NOISE, None)
    )
    assert told <= untold < 1
    # A noise that explains the whole gap says nothing about the error.
    assert calibrate(Spread(4 * ERROR), validation(1.0)).dispersion >= 1  # type: ignore[arg-type]
