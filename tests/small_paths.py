"""Datasets of paths and of particles, and forecasters that know what they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import xarray as xr

from pyro_msm import data as datasets
from pyro_msm.forecasting import Forecaster, LatentForecaster, root_entropy
from pyro_msm.forecasting.streams import Streams

SPLITS = ("train", "train", "train", "validation", "test", "test", "test")


def random_walks(
    count: int = 13, irregular: bool = True, noise: float = 0.05, seed: int = 0, splits=SPLITS
) -> xr.Dataset:
    """Paths of two Wiener processes from random places, at irregular times."""
    rng = np.random.default_rng(seed)
    steps = rng.uniform(0.5, 1.5, count - 1) if irregular else np.ones(count - 1)
    times = np.concatenate([[0.0], steps.cumsum()])
    shape = len(splits), count - 1, 2
    moves = rng.normal(size=shape) * np.sqrt(steps)[:, None]
    start = 3 * rng.normal(size=(len(splits), 1, 2))
    path = np.concatenate([start, start + moves.cumsum(1)], 1)
    noisy = path + noise * rng.normal(size=path.shape)
    dims = ("trajectory", "time", "component")
    dataset = xr.Dataset(
        {"path": (dims, noisy.astype("f4")), "clean": (dims, path.astype("f4"))},
        {"time": times, "component": ["x", "v"], "split": ("trajectory", list(splits))},
        {"noise_std": noise, "system": "random-walk"},
    )
    return datasets.validate(dataset)


def clouds(
    particles: int = 60, count: int = 6, seed: int = 0, splits=SPLITS, clean: bool = True
) -> xr.Dataset:
    """Particles with three components that spread from 0; their order changes at every time."""
    rng = np.random.default_rng(seed)
    times = np.linspace(1, 2, count)
    dims = ("trajectory", "time", "particle", "component")
    values = rng.normal(size=(len(splits), count, particles, 3)) * times[:, None, None]
    found = {"particles": (dims, values.astype("f4"))}
    if clean:
        found["clean"] = dims, values.astype("f4")
    attrs = {"noise_std": 0.0, "system": "cloud"}
    names = ["x", "y", "z"]
    coords = {"time": times, "component": names, "split": ("trajectory", list(splits))}
    return datasets.validate(xr.Dataset(found, coords, attrs))


class Walk(Forecaster):
    """A Wiener process of each component, from the last snapshot: the law of ``random_walks``.

    With ``size`` 0 it is one deterministic member.
    """

    name = "walk"

    def __init__(self, size: float = 1.0) -> None:
        self.size, self.stochastic = size, size > 0

    def fit(self, data: xr.Dataset) -> Self:
        return self

    def forecast_blocks(
        self, initial: xr.Dataset, times: np.ndarray, members: int = 1, generator: Any = None
    ) -> Iterator[xr.Dataset]:
        members = members if self.stochastic else 1
        values = initial["path"].values[:, -1]
        rng = np.random.default_rng(root_entropy(generator))
        steps = np.diff(times, prepend=float(initial["time"][-1]))
        shape = members, len(values), len(times), values.shape[-1]
        moves = self.size * np.sqrt(steps)[:, None] * rng.normal(size=shape)
        found = {"path": (("member", *initial["path"].dims), values[:, None] + moves.cumsum(2))}
        if self.stochastic:
            found["observation_std"] = "component", np.array([0.05, 0.05])
        names = {name: initial[name].values for name in ("trajectory", "component")}
        yield xr.Dataset(found, {"time": times, **names})

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        return {}, {"size": self.size}

    @classmethod
    def restore(cls, arrays: dict[str, np.ndarray], settings: dict[str, Any]) -> Self:
        return cls(**settings)


class Latent(LatentForecaster):
    """Latents are a Wiener process; they are decoded to the variable of the data it was fitted to.

    Particles are three of the latents' rotations, so that a cloud has its own shape.
    """

    name = "latent"
    stochastic = True

    def fit(self, data: xr.Dataset) -> Self:
        self.variable = datasets.variable(data)
        self.coords = {name: data[name].values for name in data[self.variable].dims[2:]}
        self.shape = data[self.variable].shape[2:]
        return self

    def values_per_snapshot(self) -> int:
        return int(np.prod(self.shape))

    def encode(self, window: xr.Dataset, members: int | range = 1, generator: Any = None) -> Any:
        indices = members if isinstance(members, range) else range(members)
        streams = Streams(root_entropy(generator), indices, range(window.sizes["trajectory"]))
        latent = window[self.variable].values[:, -1].reshape(window.sizes["trajectory"], -1)
        return float(window["time"][-1]), 0, np.repeat(latent[None], len(indices), 0), streams

    def advance(self, state: Any, times: np.ndarray, generator: Any = None) -> Any:
        now, row, latent, streams = state
        path = []
        for time in times:
            noise = streams.normal(row, 1, latent.shape[-1])[0]
            latent = latent + 0.1 * np.sqrt(time - now).astype("f4") * noise
            now, row = float(time), row + 1
            path.append(latent)
        return (now, row, latent, streams), np.stack(path)

    def assimilate(self, state: Any, snapshots: xr.Dataset) -> Any:
        raise NotImplementedError

    def decode(self, latents: np.ndarray) -> xr.Dataset:
        values = np.moveaxis(latents, 0, 2)
        dims = ("member", "trajectory", "time", *self.coords)
        found = {self.variable: (dims, values.reshape(*values.shape[:3], *self.shape))}
        found["observation_std"] = "component", np.linspace(0.1, 0.3, self.shape[-1])
        return xr.Dataset(found, self.coords)

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        arrays = {name: np.arange(len(values)) for name, values in self.coords.items()}
        return arrays, {"variable": self.variable}

    @classmethod
    def restore(cls, arrays: dict[str, np.ndarray], settings: dict[str, Any]) -> Self:
        raise NotImplementedError
