"""Trains a model and its guide from Python, without a configuration or a run folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from pyro_msm.config import TrainingConfig
from pyro_msm.forecasting.multiscale import MultiscaleForecaster
from pyro_msm.guides import AmortizedPathGuide
from pyro_msm.models import MultiscaleSDE


@dataclass(frozen=True)
class Fit:
    """What ``fit`` returns.

    Attributes:
        forecaster: forecasts with the trained model; ``rollout`` takes it.
        history: the records of the training log.
        seconds: training time.
        validation_error: free-running error of the chosen weights; None without validation data.
    """

    forecaster: MultiscaleForecaster
    history: list[dict[str, Any]]
    seconds: float
    validation_error: float | None


def fit(
    model: MultiscaleSDE,
    guide: AmortizedPathGuide,
    data: xr.Dataset,
    *,
    seed: int = 0,
    device: str = "auto",
    folder: Path | str | None = None,
    resume: bool = False,
    progress: bool = False,
    **settings: Any,
) -> Fit:
    """Trains a model and its guide; the weights left in them are the best ones.

    Args:
        model: from ``MultiscaleSDE.for_data``.
        guide: its guide.
        data: a validated dataset with a ``train`` split; ``validation`` chooses the weights.
        seed: root of all draws of the training.
        device: "auto", "cpu" or "cuda".
        folder: where checkpoints are kept; None keeps none.
        resume: go on from the last checkpoint there.
        progress: show a progress bar.
        **settings: keys of the configuration's ``training`` section, such as ``steps``.
    """
    forecaster = MultiscaleForecaster.of(model, guide, data)
    forecaster.training = TrainingConfig(**settings)
    trainer = forecaster.train(
        data, checkpoints=None if folder is None else Path(folder), resume=resume, seed=seed,
        device=device, progress=progress,
    )  # fmt: skip
    state = trainer.state
    return Fit(forecaster, trainer.history, state.seconds, state.best_error)
