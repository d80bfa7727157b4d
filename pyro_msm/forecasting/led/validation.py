"""Errors on validation data by which the stages of the training choose their weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr

from pyro_msm.data.evenly import evenly
from pyro_msm.forecasting.calibration import without_noise
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
                return float(-law.log_prob(seen).mean()) / seen.shape[-1]
            gap = (forecaster.model.mean_field(latents) - seen).flatten(1).norm(dim=1)
            return float((gap / seen.flatten(1).norm(dim=1).clamp_min(1e-12)).mean())

    return error


def free_running_error(forecaster: LEDForecaster, validation: xr.Dataset) -> Callable[[], float]:
    """A function: the error of forecasts without noise, averaged over starts and lead times.

    A forecast goes on for ``led.validation_horizon`` snapshots, or to the end of the record. The
    error of a field is ‖ŷ − y‖/‖y‖; of particles −ln p per number, p their law as it is decoded:
    draws from it would add the chance of their number to that of the data.
    """
    warmup, count = forecaster.warmup, validation.sizes["time"]
    longest = count - warmup
    horizon = min(forecaster.led.validation_horizon or longest, longest)
    starts = np.linspace(0, longest - horizon, min(STARTS, longest // horizon)).astype(int)
    leads = evenly(1, horizon, TIMES)
    times = validation["time"].values
    values = validation[forecaster.variable].values
    cases = []
    for start in np.unique(starts):
        last = warmup - 1 + start
        cases.append(
            (initial_window(validation, warmup, last), times[last + leads], values[:, last + leads])
        )
    compare = _surprise if forecaster.model.particles else _difference

    def error() -> float:
        drawn = forecaster.led.components > 1
        members = forecaster.training.validation_members if drawn else 1
        errors = []
        with nullcontext() if drawn else without_noise(forecaster):
            for initial, at, truth in cases:
                state = forecaster.encode(initial, members, 0)
                errors.append(compare(forecaster, forecaster.advance(state, at)[1], truth))
        return float(np.mean(errors))

    return error


def _difference(forecaster: LEDForecaster, latents: np.ndarray, truth: np.ndarray) -> float:
    """‖ŷ − y‖/‖y‖ of the fields of latents (time, member, trajectory, latent)."""
    predicted = forecaster.decode(latents)[forecaster.variable].values.mean(0)
    gap = np.linalg.norm((predicted - truth).reshape(*truth.shape[:2], -1), axis=-1)
    norm = np.linalg.norm(truth.reshape(*truth.shape[:2], -1), axis=-1)
    return float((gap / np.maximum(norm, 1e-12)).mean())


def _surprise(forecaster: LEDForecaster, latents: np.ndarray, truth: np.ndarray) -> float:
    """−ln p per number of particles, p the mean over the members of their laws."""
    moved = np.ascontiguousarray(np.moveaxis(latents, 0, 2))  # (member, trajectory, time, latent)
    seen, decoded = (
        torch.tensor(part, dtype=torch.float32, device=forecaster.device) for part in (truth, moved)
    )
    with torch.no_grad():
        each = forecaster.model.particle_law(decoded.unsqueeze(-2)).log_prob(seen)
        mean = each.logsumexp(0) - math.log(len(moved))
    return float(-mean.mean()) / truth.shape[-1]
