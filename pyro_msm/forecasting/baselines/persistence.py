"""Nothing changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Self

import numpy as np
import xarray as xr

from pyro_msm.data.splits import select
from pyro_msm.forecasting.baselines import arrays
from pyro_msm.forecasting.contract import Forecaster, Randomness


class Persistence(Forecaster):
    """Every future snapshot is the last one given.

    Where that was not observed, the mean of the training data stands in for it.
    """

    name: ClassVar[str] = "persistence"

    def __init__(self) -> None:
        self._mean = np.zeros(1, dtype=np.float32)

    def fit(self, data: xr.Dataset) -> Self:
        """Keeps the training mean of each point, to fill gaps with."""
        self._mean = arrays.observed_mean(*arrays.observed(select(data, "train")), axis=(0, 1))
        return self

    def forecast_blocks(
        self, initial: xr.Dataset, times: np.ndarray, members: int = 1, generator: Randomness = None
    ) -> Iterator[xr.Dataset]:
        """One block with one member."""
        values, mask = arrays.last_snapshots(initial, 1, self.name)
        last = arrays.filled(values, mask, self._mean)
        yield arrays.as_forecast(np.repeat(last, len(times), axis=1), initial, times)

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The training mean."""
        return {"mean": self._mean}, {}

    @classmethod
    def restore(cls, arrays: dict[str, np.ndarray], settings: dict[str, Any]) -> Self:
        """From what ``state`` returned."""
        fitted = cls()
        fitted._mean = arrays["mean"]
        return fitted
