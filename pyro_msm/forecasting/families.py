"""The families of models that are trained step by step, by the name in ``model.family``."""

from __future__ import annotations

from pyro_msm.forecasting.led import LEDForecaster
from pyro_msm.forecasting.multiscale import MultiscaleForecaster
from pyro_msm.forecasting.slow_fast.forecaster import SlowFastForecaster
from pyro_msm.forecasting.trained import TrainedForecaster

FAMILIES: dict[str, type[TrainedForecaster]] = {
    "multiscale": MultiscaleForecaster,
    "led": LEDForecaster,
    "slow-fast": SlowFastForecaster,
}
