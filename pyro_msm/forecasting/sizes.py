"""Sizes of a model for data of unknown origin."""

from __future__ import annotations

import logging

import xarray as xr

from pyro_msm import data as datasets
from pyro_msm.models.initialise import fitting_sizes

logger = logging.getLogger("pyro_msm")


def chosen_macro(data: xr.Dataset) -> list[int]:
    """Coarse sizes for unknown data: near 20 points an axis in 1-D, 8 in 2-D; said aloud."""
    space = datasets.space_axes(data)
    wanted = 20 if len(space) == 1 else 8
    sizes = [
        min(fitting_sizes(data.sizes[axis], kind), key=lambda size: (abs(size - wanted), size))
        for axis, kind in zip(space, data.attrs["boundary"], strict=True)
    ]
    logger.warning("model.macro = %s chosen for a grid of %s points", sizes,
                   "×".join(str(data.sizes[axis]) for axis in space))  # fmt: skip
    return sizes
