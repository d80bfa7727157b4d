"""What the baselines share that forecast POD coordinates of the field."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Self

import numpy as np
import xarray as xr

from pyro_msm.data.schema import variable
from pyro_msm.errors import InputError
from pyro_msm.forecasting.baselines import arrays, tuning
from pyro_msm.forecasting.baselines.pod import Pod
from pyro_msm.forecasting.contract import Forecaster, Randomness

RANKS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
STRIDES = (1, 2, 5, 10, 20, 50, 100)
DELAYS = (1, 2, 3, 4, 8, 16)
DIVERGED = 100.0

Choice = dict[str, Any]
Model = dict[str, np.ndarray]

logger = logging.getLogger("pyro_msm")


class PodForecaster(Forecaster):
    """Learns the motion of POD coordinates; its settings are chosen by free-running forecasts.

    A subclass yields fitted ``_candidates`` and can ``_advance`` one of them. The one kept has the
    least relative error over the validation split, forecast from its first ``warmup`` snapshots to
    its end without looking at what lies between. Afterwards ``choice`` holds its settings and
    ``validation_error`` that error (in units of each channel's standard deviation).

    A forecast has diverged, and is NaN from there on, where a coordinate is a hundred times larger
    than the training data's standard deviation.

    Args:
        warmup: number of snapshots that a forecast starts from. Delays are tried up to it.
    """

    name: ClassVar[str]
    package: ClassVar[str | None] = None

    def __init__(self, warmup: int = 1) -> None:
        self.warmup = warmup
        self.choice: Choice = {}
        self.validation_error = float("nan")
        self._step = 1.0
        self._pod: Pod | None = None
        self._model: Model = {}

    @abstractmethod
    def _candidates(
        self, coordinates: np.ndarray, only: Choice | None
    ) -> Iterator[tuple[Choice, Model]]:
        """Settings and models fitted to ``coordinates`` (trajectory, time, rank), one for each
        setting to try, or the one of the setting ``only``. The best of those yielded so far stands
        in ``self.choice``: what is yielded later may vary it."""

    @staticmethod
    @abstractmethod
    def _advance(
        choice: Choice, model: Model, history: np.ndarray, leads: np.ndarray
    ) -> np.ndarray:
        """Coordinates (trajectory, time, rank or fewer), ``leads`` (time) frames after the last of
        ``history`` (trajectory, warmup, rank); NaN beyond ``model["bound"]``, which ``fit``
        adds."""

    def fit(self, data: xr.Dataset) -> Self:
        """Fits every candidate to the training split and keeps the best one on validation.

        Raises:
            InputError: too few snapshots, or not at equal steps; a package is not installed.
        """
        record = tuning.gathered(data, self.name, self.warmup)
        self._step = record.step
        pod = Pod.of(record.learned, units=2 if variable(data) == "field" else -1)
        coordinates = pod.coordinates(record.learned)
        judge = tuning.Judge.of(pod, record.held_out, self.warmup)
        spread = np.sqrt(pod.variance.sum() + pod.noise) + np.finfo(float).tiny
        best, bound, self.choice = (np.inf, np.inf), np.array([DIVERGED * spread]), {}
        for choice, model in self._candidates(coordinates, None):
            model["bound"] = bound
            forecast = self._advance(choice, model, judge.history, judge.leads)
            error = judge.error(forecast)
            if error < best or not self.choice:
                best, self.choice, self._model = error, choice, model
        if not self.choice:
            raise InputError(f"{self.name}: no setting could be fitted to these data")
        self._pod, self.validation_error = pod, best[1] if best[0] == 0 else np.inf
        logger.debug("%s chose %s: %.4g", self.name, self.choice, self.validation_error)
        if record.borrowed and record.held_out.shape[1] == record.learned.shape[1]:
            both = np.concatenate([coordinates, pod.coordinates(record.held_out)])
            self._model = next(self._candidates(both, self.choice))[1] | {"bound": bound}
        return self

    def forecast_blocks(
        self, initial: xr.Dataset, times: np.ndarray, members: int = 1, generator: Randomness = None
    ) -> Iterator[xr.Dataset]:
        """One block with one member.

        Raises:
            InputError: fewer snapshots than ``warmup``, or not at the time step of the training.
        """
        values, mask = arrays.last_snapshots(initial, self.warmup, self.name)
        given = initial["time"].values[-self.warmup :]
        if self.warmup > 1 and not np.allclose(np.diff(given), self._step, rtol=1e-3, atol=0):
            raise InputError(
                f"{self.name} starts from {self.warmup} snapshots {self._step:g} apart, and was "
                f"given the times {', '.join(f'{time:g}' for time in given)}"
            )
        if self._pod is None:
            raise InputError(f"{self.name} is not fitted: call fit(data) first")
        history = self._pod.coordinates(values, mask)
        leads = (times - given[-1]) / self._step
        forecast = self._advance(self.choice, self._model, history, leads)
        yield arrays.as_forecast(self._pod.fields(forecast), initial, times)

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The decomposition and the model; what was chosen."""
        if self._pod is None:
            raise InputError(f"{self.name} is not fitted: call fit(data) first")
        pod = self._pod
        arrays = {f"model.{name}": array for name, array in self._model.items()}
        arrays |= {"mean": pod.mean, "scale": pod.scale, "modes": pod.modes}
        arrays["variance"] = pod.variance
        return arrays, {
            "warmup": self.warmup,
            "choice": self.choice,
            "validation_error": self.validation_error,
            "step": self._step,
            "noise": pod.noise,
        }

    @classmethod
    def restore(cls, arrays: dict[str, np.ndarray], settings: dict[str, Any]) -> Self:
        """From what ``state`` returned."""
        fitted = cls(warmup=settings["warmup"])
        fitted.choice, fitted._step = settings["choice"], settings["step"]
        fitted.validation_error = settings["validation_error"]
        parts = {part: arrays[part] for part in ("mean", "scale", "modes", "variance")}
        fitted._pod = Pod(**parts, noise=settings["noise"])
        fitted._model = {
            name.removeprefix("model."): array
            for name, array in arrays.items()
            if name.startswith("model.")
        }
        return fitted


def strides(frames: int, most: int = 8) -> list[int]:
    """Numbers of frames to step over, such that a record of ``frames`` has ``most`` such steps."""
    return [stride for stride in STRIDES if stride == 1 or stride * most < frames]


def delays(stride: int, warmup: int) -> list[int]:
    """Numbers of snapshots ``stride`` frames apart that fit into the last ``warmup`` frames."""
    return [count for count in DELAYS if (count - 1) * stride < warmup]


def embedded(coordinates: np.ndarray, count: int, stride: int) -> np.ndarray:
    """Delay vectors (trajectory, time - (count-1)·stride, count·rank), the newest part first."""
    first = (count - 1) * stride
    frames = coordinates.shape[1]
    parts = [
        coordinates[:, first - back * stride : frames - back * stride] for back in range(count)
    ]
    return np.concatenate(parts, axis=-1)
