"""Exponential time differencing for stiff semi-linear equations, diagonal in Fourier space."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Coefficients(NamedTuple):
    """Factors of one ETDRK4 step of a given length, each (mode,) complex."""

    full: np.ndarray
    half: np.ndarray
    stage: np.ndarray
    first: np.ndarray
    middle: np.ndarray
    last: np.ndarray


def coefficients(linear: np.ndarray, duration: float, nodes: int = 64) -> Coefficients:
    """Factors for dv/dt = ``linear`` v + N(v), by contour integrals that avoid cancellation.

    Source: A.-K. Kassam and L. N. Trefethen, Fourth-order time-stepping for stiff PDEs, SIAM J.
    Sci. Comput. 26 (2005), section 3; the whole circle, since ``linear`` may be complex.
    """
    scaled = duration * linear
    circle = np.exp(2j * np.pi * (np.arange(nodes) + 0.5) / nodes)
    z = scaled[:, None] + circle
    grown = np.exp(z)
    return Coefficients(
        full=np.exp(scaled),
        half=np.exp(scaled / 2),
        stage=duration * ((np.exp(z / 2) - 1) / z).mean(1),
        first=duration * ((-4 - z + grown * (4 - 3 * z + z**2)) / z**3).mean(1),
        middle=duration * ((4 + 2 * z + grown * (2 * z - 4)) / z**3).mean(1),
        last=duration * ((-4 - 3 * z - z**2 + grown * (4 - z)) / z**3).mean(1),
    )


def step(
    v: np.ndarray, nonlinear: Callable[[np.ndarray], np.ndarray], factors: Coefficients
) -> np.ndarray:
    """One step of fourth order for the Fourier coefficients ``v`` (…, mode)."""
    at_start = nonlinear(v)
    halfway = factors.half * v
    a = halfway + factors.stage * at_start
    at_a = nonlinear(a)
    b = halfway + factors.stage * at_a
    at_b = nonlinear(b)
    c = factors.half * a + factors.stage * (2 * at_b - at_start)
    return (
        factors.full * v
        + factors.first * at_start
        + factors.middle * (at_a + at_b)
        + factors.last * nonlinear(c)
    )
