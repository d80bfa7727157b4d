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
from pyro_msm.errors import InputError
from pyro_msm.forecasting.baselines import arrays, resampling, tuning
from pyro_msm.forecasting.baselines.coarse_schemes import SCHEMES, Scheme
from pyro_msm.forecasting.contract import Forecaster, Randomness, root_entropy

POINTS = {1: 20, 2: 8}
WAYS = ("fourier", "averages")
REYNOLDS = ("reynolds", "later_reynolds")
VISCOSITIES = (1, 2, 4, 8)

Matrices = list[np.ndarray]


class CoarseDns(Forecaster):
    """The system's own equations on as many points as a model's macroscale has.

    The last snapshot is restricted to the coarse grid, integrated there with steps that are stable
    on it, and the result is interpolated back. What it gets for free is the true equations; what it
    lacks is resolution. Chosen on the validation split (without one, on the training split):
    restriction and interpolation, by Fourier modes (cosines where an axis is not periodic) or by
    cell averages and cubic splines; and the scheme: the system's own ones, where it has a Reynolds
    number also with more viscosity (a constant eddy viscosity), and, where its equation is given by
    terms that they know, those of ``coarse_schemes``, which are made for coarse grids.

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
            InputError: the data are not from a simulated system, which has equations to integrate,
                or no field.
        """
        if not space_axes(data):
            raise InputError("coarse-dns solves for fields on a grid, and this dataset has none")
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
        terms = set(self._system["terms"])
        known = [name for name, kind in SCHEMES.items() if terms and terms <= kind.covers]
        schemes = [{"scheme": "own", "options": options} for options in self._system["variants"]]
        schemes += [{"scheme": name, "options": {}} for name in known]
        return [{"way": way} | scheme for way, scheme in itertools.product(WAYS, schemes)]

    def _scheme(self, choice: dict[str, Any]) -> tuple[Scheme, dict[str, np.ndarray]]:
        """What integrates on the coarse grid; and the grid."""
        options = self._system["options"] | choice["options"]
        points = self.points or POINTS[len(self._grid)]
        system = systems.get(self._system["name"], **options).coarse(points)
        if choice["scheme"] == "own":
            return system, system.grid()
        form = system.grid(), system.domain, self._periodic
        return SCHEMES[choice["scheme"]](self._system["terms"], *form), system.grid()

    @property
    def _periodic(self) -> list[bool]:
        return [kind == "periodic" for kind in self._system["boundary"]]

    def _forecast(
        self, choice: dict[str, Any], initial: xr.Dataset, times: np.ndarray, entropy: int
    ) -> np.ndarray:
        """Values (trajectory, time, channel, x[, y])."""
        scheme, grid = self._scheme(choice)
        down, up = self._transfers(choice["way"], grid)
        values, mask = arrays.last_snapshots(initial, self.warmup, self.name)
        last = arrays.filled(values, mask, self._mean)[:, -1].astype(np.float64)
        state, now = scheme.lift(resampling.apply(down, last)), float(initial["time"].values[-1])
        seeds = np.random.SeedSequence(entropy).spawn(len(state))
        generators = [np.random.default_rng(seed) for seed in seeds]
        forecast = np.empty((len(state), len(times), *last.shape[1:]), dtype=np.float32)
        with np.errstate(all="ignore"):
            for index, time in enumerate(times):
                if time > now and np.isfinite(state).any():
                    state, now = scheme.step(state, now, float(time - now), generators), float(time)
                observation = resampling.apply(up, scheme.observe(state))
                forecast[:, index] = observation
        return forecast

    def _transfers(self, way: str, coarse: dict[str, np.ndarray]) -> tuple[Matrices, Matrices]:
        """Restriction and interpolation, one matrix an axis."""
        down, up = [], []
        for (axis, fine), length, periodic in zip(
            self._grid.items(), self._system["domain"], self._periodic, strict=True
        ):
            few = coarse[axis]
            if way == "fourier":
                down.append(resampling.fourier(few, fine, length, periodic))
                up.append(resampling.fourier(fine, few, length, periodic))
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
    """Name, options, boundary, domain and terms of the system that the data come from, and the
    ``variants`` of its options that are tried.

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
    try:
        terms = system.terms
    except InputError:  # no equation of what is observed alone
        terms = {}
    return {
        "name": name,
        "options": options,
        "boundary": list(data.attrs["boundary"]),
        "domain": [float(length) for length in data.attrs["domain"]],
        "terms": terms,
        "variants": _variants(system),
    }


def _variants(system: systems.System) -> list[dict[str, Any]]:
    """Options to try on the coarse grid: each of its schemes, or less and less of what is divided
    by viscosity."""
    for entry in system.options():
        if entry["name"] == "scheme":
            return [{"scheme": name} for name in entry["choices"]]
    numbers = {name: getattr(system, name) for name in REYNOLDS if hasattr(system, name)}
    thicker = VISCOSITIES if numbers else (1,)
    return [{name: number / more for name, number in numbers.items()} for more in thicker]
