"""Objective, training and checkpoints."""

from pyro_msm.inference.elbo import PathELBO

__all__ = ["PathELBO"]
