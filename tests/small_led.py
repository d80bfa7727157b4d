"""Small learned effective dynamics, for tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from pyro_msm import data as datasets
from pyro_msm.config import LEDConfig, ModelConfig, TrainingConfig
from pyro_msm.forecasting.led import LEDForecaster
from tests.small_fields import travelling_waves

LED: dict[str, Any] = {
    "latent": 4, "basis": 6, "hidden": 8, "layers": 2, "memory": 5, "propagator_hidden": 8,
    "autoencoder_steps": 6, "propagator_steps": 6, "bptt": 5, "horizon": 4, "growth": 4,
    "snapshots": 8,
}  # fmt: skip
TRAINING: dict[str, Any] = {
    "steps": 18, "windows": 3, "validate_every": 6, "checkpoint_every": 3, "log_every": 6,
    "calibrate": False,
}  # fmt: skip


def small_led(training: dict[str, Any] | None = None, **led: Any) -> LEDForecaster:
    """An untrained forecaster with a warm-up of three snapshots."""
    return LEDForecaster(
        LEDConfig(**(LED | led)),
        ModelConfig(snapshots=3),
        TrainingConfig(**(TRAINING | (training or {}))),
    )


def waves(**settings: Any) -> xr.Dataset:
    """Travelling waves on 16 points."""
    return travelling_waves(grid=(16,), **settings)


def swarm(count: int = 30, particles: int = 40, components: int = 2) -> xr.Dataset:
    """Particles around a centre that swings in the box [−½, ½], forced by its swing."""
    rng = np.random.default_rng(0)
    times = 0.5 * np.arange(count)
    phase = np.array([0.0, 1.0, 2.0, 3.0])
    centre = 0.25 * np.sin(times + phase[:, None])
    cloud = centre[..., None, None] + 0.1 * rng.standard_normal((4, count, particles, components))
    dims = ("trajectory", "time", "particle", "component")
    return datasets.validate(
        xr.Dataset(
            {
                "particles": (dims, np.clip(cloud, -0.5, 0.5).astype(np.float32)),
                "forcing": (
                    ("trajectory", "time", "component"),
                    np.cos(times + phase[:, None])[..., None].repeat(components, -1),
                ),
            },
            coords={
                "time": times,
                "split": ("trajectory", ["train", "train", "validation", "test"]),
            },
            attrs={"domain": [1.0] * components, "boundary": ["wall"] * components},
        )
    )
