"""Random quantities of initial conditions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

OUTSIDE = (3.0, 5.0)


def normal_above(
    generator: np.random.Generator,
    count: int,
    mean: Sequence[float],
    std: Sequence[float],
    minimum: Sequence[float],
    extrapolation: bool = False,
) -> np.ndarray:
    """Independent normal quantities above a minimum, (count, quantity).

    A row with a value at or below its ``minimum`` is drawn again. With ``extrapolation`` every
    quantity lies three to five standard deviations from its mean, on either side.
    """
    drawn = np.empty((count, len(mean)))
    for row in drawn:
        row[:] = -np.inf
        while (row <= minimum).any():
            deviation = generator.standard_normal(len(mean))
            if extrapolation:
                deviation = np.sign(deviation) * generator.uniform(*OUTSIDE, len(mean))
            row[:] = np.asarray(mean) + np.asarray(std) * deviation
    return drawn
