"""The free-running error on validation data, by which training chooses its weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from pyro_msm import data as datasets
from pyro_msm.errors import InputError
from pyro_msm.forecasting.contract import initial_window

if TYPE_CHECKING:
    from pyro_msm.forecasting.multiscale import MultiscaleForecaster

TIMES = 100


def validation_split(data: xr.Dataset, warmup: int) -> xr.Dataset | None:
    """The ``validation`` split, where there is one that a forecast can be scored on."""
    try:
        chosen = datasets.select(data, "validation")
    except InputError:
        return None
    return chosen if chosen.sizes["time"] >= warmup + 2 else None


def free_running_error(
    forecaster: MultiscaleForecaster, validation: xr.Dataset
) -> Callable[[], float]:
    """The error of forecasts from the first snapshots over the whole horizon.

    Args:
        forecaster: its weights are those at the time of the call of what is returned.
        validation: trajectories that training does not see.

    Returns:
        A function without arguments: the mean over ``TIMES`` times and trajectories of
        ‖ensemble mean − y‖/‖y‖, over what was observed.
    """
    initial = initial_window(validation, forecaster.warmup)
    seen = validation.isel(time=slice(forecaster.warmup - 1, None))
    times = seen["time"].values
    scored = np.unique(np.linspace(1, len(times) - 1, TIMES).round().astype(int))
    seen = seen.isel(time=scored)
    truth = seen["field"].values
    observed = np.ones_like(truth, bool)
    if "mask" in seen:
        observed = seen["mask"].values
        truth = np.where(observed, np.nan_to_num(truth), 0)
    norm = _norm(truth)

    def error() -> float:
        state = forecaster.encode(initial, forecaster.training.validation_members, 0)
        _, latents = forecaster.advance(state, times)
        gap = _norm(forecaster.ensemble_mean(latents[scored]) * observed - truth)
        return float(np.mean(gap / np.maximum(norm, 1e-12)))

    return error


def _norm(fields: np.ndarray) -> np.ndarray:
    """(trajectory, time) of (trajectory, time, channel, *grid)."""
    return np.sqrt(np.square(fields).sum(tuple(range(2, fields.ndim))))
