"""The families of models that are trained step by step, by the name in ``model.family``."""

from __future__ import annotations

from typing import Any, Protocol, Self

import xarray as xr

from pyro_msm.config import Config
from pyro_msm.forecasting.led import LEDForecaster
from pyro_msm.forecasting.multiscale import MultiscaleForecaster
from pyro_msm.forecasting.slow_fast.forecaster import SlowFastForecaster


class Family(Protocol):
    """What a trained forecaster offers beside the Forecaster contract."""

    @classmethod
    def of_config(cls, config: Config) -> Self:
        """The untrained forecaster that a configuration describes."""

    def check(self, data: xr.Dataset) -> None:
        """Checks that it can be trained on ``data``; raises ``InputError`` if not."""

    def fit(
        self,
        data: xr.Dataset,
        *,
        run: Any = None,
        resume: bool = False,
        seed: int = 0,
        device: str = "auto",
        progress: bool = False,
    ) -> Self:
        """Trains it; ``run`` is the ``RunDirectory`` that keeps checkpoints and metrics."""

    @classmethod
    def from_run(cls, run: Any, device: str = "cpu") -> Self:
        """The trained forecaster of a run directory."""


FAMILIES: dict[str, type[Family]] = {
    "multiscale": MultiscaleForecaster,
    "led": LEDForecaster,
    "slow-fast": SlowFastForecaster,
}
