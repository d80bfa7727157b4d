"""Comparators that average increments of nearby places: binning and kernel regression."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from pyro_msm.data.increments import Increments
from pyro_msm.forecasting.slow_fast.comparators import (
    CELLS,
    Comparator,
    Sums,
    at_least,
    log_likelihood,
)

BINS = (6, 10, 16, 24, 36, 54, 80, 120, 180)
FEWEST = 10
BANDWIDTHS = tuple(np.geomspace(0.02, 1.0, 12))


class KramersMoyal(Comparator):
    """The first two Kramers–Moyal coefficients, constant in each bin (Friedrich et al., 2011).

    Bins are boxes that hold places near one another (``cells_of``); a place belongs to the bin
    whose mean place is nearest. Their number is chosen on the held-out increments, for drift and
    diffusion apart; a bin of fewer than ten increments is not allowed.
    """

    name: ClassVar[str] = "kramers-moyal"

    def fit(self, increments: Increments, held_out: Increments) -> Self:
        """See ``Comparator``."""
        unseen = Sums.of(held_out, CELLS)
        fitted = [Sums.of(increments, bins) for bins in BINS]
        allowed = [sums for sums in fitted if sums.count.min() >= FEWEST] or fitted[:1]
        self._scale = allowed[0].total.diffusion[0]
        self._drift = self._diffusion = allowed[0]
        for name in ("_drift", "_diffusion"):
            best, found = -np.inf, allowed[0]
            for sums in allowed:
                setattr(self, name, sums)
                likelihood = log_likelihood(
                    unseen, self.drift(unseen.place), self.diffusion(unseen.place)
                )
                if likelihood > best:
                    best, found = likelihood, sums
            setattr(self, name, found)
        return self

    @property
    def components(self) -> int:
        """See ``Comparator``."""
        return self._drift.place.shape[1]

    def drift(self, x: np.ndarray) -> np.ndarray:
        """See ``Comparator``."""
        sums = self._drift
        return (sums.displacement / sums.duration[:, None])[_nearest(sums.place, x)]

    def diffusion(self, x: np.ndarray) -> np.ndarray:
        """See ``Comparator``."""
        sums = self._diffusion
        return at_least(sums.diffusion, self._scale)[_nearest(sums.place, x)]


class KernelRegression(Comparator):
    """Nadaraya–Watson estimates with a Gaussian kernel (Lamouroux and Lehnertz, 2009).

    The bandwidths of drift and of diffusion, in standard deviations of the places, are chosen on
    the held-out increments. Far from all data the nearest place decides.
    """

    name: ClassVar[str] = "kernel-regression"

    def fit(self, increments: Increments, held_out: Increments) -> Self:
        """See ``Comparator``."""
        self._sums = Sums.of(increments, CELLS)
        self._scale = self._sums.total.diffusion[0]
        unseen = Sums.of(held_out, CELLS)
        spread = self._sums.place.std(0)
        self._unit = np.where(spread > 0, spread, 1.0)
        distances = self._distances(unseen.place)
        drifts = {width: self._drift_by(_weights(distances, width)) for width in BANDWIDTHS}
        constant = np.broadcast_to(self._scale, (len(unseen.place), *self._scale.shape))
        self.drift_width = max(
            BANDWIDTHS, key=lambda width: log_likelihood(unseen, drifts[width], constant)
        )
        drift = drifts[self.drift_width]
        self._residual = self._sums.misfit(self.drift(self._sums.place))
        self.diffusion_width = max(
            BANDWIDTHS,
            key=lambda width: log_likelihood(
                unseen, drift, self._diffusion_by(_weights(distances, width))
            ),
        )
        return self

    @property
    def components(self) -> int:
        """See ``Comparator``."""
        return self._sums.place.shape[1]

    def drift(self, x: np.ndarray) -> np.ndarray:
        """See ``Comparator``."""
        return self._drift_by(_weights(self._distances(x), self.drift_width))

    def diffusion(self, x: np.ndarray) -> np.ndarray:
        """See ``Comparator``."""
        return self._diffusion_by(_weights(self._distances(x), self.diffusion_width))

    def _distances(self, x: np.ndarray) -> np.ndarray:
        return cdist(
            np.asarray(x, float) / self._unit, self._sums.place / self._unit, "sqeuclidean"
        )

    def _drift_by(self, weights: np.ndarray) -> np.ndarray:
        return weights @ self._sums.displacement / (weights @ self._sums.duration)[:, None]

    def _diffusion_by(self, weights: np.ndarray) -> np.ndarray:
        square = np.tensordot(weights, self._residual, 1)
        return at_least(square / (weights @ self._sums.count)[:, None, None], self._scale)


def _nearest(places: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.asarray(KDTree(places).query(np.asarray(x, float))[1])


def _weights(distances: np.ndarray, width: float) -> np.ndarray:
    """Gaussian kernel of squared distances (n, rows), largest 1 in each row of the result."""
    return np.exp((distances.min(1, keepdims=True) - distances) / (2 * width**2))
