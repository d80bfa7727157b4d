"""Free-running forecasts of validation data, by which training chooses its weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from pyro_msm import data as datasets
from pyro_msm.data.evenly import evenly
from pyro_msm.data.white_noise import white_noise_std
from pyro_msm.errors import InputError
from pyro_msm.forecasting.calibration import without_noise
from pyro_msm.forecasting.contract import LONGEST, initial_window
from pyro_msm.guides import BayesianPathGuide

if TYPE_CHECKING:
    from pyro_msm.forecasting.multiscale import MultiscaleForecaster

#: Times that are compared.
TIMES = 100


def validation_split(data: xr.Dataset, warmup: int) -> xr.Dataset | None:
    """The ``validation`` split, where there is one that a forecast can be scored on."""
    try:
        chosen = datasets.select(data, "validation")
    except InputError:
        return None
    return chosen if chosen.sizes["time"] >= warmup + 2 else None


class FreeRun:
    """Forecasts of validation data from their first snapshots over ``LONGEST`` at most.

    Args:
        validation: trajectories that training does not see.
        warmup: snapshots that a forecast starts from.
    """

    def __init__(self, validation: xr.Dataset, warmup: int) -> None:
        self._initial = initial_window(validation, warmup)
        seen = validation.isel(time=slice(warmup - 1, warmup - 1 + LONGEST))
        self._times = seen["time"].values
        count = len(self._times) - 1
        self._scored = evenly(1, count, TIMES)
        seen = seen.isel(time=self._scored)
        self.truth = seen["field"].values
        self._observed = np.ones_like(self.truth, bool)
        if "mask" in seen:
            self._observed = seen["mask"].values
            self.truth = np.where(self._observed, np.nan_to_num(self.truth), 0)
        self._norm = np.maximum(_norm(self.truth), 1e-12)
        variance = white_noise_std(validation) ** 2
        counts = self._observed.sum(tuple(range(3, self.truth.ndim)))
        self._noise = counts @ np.where(np.isfinite(variance), variance, 0)

    def mean(self, forecaster: MultiscaleForecaster, members: int) -> np.ndarray:
        """The ensemble mean at ``TIMES`` times, (trajectory, time, channel, *grid).

        It is 0 where nothing was observed.
        """
        state = forecaster.encode(self._initial, members, 0)
        _, latents = forecaster.advance(state, self._times)
        return forecaster.ensemble_mean(latents[self._scored]) * self._observed

    def relative(self, gap: np.ndarray) -> float:
        """The mean over times and trajectories of ‖gap‖/‖y‖, for fields such as ``mean`` gives."""
        return float(np.mean(_norm(gap) / self._norm))

    def error(self, forecaster: MultiscaleForecaster, members: int) -> float:
        """The error of the ensemble mean, without the observation noise, that chooses weights.

        Of a trajectory it is the root mean square over times of ‖mean − y‖/‖y‖, the noise's share
        of both subtracted. The mean over trajectories is that of square roots, squared: some are
        far harder than the others, and their errors, of which there are too few to average,
        shall not choose for all.
        """
        gap = _norm(self.mean(forecaster, members) - self.truth)
        clean = np.maximum(self._norm**2 - self._noise, 0.1 * self._norm**2)
        each = np.maximum(((gap**2 - self._noise) / clean).mean(1), 0)
        return float((each**0.25).mean() ** 2)


def free_running_error(
    forecaster: MultiscaleForecaster, validation: xr.Dataset
) -> Callable[[], float]:
    """The error of the drift's own forecasts over the whole horizon.

    Until they are calibrated, noise and initial spread are those of the posterior's tube, whose
    width would blur the ensemble's mean and hide what the drift does. Only random weights, over
    which a forecast is a mean, need members.

    Args:
        forecaster: its weights are those at the time of the call of what is returned.
        validation: trajectories that training does not see.

    Returns:
        A function without arguments: ``FreeRun.error``.
    """
    run = FreeRun(validation, forecaster.warmup)
    random = isinstance(forecaster.guide, BayesianPathGuide)
    members = forecaster.training.validation_members if random else 1

    def error() -> float:
        with without_noise(forecaster):
            return run.error(forecaster, members)

    return error


def _norm(fields: np.ndarray) -> np.ndarray:
    """(trajectory, time) of (trajectory, time, channel, *grid)."""
    return np.sqrt(np.square(fields).sum(tuple(range(2, fields.ndim))))
