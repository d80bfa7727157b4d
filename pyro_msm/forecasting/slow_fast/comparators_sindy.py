"""Comparator: sparse polynomials for drift and diffusion."""

from __future__ import annotations

import itertools
import warnings
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from pyro_msm.data.increments import Increments
from pyro_msm.errors import InputError
from pyro_msm.forecasting.baselines.extra import required
from pyro_msm.forecasting.slow_fast.comparators import (
    CELLS,
    Comparator,
    Sums,
    at_least,
    log_likelihood,
)

DRIFT_DEGREES = (1, 2, 3, 4, 5, 6)
DIFFUSION_DEGREES = (0, 1, 2, 3, 4)
THRESHOLDS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)
RIDGE = 1e-8


class _Polynomial(NamedTuple):
    """Σ_k weights_k Π_j (x_j / unit_j)^powers_kj."""

    powers: np.ndarray
    weights: np.ndarray
    unit: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        scaled = np.asarray(x, float) / self.unit
        return (scaled[:, None, :] ** self.powers).prod(-1) @ self.weights


class Sindy(Comparator):
    """Sequentially thresholded least squares (pysindy 2) of ΔX/Δ, then of squared residuals.

    Brunton, Proctor and Kutz, PNAS 113, 2016; for stochastic dynamics Boninsegna, Nüske and
    Clementi, J. Chem. Phys. 148, 2018. Degree and threshold are chosen on the held-out increments,
    those of the diffusion after those of the drift. Places are scaled to standard deviation one.

    Raises:
        InputError: pysindy is not installed.
    """

    name: ClassVar[str] = "sindy"

    def fit(self, increments: Increments, held_out: Increments) -> Self:
        """See ``Comparator``."""
        pysindy = required("pysindy", self.name)
        sums, unseen = Sums.of(increments, CELLS), Sums.of(held_out, CELLS)
        self._scale = sums.total.diffusion[0]
        spread = sums.place.std(0)
        unit = np.where(spread > 0, spread, 1.0)
        count, d = sums.place.shape
        constant = np.broadcast_to(self._scale, (len(unseen.place), d, d))
        self._drift = max(
            _candidates(pysindy, sums.place, unit, sums.displacement, sums.duration, DRIFT_DEGREES),
            key=lambda made: _likelihood(unseen, made(unseen.place), constant),
        )
        drift = self._drift(unseen.place)
        residual = sums.misfit(self._drift(sums.place)).reshape(count, d * d)
        self._diffusion = max(
            _candidates(pysindy, sums.place, unit, residual, sums.count, DIFFUSION_DEGREES),
            key=lambda made: _likelihood(unseen, drift, self._positive(made, unseen.place)),
        )
        return self

    @property
    def components(self) -> int:
        """See ``Comparator``."""
        return len(self._scale)

    def drift(self, x: np.ndarray) -> np.ndarray:
        """See ``Comparator``."""
        return self._drift(x)

    def diffusion(self, x: np.ndarray) -> np.ndarray:
        """See ``Comparator``."""
        return self._positive(self._diffusion, x)

    def _positive(self, polynomial: _Polynomial, x: np.ndarray) -> np.ndarray:
        return at_least(polynomial(x).reshape(len(x), *self._scale.shape), self._scale)


def _candidates(
    pysindy: Any,
    place: np.ndarray,
    unit: np.ndarray,
    total: np.ndarray,
    weight: np.ndarray,
    degrees: tuple[int, ...],
) -> list[_Polynomial]:
    """Fits of total/weight, each row weighing ``weight``, for every degree and threshold."""
    found = []
    for degree, threshold in itertools.product(degrees, THRESHOLDS):
        library = pysindy.PolynomialLibrary(degree=degree)
        library.fit(np.zeros((2, place.shape[1])))
        made = _Polynomial(np.asarray(library.powers_), np.eye(len(library.powers_)), unit)
        terms = made(place) * np.sqrt(weight)[:, None]
        targets = total / np.sqrt(weight)[:, None]
        scale = np.sqrt(np.square(targets).sum() / weight.sum())
        weights = _sparse(pysindy, terms, targets / scale, threshold)
        if weights is not None:
            found.append(made._replace(weights=scale * weights))
    if not found:
        raise InputError("sindy finds no polynomial for this path: is it constant, or very short?")
    return found


def _sparse(
    pysindy: Any, terms: np.ndarray, targets: np.ndarray, threshold: float
) -> np.ndarray | None:
    """Coefficients (term, target); None where thresholding leaves nothing or fails."""
    triangle = np.asarray(np.linalg.qr(np.concatenate([terms, targets], 1), mode="r"))
    count = terms.shape[1]
    optimiser = pysindy.STLSQ(threshold=threshold, alpha=RIDGE, unbias=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            optimiser.fit(triangle[:, :count], triangle[:, count:])
        except (np.linalg.LinAlgError, ValueError, UnboundLocalError):
            return None
    weights = np.array(optimiser.coef_, float).T
    return weights if np.isfinite(weights).all() else None


def _likelihood(sums: Sums, drift: np.ndarray, diffusion: np.ndarray) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        found = log_likelihood(sums, drift, diffusion)
    return found if np.isfinite(found) else -np.inf
