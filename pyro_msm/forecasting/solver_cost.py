"""What a forecast costs, beside the cheapest solver that is as accurate."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import fields
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from pyro_msm.data.systems import System
from pyro_msm.errors import InputError
from pyro_msm.forecasting.latent import LatentForecaster
from pyro_msm.forecasting.solvers import SystemSolver

#: Steps of the solver, in those of the data's own, that are tried.
COARSER = (64, 32, 16, 8, 4, 2, 1)
#: A cost is the least of so many measurements.
REPEATS = 3


class Setting(NamedTuple):
    """A setting of a solver, and how it does.

    Attributes:
        options: those in which it differs from the solver of the data.
        error: MNAD against that solver, averaged over channels.
        seconds: for a unit of time of all trajectories together.
    """

    options: dict[str, Any]
    error: float
    seconds: float


def settings(system: System) -> Iterator[dict[str, Any]]:
    """Options of cheaper solvers of the same equations: other schemes, and longer steps."""
    schemes: Sequence[dict[str, Any]] = [{}]
    for entry in fields(system):
        if entry.name == "scheme":
            schemes = [{"scheme": scheme} for scheme in entry.metadata["choices"]]
    step = getattr(system, "time_step", None)
    if step is None:
        raise InputError(
            f"system {system.name} has no option time_step: its solver cannot be made cheaper, so "
            "there is no fair speed-up to tell"
        )
    for scheme in schemes:
        for factor in COARSER:
            yield {**scheme, "time_step": step * factor}


def cheapest_setting(
    system: System, start: np.ndarray, times: np.ndarray, error: float
) -> tuple[Setting, Setting]:
    """The cheapest solver that errs no more than ``error``, and the solver of the data itself.

    Args:
        system: a deterministic system, with the options of the data.
        start: observations (trajectory, channel, x[, y]) at ``times[0]``.
        times: (n,) absolute, evenly spaced.
        error: MNAD that is allowed, averaged over channels.

    Returns:
        The cheapest setting, and the data's own, which all are measured against.
    """
    truth, seconds = _run(system, start, times)
    own = Setting({}, 0.0, seconds)
    best = own
    space = tuple(range(3, truth.ndim))
    span = truth.max((1, *space)) - truth.min((1, *space))
    for options in settings(system):
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                found, seconds = _run(system.configured(**options), start, times)
        except InputError:
            continue
        difference = np.abs(found - truth).mean(space) / span[:, np.newaxis]
        if difference.mean() <= error and seconds < best.seconds:
            best = Setting(options, float(difference.mean()), seconds)
    return best, own


def _run(system: System, start: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, float]:
    """Observations (trajectory, time, …) at all times, and seconds for a unit of time."""
    solver = SystemSolver(system)
    path, spent = [solver.observe(solver.lift(start))], 0.0
    state = solver.lift(start)
    for before, after in pairwise(times):
        began = time.perf_counter()
        state = solver.step(state, float(before), float(after - before))
        spent += time.perf_counter() - began
        path.append(solver.observe(state))
    return np.stack(path, 1), spent / float(times[-1] - times[0])


class LatentCost(NamedTuple):
    """Seconds for a unit of time of all trajectories together."""

    advance: float
    decode: float


def latent_cost(
    forecaster: LatentForecaster, initial: xr.Dataset, step: float, steps: int = 200
) -> LatentCost:
    """What latent dynamics cost, and what decoding every snapshot would cost beside them.

    Args:
        forecaster: fitted.
        initial: initial data of as many trajectories as are to be forecast together.
        step: time between two snapshots.
        steps: how many are measured.
    """
    times = float(initial["time"].values[-1]) + step * np.arange(1, steps + 1)
    state = forecaster.encode(initial, 1, 0)
    advance, decode = np.inf, np.inf
    for _ in range(REPEATS):
        began = time.perf_counter()
        _, latents = forecaster.advance(state, times)
        between = time.perf_counter()
        forecaster.decode(latents)
        after = time.perf_counter()
        advance, decode = min(advance, between - began), min(decode, after - between)
    return LatentCost(advance / (step * steps), decode / (step * steps))
