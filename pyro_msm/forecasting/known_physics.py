"""Known physics: from the configuration to an equation, and how fast that equation is."""

from __future__ import annotations

import json
from collections.abc import Mapping

import torch
import xarray as xr
from torch import Tensor

from pyro_msm.data import systems
from pyro_msm.errors import InputError
from pyro_msm.models import MultiscaleSDE
from pyro_msm.nn.physics import Physics, check_terms, imported

#: How far from the mean, in scales, the pace of an equation is measured.
REACH = 3.0


def chosen_physics(choice: Physics | None, data: xr.Dataset) -> Physics | None:
    """What ``model.physics`` asks for, as ``MultiscaleSDE`` takes it.

    Args:
        choice: "system" for the equation of the system that ``data`` were simulated with; all else
            stands for itself.
        data: a validated dataset with a ``field``.

    Raises:
        InputError: the data come from no system, or from one without an equation; or the choice
            does not fit the field or cannot be imported.
    """
    physics = _of_system(data) if choice == "system" else choice
    if isinstance(physics, Mapping):
        check_terms(physics, data.attrs["boundary"], data.sizes["channel"])
    elif physics is not None:
        imported(physics)
    return physics


def _of_system(data: xr.Dataset) -> dict[str, float]:
    name = data.attrs.get("system")
    if name not in systems.names():
        raise InputError(
            "model.physics = 'system' is the equation of the simulated system that the data come "
            f"from, and these come from {'none' if name is None else repr(name)}: give the terms "
            "of your equation, a function as package.module:name, or 'none'"
        )
    try:
        return systems.get(name, **json.loads(data.attrs.get("options", "{}"))).terms
    except InputError as error:
        raise InputError(f"model.physics = 'system': {error}; use 'none'") from error


def known_rate(model: MultiscaleSDE) -> float:
    """The fastest rate of the known physics, 1/time: what an integration's steps must resolve.

    The spectral radius of its Jacobian at time 0, at uniform fields on either side of the mean;
    0 without known physics.
    """
    network, known = model.network, model.network.known_drift
    if known is None:
        return 0.0
    count, size = model.settings["parameters"], network.macro_values
    times = network.state_mean.new_zeros(1)
    parameters = network.shared_mean[None, :count] if count else None

    def rate(macro: Tensor) -> Tensor:
        field = macro.reshape(1, network.channels, *network.macro)
        return known(field, times, parameters).reshape(size)

    found = []
    for distance in (-REACH, REACH):
        state = (network.state_mean + distance * network.state_scale)[:size]
        jacobian = torch.autograd.functional.jacobian(rate, state)
        found.append(float(torch.linalg.eigvals(jacobian.double()).abs().max()))
    return max(found)
