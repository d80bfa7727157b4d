"""A linear map from the initial condition to the whole trajectory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import xarray as xr

from pyro_msm.data.splits import select
from pyro_msm.errors import InputError
from pyro_msm.forecasting.baselines import arrays
from pyro_msm.forecasting.contract import Forecaster, Randomness

MAX_RANK = 20
RIDGES = (0.0, 1e-4, 1e-3, 1e-2, 1e-1)
TUNING_TIMES = 101

_Observed = tuple[np.ndarray, np.ndarray | None]


class _Coordinates(NamedTuple):
    """POD of the initial snapshots: ``mean`` (point), ``modes`` (rank, point), training ``scores``
    (trajectory, rank) and the singular ``values`` (rank)."""

    mean: np.ndarray
    modes: np.ndarray
    scores: np.ndarray
    values: np.ndarray

    def weights(self, rank: int, ridge: float) -> np.ndarray:
        """Ridge regression on the first ``rank`` coordinates as a matrix (rank, trajectory) that
        acts on the training anomalies; ``ridge`` is relative to the largest squared singular
        value."""
        return (self.scores[:, :rank] * self.shrinkage(rank, ridge)).T

    def shrinkage(self, rank: int, ridge: float) -> np.ndarray:
        """The inverse (rank) of the regression: the columns of ``scores`` are orthogonal."""
        squares = self.values[:rank] ** 2
        return 1 / (squares + ridge * squares.max(initial=0))


class InitialRegression(Forecaster):
    """Ridge regression from a few POD coordinates of the initial snapshots to all later ones.

    y(t) = ȳ(t) + Σ_j a_j b_j(t), where a = Vᵀ(y₀ - ȳ₀) are the leading POD coordinates of the first
    ``warmup`` snapshots and b_j(t) is fitted by ridge regression over the training trajectories.
    The rank (from 0, the mean trajectory, to the number of training trajectories less one, at most
    20) and the ridge are those with the least relative error on the validation split (without one,
    on every third training trajectory, held out for that). It knows nothing of dynamics, but
    wherever initial conditions vary in a few ways only, it is hard to beat.

    Linear between the training times, held constant outside their range. Unobserved values are
    replaced by the training mean at that time and point, which makes their anomalies zero.
    """

    name: ClassVar[str] = "regression"

    def __init__(self, warmup: int = 1) -> None:
        self.warmup = warmup
        self.rank = 0
        self.ridge = 0.0
        self._arrays: dict[str, np.ndarray] = {}

    def fit(self, data: xr.Dataset) -> Self:
        """Fits on the training split; chooses rank and ridge on the validation split.

        Raises:
            InputError: particles, a record that is split in time, or fewer snapshots than
                ``warmup``.
        """
        arrays.check_comparable(data, self.name)
        if data["split"].dims == ("time",):
            raise InputError(
                "regression from initial conditions needs several trajectories: this dataset is "
                "split on time; leave the baseline out"
            )
        train = select(data, "train")
        times = train["time"].values
        if len(times) < self.warmup:
            raise InputError(f"regression from {self.warmup} snapshots: the data have {len(times)}")
        values, mask = arrays.observed(train)
        learned, held_out = _tuning_parts(data, values, mask)
        self.rank, self.ridge = _tuned(learned, held_out, self.warmup)
        mean = arrays.observed_mean(values, mask, axis=0)
        coordinates = _coordinates(*_centred(values, mask, mean, slice(0, self.warmup)))
        weights = coordinates.weights(self.rank, self.ridge).astype(np.float32)
        # Of values less their mean, without a copy of them: that may not fit into memory.
        filled = arrays.filled(values, mask, mean)
        basis = np.tensordot(weights, filled, axes=1)
        basis -= weights.sum(1).reshape(-1, *[1] * mean.ndim) * mean
        self._arrays = {
            "times": times,
            "mean": mean,
            "basis": np.ascontiguousarray(np.moveaxis(basis, 0, 1)),
            "initial_mean": coordinates.mean,
            "modes": coordinates.modes[: self.rank],
        }
        return self

    def forecast_blocks(
        self, initial: xr.Dataset, times: np.ndarray, members: int = 1, generator: Randomness = None
    ) -> Iterator[xr.Dataset]:
        """One block with one member.

        Raises:
            InputError: the initial snapshots do not stand at the first ``warmup`` training times,
                the only ones that it has learned from.
        """
        known = self._arrays["times"]
        given = initial["time"].values[-self.warmup :]
        values, mask = arrays.last_snapshots(initial, self.warmup, self.name)
        expected = known[: self.warmup]
        if not np.allclose(given, expected, rtol=0, atol=1e-3 * np.ptp(known) / len(known) + 1e-12):
            raise InputError(
                f"regression was fitted to start at t={expected[-1]:g} and was asked to start at "
                f"t={given[-1]:g}: fit it with the warmup that ends there"
            )
        start = self._arrays["mean"][: self.warmup]
        flat = arrays.filled(values, mask, start).reshape(len(values), -1)
        scores = (flat - self._arrays["initial_mean"]) @ self._arrays["modes"].T
        mean = arrays.at_times(known, self._arrays["mean"], times)
        basis = arrays.at_times(known, self._arrays["basis"], times)
        yield arrays.as_forecast(_combined(mean, basis, scores), initial, times)

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Mean, basis and modes; what was chosen."""
        return self._arrays, {"warmup": self.warmup, "rank": self.rank, "ridge": self.ridge}

    @classmethod
    def restore(cls, arrays: dict[str, np.ndarray], settings: dict[str, Any]) -> Self:
        """From what ``state`` returned."""
        fitted = cls(warmup=settings["warmup"])
        fitted.rank, fitted.ridge = settings["rank"], settings["ridge"]
        fitted._arrays = arrays
        return fitted


