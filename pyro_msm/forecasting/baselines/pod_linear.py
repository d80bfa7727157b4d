"""Linear dynamics of POD coordinates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from pyro_msm.forecasting.baselines import arrays
from pyro_msm.forecasting.baselines.pod_forecaster import (
    RANKS,
    Choice,
    Model,
    PodForecaster,
    delays,
    embedded,
    strides,
)

RIDGES = (1e-10, 1e-6, 1e-4, 1e-2)
MAX_COLUMNS = 512


class PodLinear(PodForecaster):
    """a(t+s) = a(t) + W [a(t), a(t-s), …, 1]: ridge regression, rolled out.

    The rank, the stride s (in frames), the number of delays, and the ridge (relative to the mean
    square of the coordinates) are chosen on the validation split. Between the strides the
    coordinates are interpolated by a cubic spline.
    """

    name: ClassVar[str] = "pod-linear"

    def _candidates(
        self, coordinates: np.ndarray, only: Choice | None
    ) -> Iterator[tuple[Choice, Model]]:
        for stride in strides(coordinates.shape[1]):
            for count in delays(stride, self.warmup):
                if only and (only["stride"], only["delays"]) != (stride, count):
                    continue
                limit = min(coordinates.shape[-1], MAX_COLUMNS // count)
                products = _products(coordinates[..., :limit], count, stride)
                ranks = sorted({min(rank, limit) for rank in RANKS})
                for rank in [only["rank"]] if only else ranks:
                    for ridge in [only["ridge"]] if only else RIDGES:
                        choice = {"rank": rank, "stride": stride, "delays": count, "ridge": ridge}
                        yield choice, {"weights": _regressed(*products, limit, **choice)}

    @staticmethod
    def _advance(
        choice: Choice, model: Model, history: np.ndarray, leads: np.ndarray
    ) -> np.ndarray:
        rank, stride, count = choice["rank"], choice["stride"], choice["delays"]
        steps = int(np.ceil(leads.max(initial=0) / stride)) + 1
        past = [history[:, -1 - back * stride, :rank] for back in range(count)]
        weights, bias = model["weights"][:-1], model["weights"][-1]
        path = [past[0]]
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(steps):
                following = past[0] + np.concatenate(past, axis=-1) @ weights + bias
                past = [following, *past[:-1]]
                path.append(following)
        return arrays.between(np.stack(path, axis=1), leads / stride, model["bound"][0])


def _products(coordinates: np.ndarray, count: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Means of inputs times inputs, and of inputs times increments; the last input is one."""
    inputs = embedded(coordinates, count, stride)[:, :-stride]
    inputs = np.concatenate([inputs, np.ones_like(inputs[..., :1])], axis=-1)
    inputs = inputs.reshape(-1, inputs.shape[-1])
    first = (count - 1) * stride
    increments = coordinates[:, first + stride :] - coordinates[:, first:-stride]
    increments = increments.reshape(-1, coordinates.shape[-1])
    return inputs.T @ inputs / len(inputs), inputs.T @ increments / len(inputs)


def _regressed(
    squares: np.ndarray,
    cross: np.ndarray,
    limit: int,
    rank: int,
    stride: int,
    delays: int,
    ridge: float,
) -> np.ndarray:
    """Weights (delays·rank + 1, rank) of the increment over ``stride`` frames; the constant is not
    penalised."""
    used = np.concatenate([limit * back + np.arange(rank) for back in range(delays)])
    used = np.append(used, len(squares) - 1)
    system = squares[np.ix_(used, used)].copy()
    penalty = ridge * system.diagonal()[:-1].mean() + np.finfo(float).tiny
    system[np.arange(len(used) - 1), np.arange(len(used) - 1)] += penalty
    return np.linalg.lstsq(system, cross[used, :rank], rcond=1e-14)[0]
