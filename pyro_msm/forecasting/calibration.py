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
#: What a factor is multiplied by in the search, first widely, then closely.
ROUNDS = (tuple(2.0**k for k in range(-3, 4)), (2**-0.5, 2**0.5), (2**-0.25, 2**0.25))


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

    Both are searched one after the other, over powers of 2 from 1/8 to 8 and then ever closer to
    the best ones, with the same random numbers throughout. A handful of trajectories shows that an
    ensemble is too narrow better than that it is too wide, for the ones with large errors may not
    be among them: factors below 1 count only while the root mean square spread is at least the
    error of the ensemble mean. The observation noise in that is taken out where the data's
    attribute ``noise_std`` tells it.

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

    noise_var = validation.attrs.get("noise_std", 0.0) ** 2

    def score(candidate: Calibration) -> float:
        forecaster.calibration = candidate
        state = forecaster.encode(initial, MEMBERS, 0)
        _, latents = forecaster.advance(state, times)
        crps, spread, error = [], [], []
        for i, step in enumerate(scored):
            members = forecaster.decode(latents[step : step + 1])["field"].values[:, :, 0]
            if not np.isfinite(members).all():
                return np.inf
            crps.append(np.nanmean(fair_crps(members + noise[i], truth[i])))
            spread.append(members.var(0, ddof=1).mean())
            error.append(np.nanmean((members.mean(0) - truth[i]) ** 2))
        narrowed = min(candidate.dispersion, candidate.initial) < 1
        # The mean of finitely many members has a share of their spread in its error.
        shown = np.mean(error) - noise_var - np.mean(spread) / MEMBERS
        if narrowed and not 0 < shown <= np.mean(spread):
            return np.inf
        return float(np.mean(crps))

    best = Calibration()
    scores = {best: score(best)}
    try:
        for steps in ROUNDS:
            for name in ("dispersion", "initial"):
                for step in steps:
                    factor = step * getattr(best, name)
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
