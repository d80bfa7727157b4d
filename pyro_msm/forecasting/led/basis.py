"""Linear bases and scales of fields, measured on training data."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pyro_msm.nn.autoencoder import FieldBasis

#: Modes with less than this share of the variance are noise to single precision.
LEAST = 1e-9
SHIFTS = 16
SNAPSHOTS = 4000


class Measured(NamedTuple):
    """Flattened mean and scale (values,), modes (rank, values), amplitudes (rank,)."""

    mean: np.ndarray
    scale: np.ndarray
    modes: np.ndarray
    amplitude: np.ndarray


def measured(fields: np.ndarray, rank: int, latent: int, shifts: list[int]) -> Measured:
    """Proper orthogonal decomposition of snapshots.

    Args:
        fields: (n, channel, *grid).
        rank: largest rank.
        latent: least rank.
        shifts: axes of the grid (from 0) along which fields are as likely at any place.

    Returns:
        At most ``rank`` modes; those beyond ``latent`` only as far as they hold a share ``LEAST``
        of the variance.
    """
    chosen = fields[:: max(1, len(fields) // SNAPSHOTS)].astype(np.float64)
    for axis in shifts:
        points = chosen.shape[2 + axis]
        step = max(1, points // SHIFTS)
        rolled = [np.roll(chosen, by, 2 + axis) for by in range(0, points, step)]
        chosen = np.concatenate(rolled)
    shape = chosen.shape[1:]
    space = tuple(range(2, chosen.ndim))
    mean = chosen.mean(0)
    std = np.sqrt(np.square(chosen - mean).mean((0, *space)))
    scale = np.broadcast_to(np.maximum(std, 1e-12).reshape(-1, *(1 for _ in space)), shape).reshape(
        -1
    )
    flat = (chosen - mean).reshape(len(chosen), -1) / scale
    variances, modes = np.linalg.eigh(flat.T @ flat / len(flat))
    variances, modes = np.maximum(variances[::-1], 0), modes.T[::-1]
    held = int((variances > LEAST * variances.sum()).sum())
    count = min(len(variances), rank, max(latent, held))
    return Measured(mean.reshape(-1), scale, modes[:count], np.sqrt(variances[:count] + 1e-24))


def fill(basis: FieldBasis, found: Measured) -> None:
    """Sets the buffers of a basis of the same rank."""
    for name, values in found._asdict().items():
        getattr(basis, name).copy_(torch.tensor(np.ascontiguousarray(values), dtype=torch.float32))


def rolled(values: Tensor, axes: list[int], generator: torch.Generator) -> Tensor:
    """Fields (batch, time, channel, *grid), each of the batch shifted by a random distance.

    Args:
        values: the fields.
        axes: axes of the grid (from 0) that are shifted along.
        generator: of the distances.
    """
    for axis in axes:
        points = values.shape[3 + axis]
        by = torch.randint(points, (len(values),), generator=generator)
        places = (torch.arange(points)[None, :] - by[:, None]) % points
        shape = [len(values), 1, 1, *(1 for _ in values.shape[3:])]
        shape[3 + axis] = points
        index = places.reshape(shape).to(values.device).expand(values.shape)
        values = values.gather(3 + axis, index)
    return values
