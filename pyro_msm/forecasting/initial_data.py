"""The data that a forecast starts from: checked against what the model was trained with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from pyro_msm.data.gaps import with_gaps
from pyro_msm.errors import InputError


def check_drivers(window: xr.Dataset, trained_with: Mapping[str, Any]) -> None:
    """Checks the parameters and the forcing of initial data.

    Args:
        window: the initial data.
        trained_with: numbers of ``parameters`` and of ``forcing`` components of the model.

    Raises:
        InputError: there are none, or another number of them.
    """
    for name in ("parameters", "forcing"):
        wanted = trained_with[name]
        found = window[name].shape[-1] if name in window else 0
        if wanted and not found:
            raise InputError(
                f"the initial data have no variable {name}, which the model was trained with: "
                f"add it, with {wanted} component(s)"
            )
        if wanted and found != wanted:
            raise InputError(
                f"{name} of the initial data has {found} component(s), the model was trained "
                f"with {wanted}"
            )


def seen_snapshots(window: xr.Dataset, shape: tuple[int, ...], least: int) -> np.ndarray:
    """The field of initial data, (trajectory, snapshots, channel, *grid), 0 where unobserved.

    Args:
        window: the initial data.
        shape: (channel, *grid) that the model was trained on.
        least: snapshots that its encoder needs.

    Raises:
        InputError: another grid, or too few snapshots.
    """
    values = with_gaps(window)
    if values.shape[2:] != shape:
        raise InputError(
            f"the initial field has (channel, *grid) = {values.shape[2:]}, the model was "
            f"trained on {shape}: interpolate it to that grid"
        )
    if values.shape[1] < least:
        raise InputError(
            f"the initial file has {values.shape[1]} snapshot(s), the model needs {least}"
        )
    return np.nan_to_num(values)
