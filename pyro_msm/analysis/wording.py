"""Numbers in sentences."""

from __future__ import annotations


def percent(value: float) -> str:
    """Two digits, and a space that does not break.

    >>> percent(0.0123), percent(1.1)
    ('1.2\\xa0%', '110\\xa0%')
    """
    return f"{100 * value:.2g}\u00a0%" if abs(value) < 0.995 else f"{100 * value:.0f}\u00a0%"


def how_many(number: int) -> str:
    """So many trajectories.

    >>> how_many(1), how_many(20)
    ('1 trajectory', '20 trajectories')
    """
    return f"{number} {'trajectory' if number == 1 else 'trajectories'}"
