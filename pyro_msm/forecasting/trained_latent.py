"""Trained families whose forecasts run in a latent state: validation, calibration, their limits."""

from __future__ import annotations

import logging
from abc import abstractmethod

import numpy as np
import xarray as xr

from pyro_msm.data.windows import Forcing
from pyro_msm.errors import InputError
from pyro_msm.forecasting.calibration import Calibration, calibrate, observation_factor
from pyro_msm.forecasting.latent import LatentForecaster
from pyro_msm.forecasting.trained import TrainedForecaster
from pyro_msm.forecasting.validation import validation_split
from pyro_msm.inference import Trainer

logger = logging.getLogger("pyro_msm")

#: A latent component beyond this many of its scales from its mean has left the model's world.
HORIZON = 1e3


class TrainedLatentForecaster(TrainedForecaster, LatentForecaster):
    """A trained forecaster with latent states, whose spread is calibrated on validation data.

    A family writes what ``TrainedForecaster`` and ``LatentForecaster`` leave to it,
    ``encoded`` and ``observation_std``.

    Attributes:
        calibration: of the trained model.
        axes: coordinates of the variable after time, by dimension.
    """

    calibration: Calibration
    axes: dict[str, np.ndarray]

    @abstractmethod
    def encoded(self, data: xr.Dataset) -> np.ndarray:
        """Latents of the snapshots of ``data`` from the warm-up on, (trajectory, time, latent)."""

    @abstractmethod
    def observation_std(self) -> np.ndarray:
        """(channel,) standard deviation of a field about what is decoded."""

    # --- training --------------------------------------------------------------------------------

    def _validation(self, data: xr.Dataset) -> xr.Dataset | None:
        """The split that chooses the weights; where it is missing, this is said."""
        found = validation_split(data, self.warmup)
        if found is None:
            logger.warning("no validation split, or none long enough: the last weights are kept")
        return found

    def _finish(self, trainer: Trainer, data: xr.Dataset) -> None:
        """Fits what forecasts of the validation split tell, and keeps it with the weights."""
        validation = validation_split(data, self.warmup) if self.training.calibrate else None
        if validation is not None:
            self._calibrate(validation)
        trainer.header = self._header()
        trainer.save_best()

    def _calibrate(self, validation: xr.Dataset) -> None:
        """Fits the noise of the observations, and then the spread of the ensemble."""
        self.calibration = Calibration()  # whatever a training that goes on had found before
        self.calibration = Calibration(observation=observation_factor(self, validation))
        self.calibration = calibrate(
            self, validation, self._tells_novelty(), self._tells_tendency()
        )
        found = ", ".join(f"{name} {value:.3g}" for name, value in vars(self.calibration).items())
        logger.info("spread calibrated on validation: %s", found)

    def _tells_novelty(self) -> bool:
        """Whether its members know how far they are from the training data."""
        return False

    def _tells_tendency(self) -> bool:
        """Whether the noise of its members can be in proportion to their drift."""
        return False

    # --- forecasting -----------------------------------------------------------------------------

    def _decoded(self, field: np.ndarray) -> xr.Dataset:
        """A field (member, trajectory, time, channel, *grid) as ``decode`` returns it."""
        return xr.Dataset(
            {
                "field": (("member", "trajectory", "time", *self.axes), field),
                "observation_std": ("channel", self.observation_std()),
            },
            coords={name: (name, values) for name, values in self.axes.items()},
        )


def check_times(
    times: np.ndarray, origin: float, index: int, step: float, forcing: Forcing | None = None
) -> None:
    """Checks the times to which a state is advanced.

    Args:
        times: (n,) absolute times of a forecast.
        origin: absolute time at which the state's path started.
        index: steps since then; times down to the last but one can still be interpolated.
        step: duration of a step.
        forcing: what drives the state, if anything does.

    Raises:
        InputError: there are none, they decrease, or they lie before the state or beyond the
            forcing.
    """
    now = origin + max(0, index - 1) * step
    if not len(times) or (np.diff(times) < 0).any():
        raise InputError("the times of a forecast must be increasing, and at least one")
    if times[0] < now - 1e-4 * step:
        raise InputError(
            f"t = {times[0]:g} was asked for, which is before the state at t = {now:g}: "
            "a forecast goes forward only"
        )
    check_forcing(forcing, origin, times[-1], step)


def check_forcing(forcing: Forcing | None, first: float, last: float, step: float) -> None:
    """Checks that a forcing covers the times at which a model needs it.

    Args:
        forcing: what drives the model, if anything does.
        first: the first of those times.
        last: the last of them.
        step: duration of a step, of which a thousandth may be missing.

    Raises:
        InputError: it begins later or ends earlier.
    """
    if forcing is None:
        return
    begin, end = float(forcing.times[0]), float(forcing.times[-1])
    # In single precision, as the times of the forcing are: large ones are rounded alike.
    spare = 1e-3 * step
    if float(np.float32(first)) < begin - spare or float(np.float32(last)) > end + spare:
        raise InputError(
            f"the forcing goes from t = {begin:g} to {end:g} and is needed from {first:g} to "
            f"{last:g}: give the initial data forcing(trajectory, forcing_time, component) with "
            "times of its own that cover this, or forecast less far"
        )


def within_reach(latents: np.ndarray, centre: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """NaN from the first time at which a path has left the world of the model.

    Args:
        latents: (time, member, trajectory, latent), changed in place.
        centre: (latent,) mean of the latents that the model has seen.
        scale: (latent,) their spread.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        lost = ~(np.abs((latents - centre) / scale).max(-1) < HORIZON)
    latents[np.logical_or.accumulate(lost, axis=0)] = np.nan
    return latents
