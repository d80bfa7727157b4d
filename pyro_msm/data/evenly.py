"""A few places out of many."""

from __future__ import annotations

import numpy as np


def evenly(first: int, last: int, count: int) -> np.ndarray:
    """At most ``count`` whole numbers from ``first`` to ``last``, both among them, evenly spread.

    >>> evenly(0, 10, 3).tolist(), evenly(1, 2, 5).tolist()
    ([0, 5, 10], [1, 2])
    """
    return np.unique(np.linspace(first, last, count).round().astype(int))
