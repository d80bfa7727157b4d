"""Direct numerical simulation on a coarse grid."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any, ClassVar, Self

import numpy as np
import xarray as xr

from pyro_msm.data import systems
from pyro_msm.data.axes import space_axes
from pyro_msm.data.splits import select
from pyro_msm.data.systems import System
from pyro_msm.errors import InputError
from pyro_msm.forecasting.baselines import arrays, resampling, tuning
from pyro_msm.forecasting.contract import Forecaster, Randomness, root_entropy

POINTS = {1: 20, 2: 8}

Matrices = list[np.ndarray]


class CoarseDns(Forecaster):
    """The system's own equations and scheme on as many points as a model's macroscale has.

    The last snapshot is restricted to the coarse grid, the system integrates it with steps that it
    finds stable there, and the result is interpolated back. What it gets for free is the true
    equations; what it lacks is resolution. Chosen on the validation split (without one, on the
    training split): restriction and interpolation by Fourier modes, where all axes are periodic, or
    by cell averages and cubic splines; and the scheme, where the system offers several.

    Args:
        points: coarse grid points, each axis; by default 20 in one dimension and 8 in two.
        warmup: number of snapshots it is given; it reads the last.
    """

    name: ClassVar[str] = "coarse-dns"

    def __init__(self, points: int | None = None, warmup: int = 1) -> None:
        self.points = points
        self.warmup = warmup
        self.choice: dict[str, Any] = {}
        self.validation_error = float("nan")
        self._mean = np.zeros(1, dtype=np.float32)
        self._system: dict[str, Any] = {}
        self._grid: dict[str, np.ndarray] = {}

    def fit(self, data: xr.Dataset) -> Self:
        """Learns nothing but which restriction and scheme do best.

        Raises:
            InputError: the data are not from a simulated system, which has equations to integrate.
        """
        self._system = _described(data)
        self._grid = {axis: data[axis].values.astype(float) for axis in space_axes(data)}
        self._mean = arrays.observed_mean(*arrays.observed(select(data, "train")), axis=(0, 1))
        split = "validation" if (data["split"] == "validation").any() else "train"
        judged = select(data, split)
        frames = tuning.judged(judged.sizes["time"], self.warmup)
        truth, mask = arrays.observed(judged.isel(time=frames))
        start, times = judged.isel(time=slice(0, self.warmup)), judged["time"].values[frames]
        best = (np.inf, np.inf)
        for choice in self._choices():
            forecast = self._forecast(choice, start, times, 0)
            finite = np.isfinite(forecast).all(axis=tuple(range(2, truth.ndim)))
            error = (float(1 - finite.mean()), np.inf)
            if finite.all():
                error = (0.0, arrays.relative_error(forecast, truth, mask))
            if error < best or not self.choice:
                best, self.choice = error, choice
        self.validation_error = best[1]
        return self

    def forecast_blocks(
        self, initial: xr.Dataset, times: np.ndarray, members: int = 1, generator: Randomness = None
    ) -> Iterator[xr.Dataset]:
        """One block with one member."""
        if not self._system:
            raise InputError(f"{self.name} is not fitted: call fit(data) first")
        values = self._forecast(self.choice, initial, times, root_entropy(generator))
        yield arrays.as_forecast(values, initial, times)

    def _choices(self) -> list[dict[str, Any]]:
        periodic = all(kind == "periodic" for kind in self._system["boundary"])
        ways = ("fourier", "averages") if periodic else ("averages",)
        schemes = self._system["schemes"] or [None]
        return [{"way": way, "scheme": scheme} for way, scheme in itertools.product(ways, schemes)]

    def _coarse(self, scheme: str | None) -> System:
        points = self.points or POINTS[len(self._grid)]
        system = systems.get(self._system["name"], **self._system["options"])
        return (system.configured(scheme=scheme) if scheme else system).coarse(points)

    def _forecast(
        self, choice: dict[str, Any], initial: xr.Dataset, times: np.ndarray, entropy: int
    ) -> np.ndarray:
        """Values (trajectory, time, channel, x[, y])."""
        coarse = self._coarse(choice["scheme"])
        down, up = self._transfers(choice["way"], coarse.grid())
        values, mask = arrays.last_snapshots(initial, self.warmup, self.name)
        last = arrays.filled(values, mask, self._mean)[:, -1].astype(np.float64)
        state, now = coarse.lift(resampling.apply(down, last)), float(initial["time"].values[-1])
        seeds = np.random.SeedSequence(entropy).spawn(len(state))
        generators = [np.random.default_rng(seed) for seed in seeds]
        forecast = np.empty((len(state), len(times), *last.shape[1:]), dtype=np.float32)
        with np.errstate(all="ignore"):
            for index, time in enumerate(times):
                if time > now and np.isfinite(state).any():
                    state, now = coarse.step(state, now, float(time - now), generators), float(time)
                observation = resampling.apply(up, coarse.observe(state))
                forecast[:, index] = observation
        return forecast

    def _transfers(self, way: str, coarse: dict[str, np.ndarray]) -> tuple[Matrices, Matrices]:
        """Restriction and interpolation, one matrix an axis."""
        down, up = [], []
        for (axis, fine), length, kind in zip(
            self._grid.items(), self._system["domain"], self._system["boundary"], strict=True
        ):
            few, periodic = coarse[axis], kind == "periodic"
            if way == "fourier":
                down.append(resampling.fourier(few, fine, length))
                up.append(resampling.fourier(fine, few, length))
            else:
                down.append(resampling.averages(few, fine, length, periodic))
                up.append(resampling.cubic(fine, few, length, periodic))
        return down, up

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The grid and the training mean; the system and what was chosen."""
        return {"mean": self._mean, **self._grid}, {
            "points": self.points,
            "warmup": self.warmup,
            "choice": self.choice,
            "validation_error": self.validation_error,
            "system": self._system,
        }

    @classmethod
    def restore(cls, arrays: dict[str, np.ndarray], settings: dict[str, Any]) -> Self:
        """From what ``state`` returned."""
        fitted = cls(settings["points"], settings["warmup"])
        fitted.choice, fitted._system = settings["choice"], settings["system"]
        fitted.validation_error = settings["validation_error"]
        fitted._mean = arrays["mean"]
        fitted._grid = {axis: arrays[axis] for axis in "xy" if axis in arrays}
        return fitted


def _described(data: xr.Dataset) -> dict[str, Any]:
    """Name, options, boundary, domain and schemes of the system that the data come from.

    Raises:
        InputError: they come from none that is known here.
    """
    name = data.attrs.get("system")
    if name not in systems.names() or not space_axes(data):
        raise InputError(
            f"coarse-dns integrates the equations of a simulated system, and these data come from "
            f"{'none' if name is None else repr(name)} (known: {', '.join(systems.names())}): "
            "leave the baseline out"
        )
    options = json.loads(data.attrs.get("options", "{}"))
    system = systems.get(name, **options)
    schemes = [entry["choices"] for entry in system.options() if entry["name"] == "scheme"]
    return {
        "name": name,
        "options": options,
        "boundary": list(data.attrs["boundary"]),
        "domain": [float(length) for length in data.attrs["domain"]],
        "schemes": list(schemes[0]) if schemes else [],
    }
