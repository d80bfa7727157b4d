"""Posteriors over the coordinates of an averaged SDE: a point, a Gaussian, or a flow."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroModule
from torch import Tensor, nn

from pyro_msm.nn.flows import SplineFlow

KINDS = ("map", "lowrank", "flow")

#: Splines of the flow, and the width of the network behind them.
BINS, HIDDEN = 8, 16

#: Size of the flow's weights at the start, at which it is close to the identity.
QUIET = 0.05


class SubspaceGuide(PyroModule):
    r"""q(c) over the r coordinates that a path informs; the other weights stay as they are.

    * ``map``: one point.
    * ``lowrank``: c = m + Lξ with ξ ~ N(0, 1), so that the weights are Gaussian of rank r.
    * ``flow``: c = A(S(ξ)), a second normalizing flow (see ``SplineFlow``).

    At the start the last two are N(0, 1) or close to it: with the coordinates in units of Laplace's
    approximation, that approximation itself.

    Args:
        rank: r.
        kind: one of ``KINDS``.

    Example:
        >>> guide = SubspaceGuide(3, "lowrank")
        >>> guide.push(torch.zeros(5, 3, dtype=torch.float64)).shape
        torch.Size([5, 3])
    """

    def __init__(self, rank: int, kind: str = "flow") -> None:
        with pyro.settings.context(module_local_params=True):
            super().__init__()
        self.rank, self.kind = rank, kind
        if kind == "flow":
            self.flow = SplineFlow(rank, bins=BINS, hidden=HIDDEN).double()
            with torch.no_grad():
                for parameter in self.flow.parameters():
                    parameter.mul_(QUIET)
            return
        self.mean = nn.Parameter(torch.zeros(rank, dtype=torch.float64))
        if kind == "lowrank":
            self.log_width = nn.Parameter(torch.zeros(rank, dtype=torch.float64))
            self.mixing = nn.Parameter(torch.zeros(rank, rank, dtype=torch.float64))

    def forward(self, *args: object) -> None:
        """Draws the coordinates of the model."""
        with pyro.poutine.scale(scale=getattr(args[0], "scale", 1.0) if args else 1.0):
            pyro.sample("coordinates", self.law())

    def law(self) -> dist.TorchDistribution:
        """q."""
        if self.kind == "flow":
            from pyro.contrib.zuko import ZukoToPyro

            return ZukoToPyro(self.flow.at())
        if self.kind == "lowrank":
            return dist.MultivariateNormal(self.mean, scale_tril=self._factor())
        return dist.Delta(self.mean).to_event(1)

    def push(self, noise: Tensor) -> Tensor:
        """Coordinates (…, r) from standard normal noise (…, r)."""
        if self.kind == "flow":
            return self.flow(noise)
        if self.kind == "lowrank":
            return self.mean + noise @ self._factor().mT
        return self.mean.expand(noise.shape)

    def _factor(self) -> Tensor:
        return self.mixing.tril(-1) + self.log_width.exp().diag()
