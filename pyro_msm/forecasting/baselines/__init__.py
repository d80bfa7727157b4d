"""Forecasts that any model must beat."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import xarray as xr

from pyro_msm.forecasting.baselines.analog import Analog
from pyro_msm.forecasting.baselines.coarse_dns import CoarseDns
from pyro_msm.forecasting.baselines.coarse_pde_gp import CoarsePdeGp
from pyro_msm.forecasting.baselines.coarse_pde_neural import CoarsePdeNeural
from pyro_msm.forecasting.baselines.dmd import Dmd
from pyro_msm.forecasting.baselines.fitting import fit_each
from pyro_msm.forecasting.baselines.fno import Fno
from pyro_msm.forecasting.baselines.mean_trajectory import MeanTrajectory
from pyro_msm.forecasting.baselines.persistence import Persistence
from pyro_msm.forecasting.baselines.pod_linear import PodLinear
from pyro_msm.forecasting.baselines.pod_rnn import PodRnn
from pyro_msm.forecasting.baselines.pod_sindy import PodSindy
from pyro_msm.forecasting.baselines.regression import InitialRegression
from pyro_msm.forecasting.baselines.reservoir import Reservoir
from pyro_msm.forecasting.contract import Forecaster

__all__ = [
    "ALL_BASELINES",
    "BASELINES",
    "Analog",
    "CoarseDns",
    "CoarsePdeGp",
    "CoarsePdeNeural",
    "Dmd",
    "Fno",
    "InitialRegression",
    "MeanTrajectory",
    "Persistence",
    "PodLinear",
    "PodRnn",
    "PodSindy",
    "Reservoir",
    "fit_all",
]

#: Those that take a second and no extra: they stand beside every evaluation.
BASELINES: dict[str, type[Forecaster]] = {
    baseline.name: baseline for baseline in (Persistence, MeanTrajectory, InitialRegression)
}

#: Every one, for benchmarks.
ALL_BASELINES: dict[str, type[Forecaster]] = BASELINES | {
    baseline.name: baseline
    for baseline in (
        Analog,
        PodLinear,
        Dmd,
        PodSindy,
        PodRnn,
        Reservoir,
        Fno,
        CoarsePdeNeural,
        CoarsePdeGp,
        CoarseDns,
    )
}


def fit_all(
    data: xr.Dataset, names: Iterable[str] | None = None, progress: bool = False, **options: Any
) -> tuple[dict[str, Forecaster], dict[str, str]]:
    """Fits baselines to the training split, each with its settings tuned on validation.

    Args:
        data: a validated dataset.
        names: of ``ALL_BASELINES``; None means all of them.
        progress: whether to show a progress bar.
        options: arguments of the baselines (``warmup``, ``points``, ``steps``, ``seed``), each
            given to those that take it; ``warmup`` is given to all.

    Returns:
        The fitted ones by name; and in one line each, why the others could not be (an extra that is
        not installed, data that it does not apply to).

    Raises:
        InputError: unknown name or option.

    >>> from pyro_msm.data import systems
    >>> waves = systems.get("kdv-1d").simulate({"train": 3, "validation": 1}, points=40, frames=5)
    >>> fitted, problems = fit_all(waves, ["persistence", "regression"])
    >>> list(fitted), problems
    (['persistence', 'regression'], {})
    """
    return fit_each(ALL_BASELINES, data, names, progress, options)
