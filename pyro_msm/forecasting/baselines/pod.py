"""Proper orthogonal decomposition: the leading directions in which snapshots vary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from pyro_msm.forecasting.baselines import arrays

FULL_COVARIANCE = 2048
SNAPSHOTS = 1500
RANK, RANK_OF_LARGE = 256, 128
NEGLIGIBLE = 1e-6


@dataclass(frozen=True)
class Pod:
    """Snapshot ≈ mean + scale · Σ_j a_j mode_j.

    ``mean`` and ``scale`` are (*shape), ``modes`` (rank, point) with orthonormal rows, ``variance``
    (rank) is that of each coordinate a_j over the training snapshots, ``noise`` the mean variance
    of a point that the modes leave out. ``scale`` is one number a channel: with it, channels of
    different units weigh the same.
    """

    mean: np.ndarray
    scale: np.ndarray
    modes: np.ndarray
    variance: np.ndarray
    noise: float

    @classmethod
    def of(cls, values: np.ndarray, units: int = 2) -> Self:
        """The decomposition of ``values`` (trajectory, time, *shape).

        Up to 2048 points it is that of the full covariance of all snapshots; beyond, that of at
        most 1500 snapshots spread evenly over them (the method of snapshots: L. Sirovich,
        Turbulence and the dynamics of coherent structures, Q. Appl. Math. 45, 1987).

        Args:
            values: float32, finite.
            units: the axis along which units may differ, the channel's.
        """
        mean = values.mean((0, 1), dtype=np.float64).astype(np.float32)
        shape = [1] * mean.ndim
        shape[units % values.ndim - 2] = -1
        size = arrays.spread(values, mean, units).reshape(shape)
        scale = np.broadcast_to(np.where(size > 0, size, 1), mean.shape).astype(np.float32)
        points, count = mean.size, values.shape[0] * values.shape[1]
        few = points <= FULL_COVARIANCE
        limit = min(RANK if few else RANK_OF_LARGE, count)
        decomposed = _of_covariance if few else _of_snapshots
        variance, modes = decomposed(values, mean, scale, limit)
        rank = max(1, int((variance[:limit] > NEGLIGIBLE**2 * variance[0]).sum()))
        return cls(
            mean=mean,
            scale=scale,
            modes=np.ascontiguousarray(modes[:rank], dtype=np.float32),
            variance=np.maximum(variance[:rank], 0),
            noise=float(np.maximum(variance[rank:], 0).sum() / points),
        )

    @property
    def rank(self) -> int:
        """Number of modes."""
        return len(self.modes)

    def truncated(self, rank: int) -> Pod:
        """The first ``rank`` modes only."""
        lost = float(self.variance[rank:].sum() / self.mean.size)
        return Pod(
            self.mean, self.scale, self.modes[:rank], self.variance[:rank], self.noise + lost
        )

    def coordinates(self, values: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """Coordinates (trajectory, time, rank), float64, of ``values`` (trajectory, time, *shape).

        Where a snapshot has gaps they are its most probable coordinates given what was observed,
        for independent normal coordinates and noise (gappy POD with the training variances).
        """
        found = np.stack([part @ self.modes.T for part in self._flat(values, mask)]).astype(float)
        if mask is None or mask.all():
            return found
        least = 1e-12 * self.variance[0] + np.finfo(float).tiny
        prior = np.diag(max(self.noise, 1e-9) / np.maximum(self.variance, least))
        for index in np.argwhere(~mask.reshape(*mask.shape[:2], -1).all(-1)):
            seen = self.modes[:, mask[tuple(index)].reshape(-1)].astype(float)
            # The gaps are zero in `found`, so it already holds the sum over observed points.
            found[tuple(index)] = np.linalg.solve(seen @ seen.T + prior, found[tuple(index)])
        return found

    def fields(self, coordinates: np.ndarray) -> np.ndarray:
        """Snapshots (trajectory, time, *shape), float32, from coordinates (…, rank or fewer)."""
        rank = coordinates.shape[-1]
        # A forecast that has left the range of single precision is told by its infinities.
        with np.errstate(over="ignore", invalid="ignore"):
            flat = coordinates.astype(np.float32) @ self.modes[:rank]
            return self.mean + self.scale * flat.reshape(*coordinates.shape[:-1], *self.mean.shape)

    def outside(self, values: np.ndarray, coordinates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Squared norms (trajectory, time) in units of ``scale``: what the modes leave out of each
        snapshot, and the snapshot itself, mean included."""
        whole = np.stack([np.square(part, dtype=float).sum(-1) for part in self._flat(values)])
        size = np.square(values / self.scale, dtype=float).sum(tuple(range(2, values.ndim)))
        return np.maximum(whole - np.square(coordinates).sum(-1), 0), size

    def _flat(self, values: np.ndarray, mask: np.ndarray | None = None) -> Iterator[np.ndarray]:
        """Scaled anomalies (time, point) of each trajectory, zero in the gaps."""
        for index, part in enumerate(values):
            anomalies = (part - self.mean) / self.scale
            if mask is not None:
                anomalies = np.where(mask[index], anomalies, 0)
            yield anomalies.reshape(len(part), -1)


def _of_covariance(
    values: np.ndarray, mean: np.ndarray, scale: np.ndarray, limit: int
) -> tuple[np.ndarray, np.ndarray]:
    """All variances, and the first ``limit`` modes."""
    covariance = np.zeros((mean.size, mean.size))
    for part in values:
        flat = ((part - mean) / scale).reshape(len(part), -1).astype(np.float64)
        covariance += flat.T @ flat
    variance, vectors = np.linalg.eigh(covariance / (values.shape[0] * values.shape[1]))
    return variance[::-1], vectors.T[::-1][:limit]


def _of_snapshots(
    values: np.ndarray, mean: np.ndarray, scale: np.ndarray, limit: int
) -> tuple[np.ndarray, np.ndarray]:
    count = values.shape[0] * values.shape[1]
    chosen = np.unique(np.linspace(0, count - 1, SNAPSHOTS).astype(int))
    picked = values[np.unravel_index(chosen, values.shape[:2])]
    flat = ((picked - mean) / scale).reshape(len(picked), -1)
    gram = (flat @ flat.T).astype(np.float64)
    squares, vectors = np.linalg.eigh(gram)
    squares, vectors = squares[::-1], vectors[:, ::-1]
    # Single precision resolves a ratio of about 1e-6 between squares.
    kept = squares > NEGLIGIBLE * max(squares[0], 1e-30)
    kept[0] = True
    squares = squares[kept]
    weights = vectors[:, kept] / np.sqrt(np.maximum(squares, 1e-30))
    return squares / len(flat), weights[:, :limit].T.astype(np.float32) @ flat
