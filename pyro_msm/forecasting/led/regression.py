"""The polynomial part of a propagator, fitted to encoded trajectories."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from pyro_msm.nn.latent_dynamics import LatentDynamics
from pyro_msm.nn.polynomial import Polynomial

logger = logging.getLogger("pyro_msm")

#: Penalties that are tried, the share of the trajectories' times that chooses among them, and the
#: number and length of the free runs by which it does.
RIDGES = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)
HELD_OUT, RUNS, STEPS = 0.2, 32, 200


def fit_polynomial(propagator: LatentDynamics, latents: Tensor) -> None:
    """Fits the polynomial to the increments of latents, where the propagator has one.

    The penalty is the one with which free runs over the last times, which the regression does not
    see meanwhile, stay closest: a polynomial that is good over one step may run away.

    Args:
        propagator: its centre, spread and rate are those of the latents.
        latents: (path, time, latent).
    """
    polynomial = propagator.polynomial
    if polynomial is None:
        return
    scaled = (latents - propagator.centre) / propagator.spread
    change = latents.diff(dim=1) / propagator.rate
    pace = propagator.rate / propagator.spread
    every = change.shape[1]
    first = max(1, round((1 - HELD_OUT) * every))

    def samples(count: int) -> tuple[Tensor, Tensor]:
        return scaled[:, :count].flatten(0, 1), change[:, :count].flatten(0, 1)

    reach = scaled.abs().amax((0, 1))
    known, errors = polynomial.moments(*samples(first)), []
    for ridge in RIDGES:
        polynomial.fit(known, ridge, reach)
        errors.append(_free_running_error(polynomial, pace, scaled[:, first:]))
    best = min(range(len(RIDGES)), key=errors.__getitem__)
    polynomial.fit(polynomial.moments(*samples(every)), RIDGES[best], reach)
    polynomial.measure(*samples(every))
    logger.info("polynomial of %d monomials, ridge %g", len(polynomial.weight), RIDGES[best])


def _free_running_error(polynomial: Polynomial, pace: Tensor, scaled: Tensor) -> float:
    """Mean distance of free runs from paths (path, time, latent), in scales."""
    steps = min(STEPS, scaled.shape[1] - 1)
    if steps < 1:
        return float("inf")
    starts = torch.linspace(0, scaled.shape[1] - 1 - steps, RUNS).long()
    rows = torch.arange(RUNS) % len(scaled)
    state, gaps = scaled[rows, starts], []
    for step in range(steps):
        state = state + pace * polynomial(state)
        gaps.append((state - scaled[rows, starts + step + 1]).abs().mean())
    found = float(torch.stack(gaps).mean())
    return found if found == found else float("inf")
