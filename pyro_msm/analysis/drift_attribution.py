"""What the microscale state does to the macroscale drift."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from pyro_msm.forecasting import MultiscaleForecaster, initial_window
from pyro_msm.forecasting.ensemble import stored_times
from pyro_msm.nn.comoving import ANGLE

TIMES = 101


def drift_attribution(forecaster: MultiscaleForecaster, data: xr.Dataset) -> dict[str, Any] | None:
    """Share of the variance of f(ζ, η) along observed paths that goes when η is held at its mean.

    With f₀ = f(ζ, η̄) the share is Σ Var(f − f₀)/Σ Var(f), variances over times and trajectories
    and sums over the components of ζ, each in units of its own rate. 0: the microscale does not
    matter to the macroscale; 1: as much of the drift changes as there is. It may exceed 1 where
    the two parts of the drift cancel. Paths are the means of the encoder's posterior. In a
    co-moving frame the two components that are the frame's angle are kept as they are. Of second
    order, f is the drift of the rates of ζ.

    Args:
        forecaster: a trained model.
        data: trajectories with all times that are to be looked at, from the warm-up on.

    Returns:
        ``share``; ``by_component``, the same when one component of η at a time is held;
        ``by_time`` over ``time`` and ``by_point`` (channel, points of ζ): Σ(f − f₀ − mean)² there
        over the mean Σ(f − f̄)² of all, the mean that of f − f₀ over times and trajectories. None
        without a microscale.
    """
    network = forecaster.model.network
    if not network.micro:
        return None
    initial = initial_window(data, forecaster.warmup)
    state = forecaster.encode(initial, 1, 0)
    encoded = forecaster.encoded(data)
    chosen = stored_times(encoded.shape[1], TIMES)
    time = data["time"].values[forecaster.warmup - 1 :][chosen]
    latents = torch.tensor(encoded[:, chosen], device=forecaster.device)
    times = torch.tensor(time, dtype=latents.dtype, device=latents.device)
    times = times.expand(latents.shape[:2])
    parameters = state.parameters
    context = network.context(times, parameters, state.forcing)
    shared = None if parameters is None else parameters[:, None]

    first = network.macro_values - network.macro_values // network.order

    def rates(path: Tensor) -> np.ndarray:
        with torch.inference_mode():
            drift = network.drift(times, path, context, shared) / network.state_rate
        return drift[..., first : network.macro_values].double().cpu().numpy()

    inner = range(network.macro_values, network.state_size)
    if forecaster.model.settings["frame"] == "comoving":
        inner = inner[ANGLE:]
    full = rates(latents)
    without = [rates(_held(latents, [number])) for number in inner]
    change = full - rates(_held(latents, list(inner)))
    each = full.var((0, 1)).sum()
    change = change - change.mean((0, 1))
    return {
        "share": change.var((0, 1)).sum() / each,
        "by_component": [(full - one).var((0, 1)).sum() / each for one in without],
        "first_component": inner.start - network.macro_values + 1,
        "time": time,
        "by_time": np.square(change).sum(-1).mean(0) / each,
        "by_point": (change.var((0, 1)) / (each / full.shape[-1])).reshape(network.channels, -1),
    }


def _held(latents: Tensor, components: list[int]) -> Tensor:
    """Latents (trajectory, time, latent) with some components at their mean."""
    held = latents.clone()
    held[..., components] = latents[..., components].mean((0, 1))
    return held
