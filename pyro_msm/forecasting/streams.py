"""Random streams of an ensemble: one for each member and trajectory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

#: What a stream is for; different purposes never share one.
DYNAMICS, INITIAL, OBSERVATION, WEIGHTS = 0, 1, 2, 3

#: Rows of a stream that are drawn together.
LENGTH = 128

#: Members whose observation noise at one time is drawn together.
GROUP = 16


@dataclass(frozen=True)
class Streams:
    """Independent normal streams, one for each (member, trajectory), readable at any row.

    A number depends on the root, the purpose, the epoch, its own member and trajectory, and its
    row: not on the number of members or trajectories, nor on what has been read before. So an
    ensemble may be cut into blocks of members, trajectories or times.

    Args:
        root: see ``root_entropy``.
        members: indices of the members.
        trajectories: indices of the trajectories.
        epoch: counts restarts; each has streams of its own.

    Example:
        >>> streams = Streams(0, range(2), range(1))
        >>> alone = Streams(0, range(1, 2), range(1))
        >>> bool((streams.normal(5, 3, 4)[:, 1:] == alone.normal(5, 3, 4)).all())
        True
    """

    root: int
    members: range
    trajectories: range
    epoch: int = 0
    #: The last chunk of each purpose and size, and its index.
    _drawn: dict[tuple[int, int], tuple[int, np.ndarray]] = field(
        default_factory=dict, compare=False, repr=False
    )

    def normal(self, first: int, rows: int, size: int, purpose: int = DYNAMICS) -> np.ndarray:
        """Rows ``first`` … ``first + rows − 1``: float32 (rows, member, trajectory, size)."""
        out = np.empty((rows, len(self.members), len(self.trajectories), size), np.float32)
        done = 0
        while done < rows:
            chunk, offset = divmod(first + done, LENGTH)
            part = self._chunk(chunk, size, purpose)[offset : offset + rows - done]
            out[done : done + len(part)] = part
            done += len(part)
        return out

    def restarted(self) -> Streams:
        """The streams of the next epoch."""
        return replace(self, epoch=self.epoch + 1, _drawn={})

    def _chunk(self, chunk: int, size: int, purpose: int) -> np.ndarray:
        held, drawn = self._drawn.get((purpose, size), (None, np.empty(0)))
        if held != chunk:
            drawn = np.empty((LENGTH, len(self.members), len(self.trajectories), size), np.float32)
            for i, member in enumerate(self.members):
                for j, which in enumerate(self.trajectories):
                    place = (purpose, self.epoch, member, which, chunk)
                    seed = np.random.SeedSequence(self.root, spawn_key=place)
                    generator = np.random.Generator(np.random.SFC64(seed))
                    drawn[:, i, j] = generator.standard_normal((LENGTH, size), np.float32)
            self._drawn[purpose, size] = chunk, drawn
        return drawn


def observation_noise(
    root: int, members: range, trajectory: int, times: Sequence[int], shape: tuple[int, ...]
) -> np.ndarray:
    """Standard normal noise for whole fields: float32 (member, time, *shape).

    As with ``Streams``, a number depends on the root, its own member, trajectory, time and point
    only; but any time can be read at the cost of that time alone, since fields are too large for
    the times around it to be drawn with it.

    Args:
        root: see ``root_entropy``.
        members: indices of the members, one after the other.
        trajectory: index of the trajectory.
        times: indices of the times.
        shape: of a field.

    Example:
        >>> noise = observation_noise(0, range(10, 40), 0, [3, 5], (4,))
        >>> bool((noise[20:, :1] == observation_noise(0, range(30, 40), 0, [3], (4,))).all())
        True
    """
    size = int(np.prod(shape))
    noise = np.empty((len(members), len(times), size), np.float32)
    for place, time in enumerate(times):
        for group in range(members.start // GROUP, -(-members.stop // GROUP)):
            begin = group * GROUP
            stop = min(begin + GROUP, members.stop)
            seed = np.random.SeedSequence(root, spawn_key=(OBSERVATION, trajectory, time, group))
            generator = np.random.Generator(np.random.SFC64(seed))
            drawn = generator.standard_normal((stop - begin, size), np.float32)
            wanted = drawn[max(members.start - begin, 0) :]
            first = max(begin - members.start, 0)
            noise[first : first + len(wanted), place] = wanted
    return noise.reshape(len(members), len(times), *shape)


def weights_noise(root: int, members: range, size: int) -> np.ndarray:
    """Standard normal noise for the weights of whole members: float32 (member, size).

    A number depends on the root, its own member and its place only.

    Args:
        root: see ``root_entropy``.
        members: indices of the members.
        size: numbers of a member.

    Example:
        >>> bool((weights_noise(0, range(3), 4)[2:] == weights_noise(0, range(2, 3), 4)).all())
        True
    """
    noise = np.empty((len(members), size), np.float32)
    for row, member in zip(noise, members, strict=True):
        seed = np.random.SeedSequence(root, spawn_key=(WEIGHTS, member))
        np.random.Generator(np.random.SFC64(seed)).standard_normal(dtype=np.float32, out=row)
    return noise
