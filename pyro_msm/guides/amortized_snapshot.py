"""The encoder of snapshots as a variational family."""

from __future__ import annotations

import itertools
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions import Delta, Normal
from pyro.nn import PyroModule
from torch import Tensor

from pyro_msm.models.led import LED, SnapshotBatch
from pyro_msm.models.multiscale import announced

_instances = itertools.count()


class AmortizedSnapshotGuide(PyroModule):
    r"""Posterior of the latents of single snapshots, for ``LED.snapshots``.

    .. math:: q(z | x) = N(\mu(x), \mathrm{diag}\, \sigma^2(x))

    or, for an autoencoder that is not variational, a point mass at μ(x).

    Args:
        model: the model whose latents it infers.
    """

    def __init__(self, model: LED) -> None:
        with pyro.settings.context(module_local_params=True):
            super().__init__(name=f"amortized_snapshot{next(_instances)}")
        self.encoder = model.new_encoder()

    def forward(self, batch: SnapshotBatch) -> Tensor:
        """The Pyro program: samples the site ``latent``."""
        mean, log_std = announced(self, "encoder")(batch.values)
        law = Delta(mean) if log_std is None else Normal(mean, log_std.exp())
        with (
            pyro.plate("snapshots", len(batch.values), dim=-1),
            poutine.scale(scale=batch.weight),
        ):
            return pyro.sample("latent", law.to_event(1))

    def encode(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (…, latent) of the posterior; 0 for a point mass."""
        encoder: Any = self._modules["encoder"]
        mean, log_std = encoder(values)
        return mean, torch.zeros_like(mean) if log_std is None else log_std.exp()
