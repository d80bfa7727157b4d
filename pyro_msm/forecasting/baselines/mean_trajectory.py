"""The average of what happened before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Self

import numpy as np
import xarray as xr

from pyro_msm.data.splits import select
from pyro_msm.forecasting.baselines import arrays
from pyro_msm.forecasting.contract import Forecaster, Randomness


class MeanTrajectory(Forecaster):
    """The mean of the training trajectories at the same absolute time; ignores where it starts.

    Linear between the training times, held constant outside their range. Of a record that is split
    in time it is the mean over the training range. Averages what was observed; zero where nothing
    ever was.
    """

    name: ClassVar[str] = "mean-trajectory"

    def __init__(self) -> None:
        self._times = np.zeros(1)
        self._mean = np.zeros((1, 1), dtype=np.float32)

    def fit(self, data: xr.Dataset) -> Self:
        """Averages the training split.

        Raises:
            InputError: the data are particles.
        """
        arrays.check_comparable(data, self.name)
        train = select(data, "train")
        values, mask = arrays.observed(train)
        if data["split"].dims == ("time",):
            self._times = train["time"].values[:1]
            self._mean = arrays.observed_mean(values, mask, axis=(0, 1))[None]
        else:
            self._times = train["time"].values
            self._mean = arrays.observed_mean(values, mask, axis=0)
        return self

    def forecast_blocks(
        self, initial: xr.Dataset, times: np.ndarray, members: int = 1, generator: Randomness = None
    ) -> Iterator[xr.Dataset]:
        """One block with one member, the same for every trajectory."""
        mean = arrays.at_times(self._times, self._mean, times)
        values = np.repeat(mean[None], initial.sizes["trajectory"], axis=0)
        yield arrays.as_forecast(values, initial, times)

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Training times and the mean at each."""
        return {"times": self._times, "mean": self._mean}, {}

    @classmethod
    def restore(cls, arrays: dict[str, np.ndarray], settings: dict[str, Any]) -> Self:
        """From what ``state`` returned."""
        fitted = cls()
        fitted._times, fitted._mean = arrays["times"], arrays["mean"]
        return fitted
