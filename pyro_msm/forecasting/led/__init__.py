"""Learned effective dynamics as a forecaster."""

from pyro_msm.forecasting.led.forecaster import LEDForecaster, LEDState

__all__ = ["LEDForecaster", "LEDState"]
