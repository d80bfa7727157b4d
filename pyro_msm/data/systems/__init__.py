"""Systems that can be simulated, one a file."""

from __future__ import annotations

from typing import Any

from pyro_msm.data.systems.base import System
from pyro_msm.data.systems.burgers import Burgers
from pyro_msm.data.systems.burgers_2d import Burgers2D, Burgers2DHard
from pyro_msm.data.systems.burgers_hard import BurgersHard
from pyro_msm.data.systems.cylinder import Cylinder
from pyro_msm.data.systems.kdv import KdV
from pyro_msm.data.systems.kdv_hard import KdVHard
from pyro_msm.data.systems.shallow_water import ShallowWater, ShallowWaterHard
from pyro_msm.data.systems.wave import Wave, WaveHard
from pyro_msm.data.systems.wave_second_order import WaveSecondOrder
from pyro_msm.errors import InputError

__all__ = [
    "Burgers",
    "Burgers2D",
    "Burgers2DHard",
    "BurgersHard",
    "Cylinder",
    "KdV",
    "KdVHard",
    "ShallowWater",
    "ShallowWaterHard",
    "System",
    "Wave",
    "WaveHard",
    "WaveSecondOrder",
    "get",
    "names",
]

_SYSTEMS: dict[str, type[System]] = {
    system.name: system
    for system in (
        Burgers,
        Burgers2D,
        Burgers2DHard,
        BurgersHard,
        Cylinder,
        KdV,
        KdVHard,
        ShallowWater,
        ShallowWaterHard,
        Wave,
        WaveHard,
        WaveSecondOrder,
    )
}


def names() -> list[str]:
    """Names of the systems, sorted.

    >>> names()[:3]
    ['burgers-1d', 'burgers-1d-hard', 'burgers-2d']
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
