"""Reusable networks: plain ``torch.nn`` modules, no Pyro."""

from pyro_msm.nn.boundaries import padded_index
from pyro_msm.nn.detail import LocalDetail
from pyro_msm.nn.drift import MacroDrift, MicroDrift
from pyro_msm.nn.micro import MicroDecoder, ResidualMap
from pyro_msm.nn.mlp import mlp
from pyro_msm.nn.scale_separation import ScaleSeparation, apply_along_axes

__all__ = [
    "LocalDetail",
    "MacroDrift",
    "MicroDecoder",
    "MicroDrift",
    "ResidualMap",
    "ScaleSeparation",
    "apply_along_axes",
    "mlp",
    "padded_index",
]
