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


Bands = Sequence[tuple[float, float]]


def uniform_in(
    generator: np.random.Generator, count: int, quantities: Sequence[Bands]
) -> np.ndarray:
    """Independent quantities, each uniform over its own disjoint intervals, (count, quantity).

    >>> drawn = uniform_in(np.random.default_rng(0), 3, [[(0, 1)], [(-2, -1), (1, 2)]])
    >>> bool((np.abs(drawn[:, 1]) >= 1).all())
    True
    """
    drawn = np.empty((count, len(quantities)))
    for row in drawn:
        for index, bands in enumerate(quantities):
            left = generator.uniform(0.0, sum(high - low for low, high in bands))
            for low, high in bands:
                row[index] = min(low + left, high)
                left -= high - low
                if left <= 0:
                    break
    return drawn


def several(
    generator: np.random.Generator, count: int, most: int, quantities: Sequence[Bands]
) -> np.ndarray:
    """Quantities of one to ``most`` pulses, (count, most · quantity), pulse after pulse.

    The first quantity is the amplitude; pulses that are absent have amplitude zero.
    """
    rows = []
    for _ in range(count):
        present = int(generator.integers(1, most + 1))
        drawn = uniform_in(generator, most, quantities)
        drawn[present:, 0] = 0.0
        rows.append(drawn.ravel())
    return np.array(rows).reshape(count, most * len(quantities))


def numbered(names: Sequence[str], most: int) -> tuple[str, ...]:
    """Names of the columns of ``several``.

    >>> numbered(("amplitude", "width"), 2)
    ('amplitude 1', 'width 1', 'amplitude 2', 'width 2')
    """
    return tuple(f"{name} {pulse}" for pulse in range(1, most + 1) for name in names)


def pulses(parameters: np.ndarray, most: int, axes: int = 1) -> list[np.ndarray]:
    """Each quantity of ``several`` as (count, pulse, 1[, 1]), to be broadcast over the grid."""
    parameters = np.asarray(parameters, dtype=np.float64)
    table = parameters.reshape(len(parameters), most, -1)
    return [column.reshape(*column.shape, *[1] * axes) for column in np.moveaxis(table, -1, 0)]


def periodic_distance(x: np.ndarray, position: np.ndarray | float, length: float) -> np.ndarray:
    """Signed distance from ``position`` on a periodic axis, in [-length/2, length/2).

    >>> float(periodic_distance(np.array(0.9), 0.1, 1.0).round(6))
    -0.2
    """
    return (x - position + length / 2) % length - length / 2
