"""A partial differential equation that regression finds: u_t = F(u, u_x, u_xx)."""

from __future__ import annotations

import logging
import math
import time
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Self

import numpy as np
import xarray as xr
from scipy.integrate import solve_ivp

from pyro_msm.data.axes import node_centred, space_axes
from pyro_msm.data.splits import select
from pyro_msm.errors import InputError
from pyro_msm.forecasting.baselines import arrays, tuning
from pyro_msm.forecasting.contract import Forecaster, Randomness

SAMPLES = 8000
DIVERGED = 100.0
TOLERANCE = 1e-5
BESIDE = 2
#: Evaluations of F in one integration, beyond which the equation counts as unstable.
MOST = 20_000

Choice = dict[str, Any]
Model = dict[str, np.ndarray]

logger = logging.getLogger("pyro_msm")


class CoarsePde(Forecaster):
    """Regression of u_t on (u, u_x, u_xx) of all channels, integrated by the method of lines.

    What is linear in them is found by least squares; the rest is what a subclass regresses. So an
    equation extrapolates as its linear part does, and its diffusion keeps small scales down.

    Derivatives in space are central differences of second order, with mirror images beyond walls
    (no flux); in time they are of fourth order. A subclass yields regressions fitted to a sample of
    points; the one kept forecasts the validation split best. LSODA integrates (relative tolerance
    1e-5), and a forecast ends where it cannot go on.

    Source: S. Lee, M. Kooshkbaghi, K. Spiliotis, C. Siettos and I. Kevrekidis, Coarse-scale PDEs
    from fine-scale observations via machine learning, Chaos 30 (2020). Their variants with
    diffusion-map features F1 to F3 are not specified well enough to be built.

    Args:
        warmup: number of snapshots it is given; it reads the last.
        seed: of the sample and whatever else is random.
        budget_seconds: of the fit. A candidate's validation forecasts get half of what is left, and
            those that are not done by then count as diverged; None: no bound.
    """

    name: ClassVar[str]

    def __init__(self, warmup: int = 1, seed: int = 0, budget_seconds: float | None = None) -> None:
        self.warmup, self.seed, self.budget_seconds = warmup, seed, budget_seconds
        self.choice: Choice = {}
        self.validation_error = float("nan")
        self._model: Model = {}
        self._grid: dict[str, Any] = {}

    @abstractmethod
    def _candidates(self, inputs: np.ndarray, rates: np.ndarray) -> Iterator[tuple[Choice, Model]]:
        """Settings and regressions of ``rates`` (sample, channel), of which the linear part is
        taken off, on ``inputs`` (sample, feature), both scaled to unit size."""

    @staticmethod
    @abstractmethod
    def _regression(model: Model, inputs: np.ndarray) -> np.ndarray:
        """Scaled nonlinear rates (sample, channel) of scaled inputs (sample, feature)."""

    def fit(self, data: xr.Dataset) -> Self:
        """Fits every candidate to the training split and keeps the best one on validation.

        Raises:
            InputError: not one-dimensional fields between walls or periodic, or too few snapshots.
        """
        end = math.inf if self.budget_seconds is None else time.perf_counter() + self.budget_seconds
        record = self._prepared(data)
        inputs, rates = self._samples(record.learned, record.step)
        frames = tuning.judged(record.held_out.shape[1], self.warmup)
        leads = record.step * (frames - (self.warmup - 1))
        start, truth = record.held_out[:, self.warmup - 1], record.held_out[:, frames]
        common, best, self.choice = dict(self._model), (np.inf, np.inf), {}
        for choice, model in self._candidates(inputs, rates):
            now = time.perf_counter()
            if self.choice and now > end:
                break
            forecast = self._integrated(common | model, start, leads, until=(now + end) / 2)
            finite = np.isfinite(forecast).all(axis=(2, 3))
            error = float(1 - finite.mean()), np.inf
            if finite.any():
                kept = np.where(finite[..., None, None], forecast, truth)
                relative = arrays.relative_error(kept, truth, None)
                error = error[0], relative / max(finite.mean(), 1e-12)
            if error < best or not self.choice:
                best, self.choice, self._model = error, choice, common | model
        self.validation_error = best[1] if best[0] == 0 else np.inf
        logger.debug("%s chose %s: %.4g", self.name, self.choice, self.validation_error)
        return self

    def _prepared(self, data: xr.Dataset) -> tuning.Record:
        """What is learned from; notes the grid, its ends and the mean."""
        axes = space_axes(data)
        if axes != ["x"] or data.attrs["boundary"][0] == "open":
            raise InputError(
                f"{self.name} finds an equation of fields on one axis, periodic or between walls: "
                "it does not apply"
            )
        record = tuning.gathered(data, self.name, self.warmup)
        if record.learned.shape[1] < 5 or record.learned.shape[3] <= 2 * BESIDE:
            raise InputError(
                f"{self.name} needs 5 snapshots of a trajectory and {2 * BESIDE + 1} points: the "
                f"data have {record.learned.shape[1]} and {record.learned.shape[3]}"
            )
        x = data["x"].values
        ends = "wrap" if data.attrs["boundary"][0] == "periodic" else "symmetric"
        if ends == "symmetric" and node_centred(data)[0]:
            ends = "reflect"
        self._grid = {"spacing": float(x[1] - x[0]), "ends": ends}
        mean = arrays.observed_mean(*arrays.observed(select(data, "train")), axis=(0, 1))
        spread = arrays.spread(record.learned, mean, 2)
        self._model = {"mean": mean, "bound": DIVERGED * spread + np.finfo(float).tiny}
        return record

    def _samples(self, learned: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
        """Scaled inputs and nonlinear rates at random points; the rest goes into the model."""
        rng = np.random.default_rng(self.seed)
        rows, frames, _, points = learned.shape
        # What holds at the walls themselves is no matter of the equation.
        beside = 0 if self._grid["ends"] == "wrap" else BESIDE
        shape = rows, frames - 4, points - 2 * beside
        places = rng.choice(np.prod(shape), min(SAMPLES, np.prod(shape)), replace=False)
        row, frame, point = np.unravel_index(places, shape)
        point = point + beside
        slopes = (
            (learned[row, frame + 2 + shift, :, point].astype(float), weight)
            for shift, weight in ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12))
        )
        rates = sum(weight * values for values, weight in slopes) / step
        snapshots, where = np.unique(row * frames + frame + 2, return_inverse=True)
        inputs = self._inputs(learned.reshape(-1, *learned.shape[2:])[snapshots].astype(float))
        chosen = inputs[where, point]
        self._model["inputs"] = _size(chosen)
        chosen = chosen / self._model["inputs"]
        with_one = np.concatenate([chosen, np.ones((len(chosen), 1))], axis=1)
        self._model["linear"] = np.linalg.lstsq(with_one, rates)[0]
        rates = rates - with_one @ self._model["linear"]
        self._model["rates"] = _size(rates)
        return chosen, rates / self._model["rates"]

    def _inputs(self, fields: np.ndarray) -> np.ndarray:
        """(snapshot, x, feature) of fields (snapshot, channel, x): u, u_x, u_xx of each channel."""
        spacing = self._grid["spacing"]
        beyond = np.pad(fields, [(0, 0), (0, 0), (1, 1)], mode=self._grid["ends"])
        left, right = beyond[..., :-2], beyond[..., 2:]
        parts = (fields, (right - left) / (2 * spacing), (right - 2 * fields + left) / spacing**2)
        return np.moveaxis(np.concatenate(parts, axis=1), 1, 2)

    def _integrated(
        self, model: Model, start: np.ndarray, leads: np.ndarray, until: float = math.inf
    ) -> np.ndarray:
        """Fields (trajectory, time, channel, x) ``leads`` (time) after ``start``.

        What is not done when the clock says ``until`` is NaN.
        """
        forecast = np.full((len(start), len(leads), *start.shape[1:]), np.nan)
        for found, fields in zip(forecast, start, strict=True):
            path = self._path(model, fields.astype(float), leads, until)
            found[: len(path)] = path
        bound = model["bound"][:, None]
        lost = (np.abs(forecast - model["mean"]) > bound).any(axis=(2, 3))
        forecast[np.logical_or.accumulate(lost, axis=1)] = np.nan
        return forecast

    def _path(self, model: Model, start: np.ndarray, leads: np.ndarray, until: float) -> np.ndarray:
        """As far as LSODA gets, (time, channel, x); channels of a point lie side by side."""
        channels, points = start.shape
        spent = 0

        def rate(_: float, state: np.ndarray) -> np.ndarray:
            nonlocal spent
            spent += 1
            if spent > MOST or time.perf_counter() > until:
                raise _Unstable
            inputs = self._inputs(state.reshape(points, channels).T[None])[0] / model["inputs"]
            linear = inputs @ model["linear"][:-1] + model["linear"][-1]
            return (linear + model["rates"] * self._regression(model, inputs)).ravel()

        band = 2 * channels - 1
        how = {} if self._grid["ends"] == "wrap" else {"lband": band, "uband": band}
        size = np.sqrt(np.square(start).mean()) + np.finfo(float).tiny
        how |= {"rtol": TOLERANCE, "atol": TOLERANCE * size}
        span, times = (0.0, float(leads[-1]) + 1e-9), np.asarray(leads, dtype=float)
        try:
            with np.errstate(all="ignore"):
                solved = solve_ivp(rate, span, start.T.ravel(), "LSODA", times, **how)
        except (_Unstable, ValueError):
            return np.empty((0, channels, points))
        return solved.y.T.reshape(-1, points, channels).swapaxes(1, 2)

    def forecast_blocks(
        self, initial: xr.Dataset, times: np.ndarray, members: int = 1, generator: Randomness = None
    ) -> Iterator[xr.Dataset]:
        """One block with one member."""
        if not self.choice:
            raise InputError(f"{self.name} is not fitted: call fit(data) first")
        values, mask = arrays.last_snapshots(initial, self.warmup, self.name)
        start = arrays.filled(values, mask, self._model["mean"])[:, -1]
        leads = times - float(initial["time"].values[-1])
        forecast = self._integrated(self._model, start, leads).astype(np.float32)
        yield arrays.as_forecast(forecast, initial, times)

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The regression; the grid, and what was chosen."""
        if not self.choice:
            raise InputError(f"{self.name} is not fitted: call fit(data) first")
        return self._model, {
            "warmup": self.warmup,
            "seed": self.seed,
            "choice": self.choice,
            "validation_error": self.validation_error,
            "grid": self._grid,
        }

    @classmethod
    def restore(cls, arrays: dict[str, np.ndarray], settings: dict[str, Any]) -> Self:
        """From what ``state`` returned."""
        fitted = cls(warmup=settings["warmup"], seed=settings["seed"])
        fitted.choice, fitted._grid = settings["choice"], settings["grid"]
        fitted.validation_error, fitted._model = settings["validation_error"], arrays
        return fitted


def _size(values: np.ndarray) -> np.ndarray:
    """Root mean square of each column."""
    return np.sqrt(np.square(values).mean(0)) + np.finfo(float).tiny


class _Unstable(Exception):
    """The equation takes more evaluations than it is worth."""
