"""Forecasts that any model must beat."""

from __future__ import annotations

from pyro_msm.forecasting.baselines.mean_trajectory import MeanTrajectory
from pyro_msm.forecasting.baselines.persistence import Persistence
from pyro_msm.forecasting.baselines.regression import InitialRegression
from pyro_msm.forecasting.contract import Forecaster

__all__ = ["BASELINES", "InitialRegression", "MeanTrajectory", "Persistence"]

BASELINES: dict[str, type[Forecaster]] = {
    baseline.name: baseline for baseline in (Persistence, MeanTrajectory, InitialRegression)
}
