"""Sparse polynomial dynamics of POD coordinates."""

from __future__ import annotations

import itertools
import math
import random
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from scipy.signal import savgol_filter

from pyro_msm.forecasting.baselines import arrays
from pyro_msm.forecasting.baselines.extra import required
from pyro_msm.forecasting.baselines.pod_forecaster import Choice, Model, PodForecaster

RANKS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 48, 96)
DEGREES = (1, 2, 3)
THRESHOLDS = (0.0, 0.03, 0.1)
WINDOWS = (5, 25, 101)
RIDGE = 1e-6
MAX_TERMS = 160
MAX_SAMPLES = 2000
RESOLVED = 0.25
SHORTEST = 1 / 16

_Candidates = Iterator[tuple[Choice, Model]]


class PodSindy(PodForecaster):
    """da/dt = Θ(a) Ξ, a sparse polynomial in the leading POD coordinates (pysindy 2, STLSQ).

    Coordinates and their derivatives come from a Savitzky–Golay filter (cubic); they are scaled to
    unit standard deviation, and time such that derivatives have that size too, so that one
    threshold suits all coefficients. The filter's window, the rank, the degree and the threshold
    are chosen on the validation split. Integrated by the classical Runge–Kutta scheme, with steps
    of at most a quarter of the fastest linear time scale and a hundredth of the record.

    Args:
        warmup: number of snapshots that a forecast starts from.
        budget_seconds: of the search, which then tries the settings in a random order, the same
            every time; None: all are tried.
    """

    name: ClassVar[str] = "pod-sindy"

    def __init__(self, warmup: int = 1, budget_seconds: float | None = None) -> None:
        super().__init__(warmup)
        self.budget_seconds = budget_seconds

    def _candidates(
        self, coordinates: np.ndarray, only: Choice | None
    ) -> Iterator[tuple[Choice, Model]]:
        pysindy = required("pysindy", self.name)
        frames = coordinates.shape[1]
        windows = [window for window in WINDOWS if window <= max(5, frames // 4)]
        ranks = sorted({min(rank, coordinates.shape[-1]) for rank in RANKS})
        samples: dict[int, _Samples] = {}

        def fitted(window: int, rank: int, degree: int, thresholds: Sequence[float]) -> _Candidates:
            if window not in samples:
                samples[window] = _Samples.of(coordinates[..., : ranks[-1]], window)
            powers = _powers(pysindy, rank, degree)
            if powers is None:
                return
            choice = {"window": window, "rank": rank, "degree": degree}
            regression = samples[window].regression(powers)
            for threshold in thresholds:
                weights = _sparse(pysindy, *regression, threshold)
                if weights is not None:
                    model = {"powers": powers, "scale": samples[window].scale[:rank]}
                    model |= {"weights": weights, "frames": np.array([frames])}
                    yield choice | {"threshold": threshold}, model

        if only:
            yield from fitted(only["window"], only["rank"], only["degree"], [only["threshold"]])
            return
        places = list(itertools.product(windows, ranks, DEGREES))
        end = math.inf
        if self.budget_seconds is not None:
            end = time.perf_counter() + self.budget_seconds
            random.Random(0).shuffle(places)
        for place in places:
            yield from fitted(*place, THRESHOLDS)
            if time.perf_counter() > end:
                return

    @staticmethod
    def _advance(
        choice: Choice, model: Model, history: np.ndarray, leads: np.ndarray
    ) -> np.ndarray:
        scale, powers, weights = model["scale"], model["powers"], model["weights"]
        factors = _factors(powers)

        def rate(state: np.ndarray) -> np.ndarray:
            return _terms(state, factors) @ weights

        linear = np.stack([weights[_position(powers, axis)] for axis in range(len(scale))])
        fastest = max(float(np.abs(np.linalg.eigvals(linear)).max()), 1e-12)
        step = float(np.clip(RESOLVED / fastest, SHORTEST, max(1.0, model["frames"][0] / 100)))
        state = history[:, -1, : len(scale)] / scale
        path = [state]
        with np.errstate(all="ignore"):
            for _ in range(int(np.ceil(leads.max(initial=0) / step)) + 1):
                state = _runge_kutta(rate, state, step)
                path.append(state)
        return arrays.between(np.stack(path, axis=1) * scale, leads / step, model["bound"][0])


class _Samples(NamedTuple):
    """Coordinates ``states`` and their ``rates`` a frame, both (sample, rank) in units of ``scale``
    (rank); of all trajectories, at most ``MAX_SAMPLES`` spread evenly."""

    states: np.ndarray
    rates: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, coordinates: np.ndarray, window: int) -> Self:
        """Those of a cubic fitted to ``window`` frames around each."""
        scale = coordinates.std((0, 1)) + np.finfo(float).tiny
        window = min(window, coordinates.shape[1] - (1 - coordinates.shape[1] % 2))
        every = max(1, coordinates.shape[0] * coordinates.shape[1] // MAX_SAMPLES)
        states, rates = (
            savgol_filter(coordinates / scale, window, min(3, window - 1), deriv=order, axis=1)
            for order in (0, 1)
        )
        flat = -1, len(scale)
        return cls(states[:, ::every].reshape(flat), rates[:, ::every].reshape(flat), scale)

    def regression(self, powers: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Terms and targets of the first coordinates, and the pace that the targets are divided by.

        Regression depends on their inner products alone: the triangular factor has the same ones,
        in fewer rows.
        """
        rank = powers.shape[1]
        rates = self.rates[:, :rank]
        pace = float(np.sqrt(np.square(rates).mean())) or 1.0
        terms = _terms(self.states[:, :rank], _factors(powers))
        triangle = np.asarray(np.linalg.qr(np.concatenate([terms, rates / pace], 1), mode="r"))
        return triangle[:, : len(powers)], triangle[:, len(powers) :], pace


def _powers(pysindy: Any, rank: int, degree: int) -> np.ndarray | None:
    """Exponents (term, rank) of pysindy's library of polynomials; None where they are too many."""
    if math.comb(rank + degree, degree) > MAX_TERMS:
        return None
    library = pysindy.PolynomialLibrary(degree=degree)
    library.fit(np.zeros((2, rank)))
    return np.asarray(library.powers_, dtype=np.int64)


def _sparse(
    pysindy: Any, terms: np.ndarray, targets: np.ndarray, pace: float, threshold: float
) -> np.ndarray | None:
    """Coefficients (term, rank) by sequentially thresholded least squares."""
    optimiser = pysindy.STLSQ(threshold=threshold, alpha=RIDGE, unbias=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            optimiser.fit(terms, targets)
        except (np.linalg.LinAlgError, ValueError, UnboundLocalError):
            return None
    weights = pace * np.array(optimiser.coef_, dtype=float).T
    return weights if np.isfinite(weights).all() else None


def _terms(states: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """The polynomials (state, term) of states (state, rank)."""
    one = np.concatenate([states, np.ones_like(states[:, :1])], axis=1)
    return np.asarray(one[:, factors].prod(-1))


def _factors(powers: np.ndarray) -> np.ndarray:
    """The coordinates (term, degree) whose product is each term; the last index stands for one."""
    degree, count = max(1, int(powers.sum(1).max())), powers.shape[1]
    lists = [np.repeat(np.arange(count), row) for row in powers]
    return np.stack([np.append(row, np.full(degree - len(row), count)) for row in lists])


def _position(powers: np.ndarray, axis: int) -> int:
    """Where the library has the coordinate ``axis`` itself."""
    alone = (powers.sum(1) == 1) & (powers[:, axis] == 1)
    return int(np.flatnonzero(alone)[0])


def _runge_kutta(rate: Any, state: np.ndarray, step: float) -> np.ndarray:
    first = rate(state)
    second = rate(state + step / 2 * first)
    third = rate(state + step / 2 * second)
    last = rate(state + step * third)
    return state + step / 6 * (first + 2 * second + 2 * third + last)
