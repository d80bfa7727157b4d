"""Small datasets in the contract, for tests that train or forecast."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr

from pyro_msm import data as datasets
from pyro_msm.config import ModelConfig, TrainingConfig
from pyro_msm.data.windows import Windows
from pyro_msm.forecasting import MultiscaleForecaster
from pyro_msm.guides import AmortizedPathGuide
from pyro_msm.models import MultiscaleSDE

SIZES: dict[str, Any] = {"hidden": 16, "drift_hidden": 8, "rank": 6}


def travelling_waves(
    trajectories: int = 4,
    count: int = 41,
    grid: tuple[int, ...] = (40,),
    channels: int = 1,
    boundary: str = "periodic",
    splits: tuple[str, ...] = ("train", "train", "validation", "test"),
    noise: float = 0.01,
    seed: int = 0,
) -> xr.Dataset:
    """Two waves that travel around [0, 1) (each axis) at unit speed, of random phase and size."""
    rng = np.random.default_rng(seed)
    times = np.linspace(0, 1, count)
    names = ("x", "y")[: len(grid)]
    points = {name: np.arange(n) / n for name, n in zip(names, grid, strict=True)}
    place = sum(np.meshgrid(*points.values(), indexing="ij"))
    phase, size = rng.uniform(size=trajectories), rng.uniform(0.8, 1.2, trajectories)
    turned = 2 * np.pi * (place - times.reshape(-1, *(1 for _ in grid)))
    field = np.stack(
        [
            np.stack([s * np.sin(turned + p + c) + 0.3 * np.cos(4 * turned + c)
                      for c in range(channels)], 1)
            for s, p in zip(size, phase, strict=True)
        ]
    )  # fmt: skip
    noisy = field + noise * rng.normal(size=field.shape)
    dims = ("trajectory", "time", "channel", *names)
    dataset = xr.Dataset(
        {"field": (dims, noisy.astype(np.float32)), "clean": (dims, field.astype(np.float32))},
        coords={
            "time": times,
            "channel": [f"u{c}" for c in range(channels)],
            **points,
            "split": ("trajectory", list(splits)),
        },
        attrs={"boundary": [boundary] * len(grid), "domain": [1.0] * len(grid), "noise_std": noise},
    )
    return datasets.validate(dataset)


def with_drivers(data: xr.Dataset, seed: int = 0) -> xr.Dataset:
    """With two parameters and one forcing component."""
    rng = np.random.default_rng(seed)
    shape = data.sizes["trajectory"], data.sizes["time"]
    data["parameters"] = ("trajectory", "parameter"), rng.normal(size=(shape[0], 2))
    data["forcing"] = ("trajectory", "time", "component"), rng.normal(size=(*shape, 1))
    return datasets.validate(data)


def with_mask(data: xr.Dataset, share: float = 0.3, seed: int = 0) -> xr.Dataset:
    """With NaN in a random share of the field, and the mask that says so."""
    rng = np.random.default_rng(seed)
    observed = rng.uniform(size=data["field"].shape) > share
    data["field"] = data["field"].where(observed)
    data["mask"] = data["field"].dims, observed
    return datasets.validate(data)


def model_and_guide(
    data: xr.Dataset, macro: int = 10, micro: int = 2, seed: int = 0, **settings: Any
) -> tuple[MultiscaleSDE, AmortizedPathGuide]:
    """A tiny model with the data's scales, and its guide."""
    torch.manual_seed(seed)
    model = MultiscaleSDE.for_data(data, macro, micro, **(SIZES | settings))
    return model, AmortizedPathGuide(model)


def training_windows(data: xr.Dataset, snapshots: int = 1, length: int = 6) -> Windows:
    """Short windows of the training split."""
    return Windows(datasets.select(data, "train"), length, stride=3, snapshots=snapshots)


def forecaster(data: xr.Dataset, **settings: Any) -> MultiscaleForecaster:
    """An untrained tiny forecaster."""
    model, guide = model_and_guide(data, **settings)
    return MultiscaleForecaster.of(model, guide, data)


def tiny_configuration(**training: Any) -> tuple[ModelConfig, TrainingConfig]:
    """Sections for a fit of a few steps."""
    usual: dict[str, Any] = {
        "steps": 20, "window_length": 6, "stride": 3, "windows": 4, "ramp_steps": 5,
        "validate_every": 10, "checkpoint_every": 10, "log_every": 5, "validation_members": 2,
        "calibrate": False,
    }  # fmt: skip
    return ModelConfig(macro=10, micro=2, hidden=16, drift_hidden=8, basis=6), TrainingConfig(
        **(usual | training)
    )
