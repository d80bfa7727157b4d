"""Spread of an ensemble, fitted to what free-running forecasts of validation data need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from pyro_msm.forecasting.contract import initial_window
from pyro_msm.forecasting.streams import OBSERVATION, Streams
from pyro_msm.scores import fair_crps

if TYPE_CHECKING:
    from pyro_msm.forecasting.multiscale import MultiscaleForecaster

MEMBERS = 20
TIMES = 24
#: A handful of validation trajectories can show that an ensemble is too narrow, not that it is too
#: wide: the ones with large errors may not be among them. So no factor is below 1.
FACTORS = tuple(float(2 ** (k / 2)) for k in range(7))


@dataclass(frozen=True)
class Calibration:
    """Factors on the standard deviations of a trained model.

    Attributes:
        dispersion: on L; the variational bound sees the drift's residual along training data only,
            not the error that a free-running forecast makes with it.
        initial: on the encoder's posterior, at the start of a forecast.
    """

    dispersion: float = 1.0
    initial: float = 1.0


def calibrate(forecaster: MultiscaleForecaster, validation: xr.Dataset) -> Calibration:
    """The factors with the least fair CRPS of noisy members against noisy validation data.

    Both are searched over powers of √2 from 1 to 8, one after the other, twice, with the same
    random numbers throughout.

    Args:
        forecaster: trained; its calibration is what it was before when this returns.
        validation: trajectories that training has not seen.
    """
    warmup = forecaster.warmup
    initial = initial_window(validation, warmup)
    times = validation["time"].values[warmup - 1 :]
    scored = np.unique(np.linspace(1, len(times) - 1, TIMES).round().astype(int))
    truth = np.moveaxis(validation["field"].isel(time=scored + warmup - 1).values, 1, 0)
    noise = _observation_noise(forecaster, truth.shape)
    before = forecaster.calibration

    def score(candidate: Calibration) -> float:
        forecaster.calibration = candidate
        state = forecaster.encode(initial, MEMBERS, 0)
        _, latents = forecaster.advance(state, times)
        total = []
        for i, step in enumerate(scored):
            members = forecaster.decode(latents[step : step + 1])["field"].values[:, :, 0]
            if not np.isfinite(members).all():
                return np.inf
            total.append(np.nanmean(fair_crps(members + noise[i], truth[i])))
        return float(np.mean(total))

    best = Calibration()
    scores = {best: score(best)}
    try:
        for _ in range(2):
            for name in ("dispersion", "initial"):
                for factor in FACTORS:
                    candidate = Calibration(**(vars(best) | {name: factor}))
                    if candidate not in scores:
                        scores[candidate] = score(candidate)
                best = min(scores, key=lambda c: scores[c])
    finally:
        forecaster.calibration = before
    return best


def _observation_noise(forecaster: MultiscaleForecaster, shape: tuple[int, ...]) -> np.ndarray:
    """(time, member, trajectory, channel, *grid)."""
    times, trajectories, channels = shape[:3]
    size = int(np.prod(shape[2:]))
    normal = Streams(1, range(MEMBERS), range(trajectories)).normal(0, times, size, OBSERVATION)
    std = forecaster.observation_std().reshape(channels, *(1 for _ in shape[3:]))
    return normal.reshape(times, MEMBERS, *shape[1:]) * std
