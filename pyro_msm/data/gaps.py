"""What was observed of a dataset's variable."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pyro_msm.data.schema import variable


def with_gaps(data: xr.Dataset) -> np.ndarray:
    """Values of the variable, in its dimensions, NaN where the mask says that there are none.

    What a file holds under its mask may be anything, such as -9999.

    >>> gaps = xr.Dataset({"field": ("x", [1.0, -9999.0]), "mask": ("x", [True, False])})
    >>> with_gaps(gaps).tolist()
    [1.0, nan]
    """
    values = data[variable(data)].values
    return np.where(data["mask"].values, values, np.nan) if "mask" in data else values
