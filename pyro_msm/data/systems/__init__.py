"""Systems that can be simulated, one a file."""

from __future__ import annotations

from typing import Any

from pyro_msm.data.systems.advection_diffusion import (
    AdvectionDiffusion1D,
    AdvectionDiffusion3D,
)
from pyro_msm.data.systems.base import System
from pyro_msm.data.systems.burgers import Burgers
from pyro_msm.data.systems.burgers_2d import Burgers2D, Burgers2DHard
from pyro_msm.data.systems.burgers_hard import BurgersHard
from pyro_msm.data.systems.cylinder import Cylinder
from pyro_msm.data.systems.fitzhugh_nagumo import FitzHughNagumo
from pyro_msm.data.systems.kdv import KdV
from pyro_msm.data.systems.kdv_hard import KdVHard
from pyro_msm.data.systems.kuramoto_sivashinsky import KuramotoSivashinsky
from pyro_msm.data.systems.shallow_water import ShallowWater, ShallowWaterHard
from pyro_msm.data.systems.slow_fast import SlowFast
from pyro_msm.data.systems.slow_fast_a import SlowFastA
from pyro_msm.data.systems.slow_fast_b import SlowFastB
from pyro_msm.data.systems.slow_fast_c import SlowFastC
from pyro_msm.data.systems.slow_fast_d import SlowFastD
from pyro_msm.data.systems.wave import Wave, WaveHard
from pyro_msm.data.systems.wave_second_order import WaveSecondOrder
from pyro_msm.errors import InputError

__all__ = [
    "AdvectionDiffusion1D",
    "AdvectionDiffusion3D",
    "Burgers",
    "Burgers2D",
    "Burgers2DHard",
    "BurgersHard",
    "Cylinder",
    "FitzHughNagumo",
    "KdV",
    "KdVHard",
    "KuramotoSivashinsky",
    "ShallowWater",
    "ShallowWaterHard",
    "SlowFast",
    "SlowFastA",
    "SlowFastB",
    "SlowFastC",
    "SlowFastD",
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
        AdvectionDiffusion1D,
        AdvectionDiffusion3D,
        Burgers,
        Burgers2D,
        Burgers2DHard,
        BurgersHard,
        Cylinder,
        FitzHughNagumo,
        KdV,
        KdVHard,
        KuramotoSivashinsky,
        ShallowWater,
        ShallowWaterHard,
        SlowFastA,
        SlowFastB,
        SlowFastC,
        SlowFastD,
        Wave,
        WaveHard,
        WaveSecondOrder,
    )
}


def names() -> list[str]:
    """Names of the systems, sorted.

    >>> names()[:3]
    ['advection-diffusion-1d', 'advection-diffusion-3d', 'burgers-1d']
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
