"""Systems that can be simulated, one a file."""

from __future__ import annotations

from typing import Any

from pyro_msm.data.systems.base import System
from pyro_msm.data.systems.burgers import Burgers
from pyro_msm.data.systems.kdv import KdV
from pyro_msm.errors import InputError

__all__ = ["Burgers", "KdV", "System", "get", "names"]

_SYSTEMS: dict[str, type[System]] = {system.name: system for system in (Burgers, KdV)}


def names() -> list[str]:
    """Names of the systems, sorted.

    >>> names()
    ['burgers-1d', 'kdv-1d']
    """
    return sorted(_SYSTEMS)


def get(name: str, **options: Any) -> System:
    """The system of this name, with these options.

    Raises:
        InputError: unknown name or option.

    >>> get("kdv-1d").simulate({"train": 1}, frames=3).sizes["time"]
    3
    """
    if name not in _SYSTEMS:
        raise InputError(f"unknown system {name!r}: expected {', '.join(names())}")
    return _SYSTEMS[name]().configured(**options)
