"""Everything that predicts, and the ensembles that it gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xarray as xr

from pyro_msm.config import Config
from pyro_msm.forecasting.baselines import BASELINES
from pyro_msm.forecasting.bayesian import log_likelihood, prior_predictive
from pyro_msm.forecasting.contract import Forecaster, initial_window, root_entropy
from pyro_msm.forecasting.ensemble import open_ensemble, write_ensemble
from pyro_msm.forecasting.families import FAMILIES
from pyro_msm.forecasting.fit import Fit, fit
from pyro_msm.forecasting.hybrid import Alternation, Hybrid
from pyro_msm.forecasting.latent import LatentForecaster
from pyro_msm.forecasting.led import LEDForecaster
from pyro_msm.forecasting.multiscale import MultiscaleForecaster
from pyro_msm.forecasting.rollout import rollout
from pyro_msm.runs import RunDirectory

__all__ = [
    "BASELINES",
    "Alternation",
    "Fit",
    "Forecaster",
    "Hybrid",
    "LEDForecaster",
    "LatentForecaster",
    "MultiscaleForecaster",
    "build",
    "fit",
    "initial_window",
    "load_forecaster",
    "log_likelihood",
    "open_ensemble",
    "prior_predictive",
    "rollout",
    "root_entropy",
    "write_ensemble",
]


def build(config: Config, data: xr.Dataset) -> Any:
    """The unfitted forecaster that a configuration describes, checked against the data.

    Raises:
        InputError: the configuration does not fit the data.
    """
    family = config.model.family
    if family in BASELINES:
        return BASELINES[family]()
    forecaster = FAMILIES[family].of_config(config)
    forecaster.check(data)
    return forecaster


def load_forecaster(folder: Path | str, device: str = "cpu") -> Forecaster:
    """The fitted forecaster of a run folder.

    Raises:
        InputError: no run, no checkpoint, or one that cannot be read.
    """
    run = RunDirectory.open(folder)
    family = run.config.model.family
    if family in FAMILIES:
        return FAMILIES[family].from_run(run, device)
    return BASELINES[family].load(run.checkpoints)
