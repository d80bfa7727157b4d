"""How much noise an ensemble of particles needs beside the chance of their number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from pyro_msm.data.evenly import evenly
from pyro_msm.forecasting.calibration import Calibration
from pyro_msm.forecasting.contract import initial_window
from pyro_msm.scores.crps import fair_crps
from pyro_msm.scores.particle_moments import particle_moments

if TYPE_CHECKING:
    from pyro_msm.forecasting.led.forecaster import LEDForecaster

#: Factors that are tried. Not zero: a member's particles are draws that follow from its latents.
FACTORS = 0.01, 0.25, 0.5, 1.0
#: Members of an ensemble, and times at which it is scored.
MEMBERS, TIMES = 20, 24


def calibrate_particles(forecaster: LEDForecaster, validation: xr.Dataset) -> Calibration:
    """The factor on noise, of ``FACTORS``, with the best forecasts of validation data.

    A propagator takes for noise what differs from one snapshot to the next, most of which is the
    chance of the particles that were encoded. Decoded particles have that chance again: with the
    noise of the steps it would count twice. The score is the CRPS of mean and variance of each
    component, in units of their standard deviation over time.

    Args:
        forecaster: trained; its calibration is what it was before when this returns.
        validation: particles that training has not seen.
    """
    warmup, count = forecaster.warmup, validation.sizes["time"]
    scored = evenly(warmup, count - 1, TIMES)
    initial, times = initial_window(validation, warmup), validation["time"].values[scored]
    truth = _moments(validation["particles"].values[:, scored])
    unit = np.maximum(truth.std((0, 1)), 1e-12)
    before, found = forecaster.calibration, {}
    try:
        for factor in FACTORS:
            forecaster.calibration = chosen = Calibration(factor, factor)
            state = forecaster.encode(initial, MEMBERS, 0)
            decoded = forecaster.decode(forecaster.advance(state, times)[1])
            moments = _moments(decoded["particles"].values)
            found[chosen] = float((fair_crps(moments, truth) / unit).mean())
    finally:
        forecaster.calibration = before
    return min(found, key=lambda each: np.nan_to_num(found[each], nan=np.inf))


def _moments(particles: np.ndarray) -> np.ndarray:
    """Mean and variance (…, 2 · component) of particles (…, particle, component)."""
    return np.concatenate(particle_moments(particles), -1)
