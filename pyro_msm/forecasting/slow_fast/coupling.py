"""The known coupling: from the configuration, or from the system that the data come from."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from typing import Any

import xarray as xr

from pyro_msm.data import systems
from pyro_msm.data.systems.slow_fast import SlowFast
from pyro_msm.errors import InputError
from pyro_msm.nn.coupling import Coupling

#: What a checkpoint keeps to find a coupling again: of a function, or of a system.
Reference = dict[str, Any]


def chosen_reference(choice: str | None, data: xr.Dataset) -> Reference:
    """Where the coupling is: ``slow_fast.coupling``, or the system of ``data``.

    Raises:
        InputError: neither names one.
    """
    if choice is not None:
        return {"function": choice}
    name = data.attrs.get("system")
    if name not in systems.names():
        raise InputError(
            "a slow–fast model needs the coupling b(x, y) of the slow variable: give "
            "slow_fast.coupling = 'package.module:function', a function that returns a Coupling "
            f"(these data come from {'no system' if name is None else repr(name)})"
        )
    return {"system": name, "options": json.loads(data.attrs.get("options", "{}"))}


def coupling_of(reference: Reference, learned: bool) -> Coupling:
    """The coupling of a reference; ``learned`` leaves its σ out.

    Raises:
        InputError: the function cannot be imported or returns no Coupling, the system has none, or
            there is no σ to be known.
    """
    found = _of_function(reference["function"]) if "function" in reference else _of(reference)
    if learned:
        return replace(found, diffusion=None, noise=None)
    if found.diffusion is None:
        raise InputError(
            "the coupling has no diffusion σ: give it one, or set slow_fast.dispersion = 'learned'"
        )
    return found


def _of(reference: Reference) -> Coupling:
    system = systems.get(reference["system"], **reference["options"])
    if not isinstance(system, SlowFast):
        raise InputError(
            f"system {system.name} is no slow–fast one and has no coupling: choose another --model"
        )
    return system.coupling()


def _of_function(reference: str) -> Coupling:
    place, colon, name = reference.partition(":")
    if not (place and colon and name):
        raise InputError(
            f"slow_fast.coupling = {reference!r}: expected a function as package.module:name"
        )
    try:
        function = getattr(importlib.import_module(place), name)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"slow_fast.coupling = {reference!r} cannot be imported ({error}): install its "
            "package, or put its folder on PYTHONPATH"
        ) from error
    found = function() if callable(function) else function
    if not isinstance(found, Coupling):
        raise InputError(
            f"slow_fast.coupling = {reference!r} gives {type(found).__name__}: expected a "
            "pyro_msm.nn.coupling.Coupling"
        )
    return found
