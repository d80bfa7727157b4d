"""Sparse polynomial dynamics of POD coordinates."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from scipy.signal import savgol_filter

from pyro_msm.forecasting.baselines import arrays
from pyro_msm.forecasting.baselines.extra import required
from pyro_msm.forecasting.baselines.pod_forecaster import Choice, Model, PodForecaster

RANKS = (1, 2, 3, 4, 6, 8, 12, 16, 24)
DEGREES = (1, 2, 3)
THRESHOLDS = (0.0, 0.03, 0.1)
WINDOWS = (5, 25, 101)
RIDGE = 1e-6
MAX_TERMS = 160
MAX_SAMPLES = 2000
RESOLVED = 0.25
SHORTEST = 1 / 16


class PodSindy(PodForecaster):
    """da/dt = Θ(a) Ξ, a sparse polynomial in the leading POD coordinates (pysindy 2, STLSQ).

    Coordinates and their derivatives come from a Savitzky–Golay filter (cubic); they are scaled to
    unit standard deviation, and time such that derivatives have that size too, so that one
    threshold suits all coefficients. The filter's window, the rank, the degree and the threshold
    are chosen on the validation split. Integrated by the classical Runge–Kutta scheme, with steps
    of at most a quarter of the fastest linear time scale and a hundredth of the record.
    """

    name: ClassVar[str] = "pod-sindy"

    def _candidates(
        self, coordinates: np.ndarray, only: Choice | None
    ) -> Iterator[tuple[Choice, Model]]:
        pysindy = required("pysindy", self.name)
        frames = coordinates.shape[1]
        windows = [window for window in WINDOWS if window <= max(5, frames // 4)]
        ranks = sorted({min(rank, coordinates.shape[-1]) for rank in RANKS})
        for window, rank in itertools.product(windows, ranks):
            if only and (only["window"], only["rank"]) != (window, rank):
                continue
            scale = coordinates[..., :rank].std((0, 1)) + np.finfo(float).tiny
            states, rates = _smoothed(coordinates[..., :rank] / scale, window)
            pace = float(np.sqrt(np.square(rates).mean())) or 1.0
            for degree in [only["degree"]] if only else DEGREES:
                library = pysindy.PolynomialLibrary(degree=degree)
                library.fit(states[0])
                if library.n_output_features_ > MAX_TERMS:
                    continue
                for threshold in [only["threshold"]] if only else THRESHOLDS:
                    weights = _sparse(pysindy, library, states, rates / pace, threshold)
                    if weights is None:
                        continue
                    choice = {"rank": rank, "degree": degree, "threshold": threshold}
                    yield (
                        choice | {"window": window},
                        {
                            "powers": np.asarray(library.powers_, dtype=np.int64),
                            "weights": weights * pace,
                            "scale": scale,
                            "frames": np.array([frames]),
                        },
                    )

    @staticmethod
    def _advance(
        choice: Choice, model: Model, history: np.ndarray, leads: np.ndarray
    ) -> np.ndarray:
        scale, powers, weights = model["scale"], model["powers"], model["weights"]
        factors = _factors(powers)

        def rate(state: np.ndarray) -> np.ndarray:
            one = np.concatenate([state, np.ones_like(state[:, :1])], axis=1)
            return one[:, factors].prod(-1) @ weights

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


def _smoothed(states: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    """States and derivatives per frame, (trajectory, time, rank), of a cubic fitted locally."""
    window = min(window, states.shape[1] - (1 - states.shape[1] % 2))
    order = min(3, window - 1)
    fitted = savgol_filter(states, window, order, axis=1)
    return fitted, savgol_filter(states, window, order, deriv=1, axis=1)


def _sparse(
    pysindy: Any, library: Any, states: np.ndarray, rates: np.ndarray, threshold: float
) -> np.ndarray | None:
    """Coefficients (term, rank) by sequentially thresholded least squares."""
    every = max(1, states.shape[0] * states.shape[1] // MAX_SAMPLES)
    samples, targets = (list(part[:, ::every]) for part in (states, rates))
    method = pysindy.SINDy(
        optimizer=pysindy.STLSQ(threshold=threshold, alpha=RIDGE, unbias=False),
        feature_library=library,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            method.fit(samples, t=1.0, x_dot=targets)
        except (np.linalg.LinAlgError, ValueError, AttributeError, UnboundLocalError):
            return None
    weights = np.array(method.coefficients(), dtype=float).T
    return weights if np.isfinite(weights).all() else None


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
