"""Learned effective dynamics as a forecaster."""

from pyro_msm.forecasting.led.forecaster import LEDForecaster
from pyro_msm.forecasting.led.stepping import LEDState

__all__ = ["LEDForecaster", "LEDState"]
