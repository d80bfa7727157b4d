"""Standard normal numbers for a batch of windows, of which a process may hold a share only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

#: (index, count): this process holds the part ``index`` of ``count`` equal parts of each batch.
_part: ContextVar[tuple[int, int]] = ContextVar("part of the windows", default=(0, 1))


@contextmanager
def part_of_windows(index: int, count: int) -> Iterator[None]:
    """Within it a batch is one of ``count`` equal parts of a larger one.

    ``windows_noise`` then draws for the larger batch and returns the part's share: processes that
    start from one seed see the numbers that a single process would see, and their generators stay
    in step.
    """
    token = _part.set((index, count))
    try:
        yield
    finally:
        _part.reset(token)


def windows_noise(shape: Sequence[int], like: Tensor) -> Tensor:
    """Standard normal numbers of dtype and device of ``like``.

    Args:
        shape: (…, windows, times, state); without windows it may be (times, state).
        like: any tensor.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> whole = windows_noise((4, 2, 1), torch.zeros(()))
        >>> _ = torch.manual_seed(0)
        >>> with part_of_windows(1, 2):
        ...     second = windows_noise((2, 2, 1), torch.zeros(()))
        >>> torch.equal(second, whole[2:])
        True
    """
    index, count = _part.get()
    if count == 1 or len(shape) < 3:
        return torch.randn(tuple(shape), dtype=like.dtype, device=like.device)
    windows = shape[-3]
    whole = (*shape[:-3], count * windows, *shape[-2:])
    noise = torch.randn(whole, dtype=like.dtype, device=like.device)
    return noise.narrow(-3, index * windows, windows)
