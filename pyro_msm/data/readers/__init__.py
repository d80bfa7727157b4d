"""Readers of data that others publish."""

from pyro_msm.data.readers.cgl import read_cgl

__all__ = ["read_cgl"]
