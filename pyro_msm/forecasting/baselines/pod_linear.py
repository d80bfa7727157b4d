"""Linear dynamics of POD coordinates."""

from __future__ import annotations

import itertools
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
#: With which strides and delays are compared.
USUAL_RIDGES = (1e-10, 1e-2)
MAX_COLUMNS = 512


class PodLinear(PodForecaster):
    """a(t+s) = a(t) + W [a(t), a(t-s), …, 1]: ridge regression, rolled out.

    The rank, the stride s (in frames), the number of delays, and the ridge (relative to the mean
    square of the coordinates) are chosen on the validation split: stride and delays with a small
    and a large ridge, then the ridge. Between the strides the coordinates are interpolated by a
    cubic spline.
    """

    name: ClassVar[str] = "pod-linear"

    def _candidates(
        self, coordinates: np.ndarray, only: Choice | None
    ) -> Iterator[tuple[Choice, Model]]:
        products: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}

        def fitted(choice: Choice) -> tuple[Choice, Model]:
            stride, count = place = choice["stride"], choice["delays"]
            limit = _limit(coordinates, count)
            if place not in products:
                products[place] = _products(coordinates[..., :limit], count, stride)
            return choice, {"weights": _regressed(*products[place], limit, **choice)}

        if only:
            yield fitted(only)
            return
        for stride in strides(coordinates.shape[1]):
            for count in delays(stride, self.warmup):
                place = {"stride": stride, "delays": count}
                for rank, ridge in itertools.product(_ranks(coordinates, count), USUAL_RIDGES):
                    yield fitted(place | {"rank": rank, "ridge": ridge})
        chosen = self.choice
        ranks = _ranks(coordinates, chosen["delays"])
        for rank, ridge in itertools.product(ranks, RIDGES):
            if ridge not in USUAL_RIDGES:
                yield fitted(chosen | {"rank": rank, "ridge": ridge})

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


def _limit(coordinates: np.ndarray, count: int) -> int:
    """The highest rank with so many delays."""
    return min(coordinates.shape[-1], MAX_COLUMNS // count)


def _ranks(coordinates: np.ndarray, count: int) -> list[int]:
    return sorted({min(rank, _limit(coordinates, count)) for rank in RANKS})


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
