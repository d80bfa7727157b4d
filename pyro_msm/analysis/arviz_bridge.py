"""All that depends on ArviZ, both 0.x (InferenceData) and 1.x (DataTree)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import pandas
import xarray as xr

from pyro_msm.errors import InputError

#: A fifth of the draws is the tail by which importance weights are smoothed (Vehtari et al., Pareto
#: smoothed importance sampling, 2024). ArviZ 1.x refuses fewer than five, whose fit it leaves NaN.
FEWEST_DRAWS = 30


def to_inference_data(ensemble: xr.DataTree) -> Any:
    """The ensemble as the installed ArviZ takes it.

    With ArviZ 0.x this is an ``InferenceData``; ArviZ 1.x takes trees. Components without
    coordinates are numbered, since some plots select by coordinate. ``arviz.from_netcdf`` reads
    "RUN/ensemble.nc" as well.

    Example:
        >>> posterior = xr.Dataset({"micro": (("chain", "draw"), [[0.3, 0.1]])})
        >>> data = to_inference_data(xr.DataTree.from_dict({"posterior": posterior}))
        >>> data["posterior"]["draw"].values.tolist()
        [0, 1]
    """
    arviz = _arviz()
    numbered = ensemble.map_over_datasets(_numbered)
    if arviz.__version__.startswith("0."):
        return arviz.InferenceData.from_datatree(numbered)
    return numbered


def _numbered(group: xr.Dataset) -> xr.Dataset:
    missing = {name: np.arange(size) for name, size in group.sizes.items() if name not in group}
    return group.assign_coords(missing)


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
        InputError: the weights of the model are not random, so there is no posterior to check; or
            there are too few members.
    """
    if "log_likelihood" not in ensemble.children:
        raise InputError(
            "the ensemble has no log_likelihood: leave-one-out needs random weights, as trained "
            "with --set model.bayesian=normal"
        )
    draws = math.prod(ensemble["log_likelihood"].sizes[name] for name in ("chain", "draw"))
    if draws < FEWEST_DRAWS:
        raise InputError(
            f"leave-one-out fits the tail of at least {FEWEST_DRAWS} members' likelihoods, and the "
            f"ensemble has {draws}: roll out more, as with --members {FEWEST_DRAWS}"
        )
    return _arviz().loo(to_inference_data(ensemble), var_name="field", reff=1.0, **options)


def _arviz() -> ModuleType:
    with warnings.catch_warnings():
        # ArviZ 0.23 announces its successor at every first import.
        warnings.simplefilter("ignore", FutureWarning)
        import arviz
    return arviz
