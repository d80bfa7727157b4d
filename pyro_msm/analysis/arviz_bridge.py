"""All that depends on ArviZ, both 0.x (InferenceData) and 1.x (DataTree)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import pandas
import xarray as xr


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


def _arviz() -> ModuleType:
    with warnings.catch_warnings():
        # ArviZ 0.23 announces its successor at every first import.
        warnings.simplefilter("ignore", FutureWarning)
        import arviz
    return arviz
