"""Comparator: networks for drift and diffusion, by the likelihood of the flow model."""

from __future__ import annotations

import copy
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from pyro_msm.data.increments import Increments
from pyro_msm.forecasting.slow_fast.comparators import CELLS, Comparator, Sums, in_cells
from pyro_msm.nn.mlp import mlp

WIDTHS = (8, 32)
STEPS = 1500
EVERY = 25
PATIENCE = 12
RATE = 1e-2


class NeuralDrift(Comparator):
    """Unstructured networks for b̄ and the Cholesky factor of Σ̄, by Euler–Maruyama likelihood.

    Two hidden layers; places scaled to mean zero and standard deviation one; Adam on sums over
    ``CELLS`` cells of the record, all of them in every step, its step size falling to zero as a
    cosine. The held-out likelihood chooses the width and the step to stop at. The diffusion starts
    from that of the whole record and the drift from zero.

    Args:
        widths: of the hidden layers, to choose from.
        steps: of each training, at most.
        seed: of the initial weights.
    """

    name: ClassVar[str] = "neural-drift"

    def __init__(self, widths: tuple[int, ...] = WIDTHS, steps: int = STEPS, seed: int = 0) -> None:
        self.widths, self.steps, self.seed = widths, steps, seed

    def fit(self, increments: Increments, held_out: Increments) -> Self:
        """See ``Comparator``."""
        seen, unseen = in_cells(increments, CELLS), in_cells(held_out, CELLS)
        best = np.inf
        for width in self.widths:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                network = _Coefficients(Sums.of(seen), width)
            loss = _train(network, seen, unseen, self.steps)
            if loss < best:
                best, self.width, self._network = loss, width, network
        return self

    @property
    def components(self) -> int:
        """See ``Comparator``."""
        return len(self._network.centre)

    def drift(self, x: np.ndarray) -> np.ndarray:
        """See ``Comparator``."""
        return self._at(x)[0]

    def diffusion(self, x: np.ndarray) -> np.ndarray:
        """See ``Comparator``."""
        root = self._at(x)[1]
        return root @ root.swapaxes(1, 2)

    def _at(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with torch.no_grad():
            drift, root = self._network(torch.as_tensor(np.asarray(x, float)))
        return drift.numpy(), root.numpy()


class _Coefficients(nn.Module):
    """b̄ (n, d) and the Cholesky factor of Σ̄ (n, d, d) at x (n, d), in float64."""

    centre: Tensor
    unit: Tensor
    root: Tensor
    pace: Tensor

    def __init__(self, sums: Sums, width: int) -> None:
        super().__init__()
        d = sums.place.shape[1]
        share = sums.duration[:, None] / sums.duration.sum()
        centre = (share * sums.place).sum(0)
        unit = np.sqrt((share * (sums.place - centre) ** 2).sum(0))
        scale = sums.total.diffusion[0]
        self.register_buffer("centre", torch.tensor(centre))
        self.register_buffer("unit", torch.tensor(unit))
        self.register_buffer("root", torch.tensor(np.linalg.cholesky(scale)))
        # A drift of this size holds the noise within the spread of the places.
        self.register_buffer("pace", torch.tensor(np.diag(scale) / unit))
        self.drift = mlp(d, d, width, scale=0.0).double()
        self.shape = mlp(d, d * (d + 1) // 2, width, scale=0.0).double()
        self.lower = torch.tril_indices(d, d)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        place = (x - self.centre) / self.unit
        d = x.shape[-1]
        entries = self.shape(place)
        factor = entries.new_zeros(len(x), d, d)
        factor[:, self.lower[0], self.lower[1]] = entries
        factor = factor.tril(-1) + torch.diag_embed(factor.diagonal(dim1=1, dim2=2).exp())
        return self.pace * self.drift(place), self.root @ factor


def _train(network: _Coefficients, seen: Increments, unseen: Increments, steps: int) -> float:
    """Trains to the best held-out loss, which it returns."""
    optimiser = torch.optim.Adam(network.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    best, since, weights = np.inf, 0, copy.deepcopy(network.state_dict())
    for step in range(steps + 1):
        if step % EVERY == 0:
            with torch.no_grad():
                loss = float(_loss(network, unseen))
            since += 1
            if loss < best:
                best, since, weights = loss, 0, copy.deepcopy(network.state_dict())
            if since > PATIENCE:
                break
        optimiser.zero_grad()
        _loss(network, seen).backward()
        optimiser.step()
        schedule.step()
    network.load_state_dict(weights)
    return best


def _loss(network: _Coefficients, increments: Increments) -> Tensor:
    """-ln L an increment, without the constant."""
    drift, root = network(increments.place)
    cross = increments.displacement[:, :, None] * drift[:, None, :]
    square = drift[:, :, None] * drift[:, None, :]
    misfit = increments.spread - cross - cross.mT + increments.duration[:, None, None] * square
    logarithm = 2 * root.diagonal(dim1=1, dim2=2).log().sum(-1)
    quadratic = torch.cholesky_solve(misfit, root).diagonal(dim1=1, dim2=2).sum(-1)
    total = (increments.count * logarithm + quadratic).sum()
    return 0.5 * total / increments.count.sum()
