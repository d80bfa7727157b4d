"""All that depends on ArviZ, both 0.x (InferenceData) and 1.x (DataTree)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import pandas
import xarray as xr

from pyro_msm.errors import InputError


def to_inference_data(ensemble: xr.DataTree) -> Any:
    """The ensemble as the installed ArviZ takes it.

    With ArviZ 0.x this is an ``InferenceData`` made from the tree; ArviZ 1.x takes the tree itself.
    A file needs neither: ``arviz.from_netcdf("RUN/ensemble.nc")`` reads it.
    """
    arviz = _arviz()
    if hasattr(arviz, "InferenceData"):
        return arviz.InferenceData.from_datatree(ensemble)
    return ensemble


def summary(
    ensemble: xr.DataTree, names: Sequence[str] = ("macro", "micro"), **options: Any
) -> pandas.DataFrame:
    """``arviz.summary`` of variables of the posterior group.

    Across chains (independently trained models) R-hat reads as their disagreement. Draws are
    independent members, so effective sample sizes say nothing here beyond their number; pass
    ``kind="stats"`` to leave the diagnostics out.
    """
    return _arviz().summary(to_inference_data(ensemble), var_names=list(names), **options)


def loo(ensemble: xr.DataTree, **options: Any) -> Any:
    """``arviz.loo``: how well training windows would be predicted by a posterior without them.

    What a point is, and what stands for its likelihood, says ``forecasting.log_likelihood``. Draws
    are independent, so their relative efficiency is one.

    Raises:
        InputError: the weights of the model are not random, so there is no posterior to check.
    """
    if "log_likelihood" not in ensemble.children:
        raise InputError(
            "the ensemble has no log_likelihood: leave-one-out needs random weights, as trained "
            "with --set model.bayesian=normal"
        )
    return _arviz().loo(to_inference_data(ensemble), var_name="field", reff=1.0, **options)


def _arviz() -> ModuleType:
    with warnings.catch_warnings():
        # ArviZ 0.23 announces its successor at every first import.
        warnings.simplefilter("ignore", FutureWarning)
        import arviz
    return arviz
