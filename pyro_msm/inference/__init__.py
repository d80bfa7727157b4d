"""Objective, training and checkpoints."""

from pyro_msm.inference.checkpoint import load_checkpoint, restore_into, save_checkpoint
from pyro_msm.inference.elbo import PathELBO
from pyro_msm.inference.trainer import Trainer

__all__ = [
    "PathELBO",
    "Trainer",
    "load_checkpoint",
    "restore_into",
    "save_checkpoint",
]
