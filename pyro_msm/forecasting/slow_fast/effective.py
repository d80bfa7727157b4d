"""Effective coefficients from a trained model: at points, and as tables that are fast to read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from pyro_msm.models.slow_fast import AveragedSDE
from pyro_msm.nn.flows import base_points

#: Base points of a prediction.
POINTS = {1: 128}
MANY_POINTS = 512

#: Nodes of a table along each axis, by the number of axes.
NODES = {1: 257, 2: 41, 3: 15}

#: How far beyond the observed range a table reaches, in units of that range.
MARGIN = 0.5

#: Places at which coefficients are evaluated together.
TOGETHER = 256


def coefficients(
    model: AveragedSDE, coordinates: Tensor, x: np.ndarray, points: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """b̄ (n, d) and Σ̄ (n, d, d) at x (n, d) for one set of coordinates (r,)."""
    fast = model.coupling.fast
    z, mass = base_points(points or POINTS.get(fast, MANY_POINTS), fast, sets=1)
    place = torch.as_tensor(np.asarray(x, float), device=model.origin.device)
    base = z.to(place), mass.to(place)
    with torch.no_grad():
        parts = [model.averages_at(coordinates, part, base) for part in place.split(TOGETHER)]
        drift = torch.cat([part.drift[0] for part in parts])
        covariance = torch.cat([part.covariance[0] for part in parts])
    return drift.cpu().numpy(), covariance.cpu().numpy()


class Estimate(Protocol):
    """Anything with the coefficients of an effective SDE."""

    def drift(self, x: np.ndarray) -> np.ndarray:
        """b̄ at x (n, d) → (n, d)."""

    def diffusion(self, x: np.ndarray) -> np.ndarray:
        """Σ̄ at x (n, d) → (n, d, d)."""


@dataclass(frozen=True)
class Table:
    """Drift and noise of several draws on a grid, linear between its nodes and beyond its ends.

    Attributes:
        low: (d,) first node of each axis.
        spacing: (d,).
        values: (draws, nodes, …, nodes, d + d²): b̄, and the Cholesky factor of Σ̄.
    """

    low: np.ndarray
    spacing: np.ndarray
    values: np.ndarray

    @classmethod
    def of(
        cls,
        evaluate: Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]],
        low: np.ndarray,
        high: np.ndarray,
        draws: int,
    ) -> Table:
        """The table of ``evaluate(x, draw)`` → b̄, Σ̄ on the box from ``low`` to ``high``."""
        count, d = NODES[len(low)], len(low)
        axes = [np.linspace(a, b, count) for a, b in zip(low, high, strict=True)]
        nodes = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, d)
        rows = []
        for draw in range(draws):
            drift, covariance = evaluate(nodes, draw)
            root = np.linalg.cholesky(covariance).reshape(len(nodes), d * d)
            rows.append(np.concatenate([drift, root], 1))
        values = np.stack(rows).reshape(draws, *[count] * d, d + d * d)
        return cls(np.asarray(low), (np.asarray(high) - low) / (count - 1), values)

    def __call__(self, x: np.ndarray, draw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """b̄ (n, d) and the factor of Σ̄ (n, d, d) at x (n, d), for the draw (n,) of each."""
        d = x.shape[1]
        place = (x - self.low) / self.spacing
        # What is not finite stays so: the fraction carries it.
        corner = np.clip(np.nan_to_num(np.floor(place)), 0, self.values.shape[1] - 2).astype(int)
        share = place - corner
        found = np.zeros((len(x), self.values.shape[-1]))
        for steps in product((0, 1), repeat=d):
            weight = np.prod([s if up else 1 - s for s, up in zip(share.T, steps, strict=True)], 0)
            index = tuple((corner + steps).T)
            found += weight[:, None] * self.values[(draw, *index)]
        return found[:, :d], found[:, d:].reshape(-1, d, d)


@dataclass(frozen=True)
class Tabulated:
    """Any estimate of b̄ and Σ̄, read off a table: for paths of many steps."""

    table: Table

    @classmethod
    def of(cls, estimate: Estimate, low: np.ndarray, high: np.ndarray) -> Tabulated:
        """On the box from ``low`` to ``high`` (d,) and a margin around it."""

        def evaluate(x: np.ndarray, draw: int) -> tuple[np.ndarray, np.ndarray]:
            return estimate.drift(x), estimate.diffusion(x)

        margin = MARGIN * (high - low)
        return cls(Table.of(evaluate, low - margin, high + margin, 1))

    def drift(self, x: np.ndarray) -> np.ndarray:
        """b̄ at x (n, d) → (n, d)."""
        return self.table(x, np.zeros(len(x), int))[0]

    def diffusion(self, x: np.ndarray) -> np.ndarray:
        """Σ̄ at x (n, d) → (n, d, d)."""
        root = self.table(x, np.zeros(len(x), int))[1]
        return root @ root.swapaxes(1, 2)
