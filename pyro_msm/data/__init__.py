"""Datasets: their form, files, splits, and the systems that can be simulated."""

from __future__ import annotations

from pyro_msm.data import systems
from pyro_msm.data.axes import node_centred, space_axes
from pyro_msm.data.io import open_dataset as open
from pyro_msm.data.io import save
from pyro_msm.data.readers import read_cgl
from pyro_msm.data.schema import validate, variable
from pyro_msm.data.splits import SPLITS, select

__all__ = [
    "SPLITS",
    "node_centred",
    "open",
    "read_cgl",
    "save",
    "select",
    "space_axes",
    "systems",
    "validate",
    "variable",
]
