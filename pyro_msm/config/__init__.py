"""The configuration of a run: its sections, and how they are filled."""

from __future__ import annotations

from pyro_msm.config.led import HybridConfig, LEDConfig
from pyro_msm.config.resolve import DEFAULT_PRESET, Config, describe, read_toml, resolve
from pyro_msm.config.sections import (
    MODELS,
    TRAINED_FAMILIES,
    DataConfig,
    ModelConfig,
    RolloutConfig,
    TrainingConfig,
)
from pyro_msm.config.slow_fast import SlowFastConfig

__all__ = [
    "DEFAULT_PRESET",
    "MODELS",
    "TRAINED_FAMILIES",
    "Config",
    "DataConfig",
    "HybridConfig",
    "LEDConfig",
    "ModelConfig",
    "RolloutConfig",
    "SlowFastConfig",
    "TrainingConfig",
    "describe",
    "read_toml",
    "resolve",
]
