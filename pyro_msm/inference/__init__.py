"""Objective, training and checkpoints."""

from pyro_msm.inference.checkpoint import load_checkpoint, restore_into, save_checkpoint
from pyro_msm.inference.distributed import Processes, process_group
from pyro_msm.inference.elbo import PathELBO
from pyro_msm.inference.trainer import Trainer

__all__ = [
    "PathELBO",
    "Processes",
    "Trainer",
    "load_checkpoint",
    "process_group",
    "restore_into",
    "save_checkpoint",
]
