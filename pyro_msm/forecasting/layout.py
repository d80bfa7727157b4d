"""How an ensemble is cut into pieces that fit into memory, to write it and to score it alike."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from pyro_msm.errors import InputError
from pyro_msm.scores.energy import GROUP

#: Bytes that rolling out and scoring work with, beside the program itself and the data.
MEMORY = 2**30

#: The members of one piece take up such a share of it; sorted copies and the like need the rest.
SHARE = 16

#: Bytes of the latent paths that are integrated together. Not a setting: paths are the same to the
#: last bit whatever memory there is.
PATH_BYTES = 2**26


@dataclass(frozen=True)
class Layout:
    """The pieces in which the fields of one trajectory are handled.

    Where all members fit at one time, a piece has them all, at ``times`` times. Otherwise it has
    one time, and either ``draws`` members of each chain with all points, or all members at ``rows``
    points of the first space axis.

    Attributes:
        times: stored times.
        draws: members of each chain.
        rows: points of the first space axis.
    """

    times: int
    draws: int
    rows: int

    def cut(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """What a piece holds of samples of ``shape``."""
        return *shape[:1], *(self.rows for _ in shape[1:2]), *shape[2:]


def layout(chains: int, draws: int, shape: tuple[int, ...], memory: int = MEMORY) -> Layout:
    """The pieces for an ensemble of fields.

    Members are cut into multiples of the groups in which the energy score takes its pairs, so such
    a group of whole fields is the least that is held, and one row of points of all members.

    Args:
        chains: number of chains that are held together.
        draws: members of each.
        shape: (channel, x[, y]) of a field. Of another variable it is what follows time; one with
            a single axis has one row.
        memory: bytes to work with.

    Raises:
        InputError: no memory at all.

    Example:
        >>> layout(1, 10_000, (1, 1000))
        Layout(times=1, draws=10000, rows=1000)
        >>> layout(1, 10_000, (3, 128, 128))
        Layout(times=1, draws=256, rows=4)
    """
    if memory <= 0:
        raise InputError(f"the memory to work with must be above 0, got {memory} bytes")
    limit = memory // SHARE
    field = 4 * math.prod(shape)
    sample = chains * draws * field
    most = row_count(shape)
    if sample <= limit:
        return Layout(limit // sample, draws, most)
    group = max(1, GROUP // chains)
    fitting = limit // (chains * field) // group * group
    rows = limit // (sample // most)
    return Layout(1, min(draws, max(group, fitting)), min(most, max(1, rows)))


def row_count(shape: tuple[int, ...]) -> int:
    """How many rows a sample of ``shape`` can be cut into."""
    return shape[1] if len(shape) > 1 else 1


def path_members(times: int, trajectories: int, size: int) -> int:
    """How many members' latent paths are integrated together.

    Args:
        times: number of times of a path.
        trajectories: number of trajectories.
        size: of the latent state.
    """
    return max(1, PATH_BYTES // (4 * times * trajectories * size))


def slices(count: int, step: int, first: int = 0) -> Iterator[slice]:
    """``first`` … ``count − 1`` in slices of ``step``."""
    for start in range(first, count, step):
        yield slice(start, min(start + step, count))
