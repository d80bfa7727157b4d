"""Random streams of an ensemble: one for each member and trajectory."""

from __future__ import annotations

import numpy as np

#: What a stream is for; different purposes never share one.
DYNAMICS, OBSERVATION = 0, 1


class Streams:
    """Independent normal streams, one for each (member, trajectory).

    What a stream yields depends on the root, the purpose and its own place only: not on the number
    of members or trajectories, nor on how the draws are cut into blocks.

    Args:
        root: see ``root_entropy``.
        members: indices of the members.
        trajectories: indices of the trajectories.
        purpose: ``DYNAMICS`` or ``OBSERVATION``.

    Example:
        >>> streams = Streams(0, range(2), range(1))
        >>> both = np.concatenate([streams.normal(2, 3), streams.normal(1, 3)])
        >>> bool((both[:, :1] == Streams(0, range(1), range(1)).normal(3, 3)).all())
        True
    """

    def __init__(
        self, root: int, members: range, trajectories: range, purpose: int = DYNAMICS
    ) -> None:
        self.shape = len(members), len(trajectories)
        self._generators = [
            np.random.Generator(
                np.random.SFC64(np.random.SeedSequence(root, spawn_key=(purpose, member, which)))
            )
            for member in members
            for which in trajectories
        ]

    def normal(self, steps: int, size: int) -> np.ndarray:
        """Standard normal float32 (steps, member, trajectory, size)."""
        draws = np.empty((steps, len(self._generators), size), np.float32)
        for i, generator in enumerate(self._generators):
            draws[:, i] = generator.standard_normal((steps, size), np.float32)
        return draws.reshape(steps, *self.shape, size)