def _coordinates(anomalies: np.ndarray, mean: np.ndarray) -> _Coordinates:
    flat = anomalies.reshape(len(anomalies), -1).astype(np.float64)
    left, values, modes = np.linalg.svd(flat, full_matrices=False)
    # Centring takes one degree of freedom, and identical initial conditions leave none.
    rank = min(len(flat) - 1, MAX_RANK, int((values > 1e-6 * max(values[0], 1e-30)).sum()))
    return _Coordinates(
        mean=mean.reshape(-1),
        modes=modes[:rank].astype(np.float32),
        scores=left[:, :rank] * values[:rank],
        values=values[:rank],
    )


def _centred(
    values: np.ndarray, mask: np.ndarray | None, mean: np.ndarray, frames: Any
) -> tuple[np.ndarray, np.ndarray]:
    """At ``frames``: what differs from the mean, zero where nothing was observed; and the mean."""
    seen = None if mask is None else mask[:, frames]
    return arrays.filled(values[:, frames], seen, mean[frames]) - mean[frames], mean[frames]


def _tuning_parts(
    data: xr.Dataset, values: np.ndarray, mask: np.ndarray | None
) -> tuple[_Observed, _Observed]:
    """What rank and ridge are tried on, and what judges them."""
    if (data["split"] == "validation").any():
        return (values, mask), arrays.observed(select(data, "validation"))
    if len(values) < 3:
        return (values, mask), (values, mask)
    held_out = np.arange(len(values)) % 3 == 2
    return (
        (values[~held_out], None if mask is None else mask[~held_out]),
        (values[held_out], None if mask is None else mask[held_out]),
    )


def _tuned(learned: _Observed, held_out: _Observed, warmup: int) -> tuple[int, float]:
    """Rank and ridge with the least relative error at about a hundred times after the start."""
    whole = arrays.observed_mean(*learned, axis=0)
    coordinates = _coordinates(*_centred(*learned, whole, slice(0, warmup)))
    values, mask = held_out
    early = None if mask is None else mask[:, :warmup]
    start = arrays.filled(values[:, :warmup], early, whole[:warmup])
    scores = (start.reshape(len(start), -1) - coordinates.mean) @ coordinates.modes.T

    count = values.shape[1]
    chosen = np.unique(np.linspace(min(warmup, count - 1), count - 1, TUNING_TIMES).astype(int))
    (anomalies, mean), truth = _centred(*learned, whole, chosen), values[:, chosen]
    features = np.tensordot(coordinates.scores.T.astype(np.float32), anomalies, axes=1)
    products = _Products.of(features, mean, truth, None if mask is None else mask[:, chosen])
    best = (products.error(scores[:, :0]), 0, 0.0)
    for rank, ridge in itertools.product(range(1, len(coordinates.values) + 1), RIDGES):
        weights = scores[:, :rank] * coordinates.shrinkage(rank, ridge)
        best = min(best, (products.error(weights), rank, ridge))
    return best[1], best[2]


class _Products(NamedTuple):
    """Inner products over the observed points, from which all errors follow: of features with each
    other ``squares`` (time, trajectory, rank, rank) and with what differs from the mean ``cross``
    (time, trajectory, rank); of that with itself ``size``, of the truth ``norm`` (time,
    trajectory)."""

    squares: np.ndarray
    cross: np.ndarray
    size: np.ndarray
    norm: np.ndarray

    @classmethod
    def of(
        cls, features: np.ndarray, mean: np.ndarray, truth: np.ndarray, seen: np.ndarray | None
    ) -> Self:
        """Those of features (rank, time, …), mean (time, …) and truth (trajectory, time, …)."""
        found = []
        for time in range(len(mean)):
            part = features[:, time].reshape(len(features), mean[time].size).astype(np.float64)
            whole = truth[:, time].reshape(len(truth), -1).astype(np.float64)
            weight = np.ones((1, 1)) if seen is None else seen[:, time].reshape(whole.shape)
            rest = (whole - mean[time].reshape(-1)) * weight
            squares = np.stack([(part * each) @ part.T for each in weight])
            norm = np.square(whole * weight).sum(1)
            found.append((squares, rest @ part.T, np.square(rest).sum(1), norm))
        return cls(*(np.stack(parts) for parts in zip(*found, strict=True)))

    def error(self, weights: np.ndarray) -> float:
        """Mean relative error of the mean plus ``weights`` (trajectory, rank) times features."""
        rank = weights.shape[1]
        explained = 2 * (weights * self.cross[..., :rank]).sum(-1)
        within = np.matmul(self.squares[..., :rank, :rank], weights[..., None])[..., 0]
        missed = self.size - explained + (weights * within).sum(-1)
        relative = np.maximum(missed, 0) / np.maximum(self.norm, np.finfo(float).tiny)
        return float(np.sqrt(relative).mean())


def _combined(mean: np.ndarray, basis: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(trajectory, time, …) from ``mean`` (time, …), ``basis`` (time, rank, …), scores."""
    count, shape = len(scores), mean.shape
    flat = basis.reshape(*basis.shape[:2], mean[0].size)
    varying = np.matmul(scores.astype(np.float32), flat).reshape(shape[0], count, *shape[1:])
    return np.moveaxis(varying, 1, 0) + mean
