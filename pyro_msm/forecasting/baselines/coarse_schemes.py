"""Schemes that do well on coarse grids, for equations given by their terms.

Each makes a state of an observation (``lift``), advances it (``step``) and gives the observation
back (``observe``), as a ``System`` does. The terms are those of ``System.terms`` for one channel,

    u_t = -c u_x - a u u_x + ν u_xx - δ u_xxx - κ u_xxxx  (each summed over the axes),

named ``advection`` c, ``self_advection`` a, ``diffusion`` ν, ``dispersion`` δ and
``hyperviscosity`` κ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from scipy.linalg import expm

from pyro_msm.data.systems.base import Generators
from pyro_msm.forecasting.baselines import resampling

RIM = 2
COURANT = 0.4
DIFFUSION_LIMIT = 0.2

Terms = Mapping[str, float]
Grid = Mapping[str, np.ndarray]


class Scheme(Protocol):
    """What coarse DNS needs of a system, or of a scheme."""

    def lift(self, observation: np.ndarray) -> np.ndarray:
        """A state that has this observation (trajectory, channel, x[, y])."""

    def observe(self, state: np.ndarray) -> np.ndarray:
        """The observation of a state."""

    def step(
        self, state: np.ndarray, t: float, duration: float, generator: Generators | None = None
    ) -> np.ndarray:
        """The states a time ``duration`` after t."""


class Galerkin:
    """Pseudo-spectral: every wave of the coarse grid, products free of aliasing (3/2 rule).

    Derivatives are those of the trigonometric interpolant; an axis that is not periodic goes on as
    its mirror image (cosine modes). On periodic axes this is the Galerkin truncation of the
    equation. Linear terms are solved exactly by an integrating factor, the others by the classical
    Runge–Kutta scheme (J. Lawson, SIAM J. Numer. Anal. 4, 1967).

    Args:
        terms: the equation.
        grid: coarse coordinates of each axis.
        domain: length of each axis.
        periodic: whether each axis is.
    """

    covers = frozenset({"advection", "self_advection", "diffusion", "dispersion", "hyperviscosity"})

    def __init__(
        self, terms: Terms, grid: Grid, domain: Sequence[float], periodic: Sequence[bool]
    ) -> None:
        self._steepening = terms.get("self_advection", 0.0)
        self._widths = [
            length / len(points) for points, length in zip(grid.values(), domain, strict=True)
        ]
        self._linear, self._finer, self._keep, self._slope = [], [], [], []
        for here, length, closed in zip(grid.values(), domain, periodic, strict=True):
            more = math.ceil(1.5 * len(here))
            there = here[0] + (np.arange(more) + 0.5 * (not closed)) * length / more
            rest = length, closed
            self._linear.append(resampling.fourier(here, here, *rest, lambda k: _linear(terms, k)))
            self._finer.append(resampling.fourier(there, here, *rest))
            self._keep.append(resampling.fourier(here, there, *rest))
            self._slope.append(resampling.fourier(here, there, *rest, lambda k: 1j * k))
        self._factors: dict[float, list[np.ndarray]] = {}

    def lift(self, observation: np.ndarray) -> np.ndarray:
        """The field itself."""
        return np.asarray(observation, dtype=np.float64)

    def observe(self, state: np.ndarray) -> np.ndarray:
        """The field itself."""
        return state

    def step(
        self, state: np.ndarray, t: float, duration: float, generator: Generators | None = None
    ) -> np.ndarray:
        """The fields a time ``duration`` later, each with the steps that it needs."""
        return np.stack([self._advanced(field, duration) for field in state])

    def _advanced(self, u: np.ndarray, duration: float) -> np.ndarray:
        speed = sum(_fastest(self._steepening * u) / width for width in self._widths)
        count = max(1, math.ceil(duration * speed / COURANT - 1e-9))
        length = duration / count
        half = self._factor(0.5 * length)
        for _ in range(count):
            first = self._rate(u)
            halfway = resampling.apply(half, u)
            second = self._rate(resampling.apply(half, u + 0.5 * length * first))
            third = self._rate(halfway + 0.5 * length * second)
            last = self._rate(resampling.apply(half, halfway + length * third))
            carried = halfway + length / 6 * (resampling.apply(half, first) + 2 * (second + third))
            u = resampling.apply(half, carried) + length / 6 * last
        return u

    def _rate(self, u: np.ndarray) -> np.ndarray:
        """What the product adds to du/dt: -a/2 Σ ∂(u²)."""
        square = np.square(resampling.apply(self._finer, u))
        rate = np.zeros_like(u)
        for axis, slope in enumerate(self._slope):
            matrices = [*self._keep[:axis], slope, *self._keep[axis + 1 :]]
            rate -= 0.5 * self._steepening * resampling.apply(matrices, square)
        return rate

    def _factor(self, duration: float) -> list[np.ndarray]:
        """exp(L ``duration``) of the linear terms, one matrix an axis."""
        key = float(f"{duration:.12g}")
        if key not in self._factors:
            self._factors[key] = [expm(key * linear) for linear in self._linear]
        return self._factors[key]


class Limited:
    """Finite volumes on cell averages: flux-conservative, and free of new extrema at shocks.

    MUSCL slopes with the monotonised central limiter, local Lax–Friedrichs fluxes, central
    diffusion, Heun's method in its strong-stability-preserving form at Courant numbers up to 0.4
    (R. LeVeque, Finite Volume Methods for Hyperbolic Problems, 2002, chapters 6, 12 and 19). Beyond
    an edge that is not periodic the field keeps the values that it had there at the start.

    Args:
        terms: the equation.
        grid: coarse coordinates of each axis, the middles of cells.
        domain: length of each axis.
        periodic: whether each axis is.
    """

    covers = frozenset({"advection", "self_advection", "diffusion"})

    def __init__(
        self, terms: Terms, grid: Grid, domain: Sequence[float], periodic: Sequence[bool]
    ) -> None:
        self._speed = terms.get("advection", 0.0)
        self._steepening = terms.get("self_advection", 0.0)
        self._viscosity = terms.get("diffusion", 0.0)
        self._widths = [
            length / len(points) for points, length in zip(grid.values(), domain, strict=True)
        ]
        self._periodic = list(periodic)
        self._axes = range(-len(self._widths), 0)
        self._inside: tuple[Any, ...] = (..., *[slice(RIM, -RIM)] * len(self._widths))

    def lift(self, observation: np.ndarray) -> np.ndarray:
        """The field in a rim of two cells, which stays as it is where an axis is not periodic."""
        field = np.asarray(observation, dtype=np.float64)
        around = [(0, 0)] * (field.ndim - len(self._axes)) + [(RIM, RIM)] * len(self._axes)
        return self._wrapped(np.pad(field, around, mode="edge"))

    def observe(self, state: np.ndarray) -> np.ndarray:
        """The field without its rim."""
        return state[self._inside]

    def step(
        self, state: np.ndarray, t: float, duration: float, generator: Generators | None = None
    ) -> np.ndarray:
        """The states a time ``duration`` later, each with the steps that it needs."""
        return np.stack([self._advanced(field, duration) for field in state])

    def _advanced(self, u: np.ndarray, duration: float) -> np.ndarray:
        count = max(1, math.ceil(duration * self._least(u) - 1e-9))
        length = duration / count
        for _ in range(count):
            once = self._wrapped(u + length * self._rate(u))
            u = self._wrapped(0.5 * (u + once + length * self._rate(once)))
        return u

    def _least(self, u: np.ndarray) -> float:
        """The least number of steps in a unit of time; extrema do not grow, so it holds on."""
        fastest = _fastest(self._speed + self._steepening * u)
        carried = sum(fastest / width for width in self._widths)
        spread = sum(self._viscosity / width**2 for width in self._widths)
        return max(carried / COURANT, spread / DIFFUSION_LIMIT)

    def _rate(self, u: np.ndarray) -> np.ndarray:
        """du/dt, zero in the rim."""
        rate = np.zeros_like(u)
        for axis, width in zip(self._axes, self._widths, strict=True):
            along = list(self._inside)
            along[axis] = slice(None)
            flux = self._fluxes(np.moveaxis(u[tuple(along)], axis, -1), width)
            rate[self._inside] -= np.moveaxis(np.diff(flux), -1, axis) / width
        return rate

    def _fluxes(self, u: np.ndarray, width: float) -> np.ndarray:
        """Through the faces between the cells of u (…, cells + 4), (…, cells + 1)."""
        steps = np.diff(u)
        before, after = steps[..., :-1], steps[..., 1:]
        least = np.minimum(np.abs(before), np.abs(after))
        size = np.minimum(2 * least, 0.5 * np.abs(before + after))
        half = 0.5 * np.where(before * after > 0, np.copysign(size, before), 0.0)
        left, right = (u[..., 1:-1] + half)[..., :-1], (u[..., 1:-1] - half)[..., 1:]
        speeds = [np.abs(self._speed + self._steepening * side) for side in (left, right)]
        carried = self._speed * (left + right) + 0.5 * self._steepening * (left**2 + right**2)
        diffused = self._viscosity / width * steps[..., 1:-1]
        return 0.5 * (carried - np.maximum(*speeds) * (right - left)) - diffused

    def _wrapped(self, u: np.ndarray) -> np.ndarray:
        """The state, the rim of its periodic axes filled again."""
        for axis, closed in zip(self._axes, self._periodic, strict=True):
            if closed:
                moved = np.moveaxis(u, axis, -1)
                moved[..., :RIM] = moved[..., -2 * RIM : -RIM]
                moved[..., -RIM:] = moved[..., RIM : 2 * RIM]
        return u


#: By the names that ``CoarseDns.choice`` gives them.
SCHEMES: dict[str, type[Galerkin] | type[Limited]] = {"galerkin": Galerkin, "limited": Limited}


def _linear(terms: Terms, k: np.ndarray) -> np.ndarray:
    """What the linear terms make of exp(ikx)."""
    slope = 1j * k
    return (
        -terms.get("advection", 0.0) * slope
        + terms.get("diffusion", 0.0) * slope**2
        - terms.get("dispersion", 0.0) * slope**3
        - terms.get("hyperviscosity", 0.0) * slope**4
    )


def _fastest(speeds: np.ndarray) -> float:
    """The largest modulus; what is not finite needs no steps any more."""
    return float(np.abs(speeds).max(initial=0.0, where=np.isfinite(speeds)))
