"""How a field goes on beyond the edge of its grid."""

from __future__ import annotations

import torch
from torch import Tensor


def padded_index(points: int, reach: int, boundary: str) -> Tensor:
    """Indices of the grid values that stand at −reach … points−1+reach.

    Args:
        points: number of grid points.
        reach: how far to go on at either end; any size.
        boundary: "periodic" wraps around, "wall" mirrors at the edge of the last cell, "open"
            repeats the last value.

    Returns:
        (points + 2·reach,) integers in [0, points).

    Example:
        >>> padded_index(4, 2, "periodic").tolist()
        [2, 3, 0, 1, 2, 3, 0, 1]
        >>> padded_index(4, 2, "wall").tolist()
        [1, 0, 0, 1, 2, 3, 3, 2]
        >>> padded_index(4, 2, "open").tolist()
        [0, 0, 0, 1, 2, 3, 3, 3]
    """
    index = torch.arange(-reach, points + reach)
    if boundary == "periodic":
        return index % points
    if boundary == "open":
        return index.clamp(0, points - 1)
    index = index % (2 * points)
    return torch.where(index < points, index, 2 * points - 1 - index)
