"""Errors on validation data by which the stages of the training choose their weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr

from pyro_msm.forecasting.calibration import Calibration
from pyro_msm.forecasting.contract import initial_window

if TYPE_CHECKING:
    from pyro_msm.forecasting.led.forecaster import LEDForecaster

#: Snapshots on which the autoencoder is scored, starts of forecasts, and times of each.
SNAPSHOTS, STARTS, TIMES = 256, 16, 100


def reconstruction_error(forecaster: LEDForecaster, validation: xr.Dataset) -> Callable[[], float]:
    """A function: the mean of ‖x̂ − x‖/‖x‖ over snapshots; for particles −ln p per number."""
    values = validation[forecaster.variable].values
    flat = values.reshape(-1, *values.shape[2:])
    chosen = flat[:: max(1, len(flat) // SNAPSHOTS)]
    seen = torch.tensor(np.nan_to_num(chosen), dtype=torch.float32, device=forecaster.device)

    def error() -> float:
        with torch.no_grad():
            latents, _ = forecaster.guide.encode(seen)
            if forecaster.model.particles:
                law = forecaster.model.particle_law(latents.unsqueeze(-2))
                return float(-law.log_prob(seen).mean())
            gap = (forecaster.model.mean_field(latents) - seen).flatten(1).norm(dim=1)
            return float((gap / seen.flatten(1).norm(dim=1).clamp_min(1e-12)).mean())

    return error


def free_running_error(forecaster: LEDForecaster, validation: xr.Dataset) -> Callable[[], float]:
    """A function: the error of forecasts without noise, averaged over starts and lead times.

    A forecast goes on for ``led.validation_horizon`` snapshots, or to the end of the record. The
    error of a field is ‖ŷ − y‖/‖y‖; of particles that of the mean and variance of each component,
    in units of their own standard deviations over time.
    """
    warmup, count = forecaster.warmup, validation.sizes["time"]
    longest = count - warmup
    horizon = min(forecaster.led.validation_horizon or longest, longest)
    starts = np.linspace(0, longest - horizon, min(STARTS, longest // horizon)).astype(int)
    leads = np.unique(np.linspace(1, horizon, min(TIMES, horizon)).round().astype(int))
    times = validation["time"].values
    summary = forecaster.summary(validation[forecaster.variable].values)
    cases = []
    for start in np.unique(starts):
        last = warmup - 1 + start
        truth = summary[:, last + leads]
        cases.append((initial_window(validation, warmup, last), times[last + leads], truth))
    spread = np.maximum(summary.std((0, 1)), 1e-12) if forecaster.model.particles else None

    def error() -> float:
        before, members = forecaster.calibration, 1
        if forecaster.led.components > 1:
            members = forecaster.training.validation_members
        else:
            forecaster.calibration = Calibration(0.0, 0.0)
        try:
            return float(np.mean([_error(forecaster, *case, members, spread) for case in cases]))
        finally:
            forecaster.calibration = before

    return error


def _error(
    forecaster: LEDForecaster,
    initial: xr.Dataset,
    times: np.ndarray,
    truth: np.ndarray,
    members: int,
    spread: np.ndarray | None,
) -> float:
    state = forecaster.encode(initial, members, 0)
    _, latents = forecaster.advance(state, times)
    predicted = forecaster.decoded_summary(latents).mean(0)
    if spread is not None:
        return float(np.sqrt(np.square((predicted - truth) / spread).mean()))
    gap = np.linalg.norm((predicted - truth).reshape(*truth.shape[:2], -1), axis=-1)
    norm = np.linalg.norm(truth.reshape(*truth.shape[:2], -1), axis=-1)
    return float((gap / np.maximum(norm, 1e-12)).mean())
