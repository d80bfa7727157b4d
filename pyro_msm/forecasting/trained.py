"""What all families of models that are trained step by step have in common."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import xarray as xr
from pydantic import ValidationError
from torch import Tensor, nn

from pyro_msm.config import Config, TrainingConfig
from pyro_msm.environment import available_device
from pyro_msm.errors import InputError
from pyro_msm.forecasting.contract import Forecaster
from pyro_msm.inference import Processes, Trainer, load_checkpoint, restore_into
from pyro_msm.progress import progress_bar
from pyro_msm.records import MetricsLog


class TrainedForecaster(Forecaster):
    """A forecaster with a model and a guide that a ``Trainer`` fits, in a run or without one.

    Run directories, resumption, devices and persistence are the same for all. A family writes

    * ``of_config``, ``check`` and ``build``: what is trained, and on which data;
    * ``_trainer``: how, and ``_finish``: what is fitted to the trained model, if anything;
    * ``_header`` and its reverse ``_empty``: what rebuilds the model beside its weights;
    * ``_settle``: what it keeps that follows from the weights, if anything;

    and how it forecasts.

    Attributes:
        training: the ``training`` section of the configuration.
        model: the generative program.
        guide: its variational family.
        device: where both live.
    """

    training: TrainingConfig
    model: nn.Module
    guide: nn.Module
    device: torch.device = torch.device("cpu")

    # --- what a family writes --------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def of_config(cls, config: Config) -> Self:
        """The untrained forecaster that a configuration describes."""

    @abstractmethod
    def check(self, data: xr.Dataset) -> None:
        """Checks that a model can be built and trained on ``data``, without doing so.

        Raises:
            InputError: it cannot.
        """

    @abstractmethod
    def build(self, data: xr.Dataset, seed: int = 0) -> None:
        """Makes the model with which the training for ``data`` starts."""

    @abstractmethod
    def _trainer(self, data: xr.Dataset, resume: bool, **how: Any) -> Trainer:
        """Trains the model that is there when it is run.

        Args:
            data: as for ``fit``.
            resume: it will go on from the last checkpoint, whose weights replace those there.
            **how: ``seed``, ``folder``, ``log`` and ``progress`` of the ``Trainer``.
        """

    @abstractmethod
    def _header(self) -> dict[str, Any]:
        """What rebuilds the forecaster beside the weights, in a form that JSON can hold."""

    @classmethod
    @abstractmethod
    def _empty(cls, header: dict[str, Any]) -> Self:
        """The forecaster of a header, whose weights are still to be filled in."""

    def _settle(self) -> None:
        """Renews what follows from the weights: they have been trained or loaded."""

    def _finish(self, trainer: Trainer, data: xr.Dataset) -> None:
        """Fits what is not a weight, once the weights are trained."""

    # --- training --------------------------------------------------------------------------------

    def fit(
        self,
        data: xr.Dataset,
        *,
        run: Any = None,
        resume: bool = False,
        seed: int = 0,
        device: str = "auto",
        progress: bool = False,
    ) -> Self:
        """Builds the model for ``data`` and trains it.

        Args:
            data: a validated dataset with a ``train`` split; a ``validation`` split chooses the
                weights, or what the family chooses.
            run: the ``RunDirectory`` for checkpoints and metrics; None keeps neither.
            resume: go on from the run's last checkpoint.
            seed: root of the initial weights and of all draws.
            device: "auto", "cpu" or "cuda".
            progress: show a progress bar.

        Raises:
            InputError: the data do not suit the model, or there is nothing to resume.
        """
        began = time.perf_counter()
        self.check(data)
        self.build(data, seed)
        if run is None:
            self.train(data, seed=seed, device=device, progress=progress)
            return self
        step = None
        if resume:
            path = run.checkpoints / "last.safetensors"
            step = load_checkpoint(path, "training")[1]["counters"]["step"]
        with MetricsLog(run.metrics, step, enabled=Processes().leads) as log:
            before = run.training_seconds() or 0.0
            trainer = self.train(
                data, checkpoints=run.checkpoints, resume=resume, seed=seed, device=device,
                log=log.write, progress=progress,
            )  # fmt: skip
            # The steps are not all: what the family finds before them and fits after them counts.
            seconds = before + time.perf_counter() - began
            log.write(step=trainer.state.step, end=True, seconds=round(seconds, 3))
        return self

    def train(
        self,
        data: xr.Dataset,
        *,
        checkpoints: Path | None = None,
        resume: bool = False,
        seed: int = 0,
        device: str = "auto",
        log: Callable[..., None] = lambda **_: None,
        progress: bool = False,
    ) -> Trainer:
        """Trains the model that is there; see ``fit`` for the arguments."""
        self.to(device)
        with progress_bar("training", enabled=progress) as update:
            trainer = self._trainer(
                data, resume, seed=seed, folder=checkpoints, log=log, progress=update
            )
            trainer.header = self._header()
            trainer.run(resume)
        self._settle()
        self._finish(trainer, data)
        return trainer

    # --- state -----------------------------------------------------------------------------------

    def to(self, device: torch.device | str) -> Self:
        """Moves model and guide to a device; "auto" is CUDA where there is one.

        Raises:
            InputError: there is no CUDA device.
        """
        self.device = torch.device(available_device(str(device)))
        self._pair().to(self.device)
        return self

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Weights of model and guide, and what rebuilds them."""
        tensors = self._pair().state_dict()
        return {n: t.detach().cpu().numpy() for n, t in tensors.items()}, self._header()

    @classmethod
    def restore(cls, arrays: dict[str, np.ndarray], settings: dict[str, Any]) -> Self:
        """The reverse of ``state``."""
        forecaster = cls._empty(settings)
        forecaster._pair().load_state_dict({n: torch.tensor(a) for n, a in arrays.items()})
        forecaster._settle()
        return forecaster

    @classmethod
    def from_run(cls, run: Any, device: str = "cpu") -> Self:
        """The trained forecaster of a run directory.

        Raises:
            InputError: no checkpoint, or a truncated or foreign one.
        """
        path: Path = run.checkpoints / "best.safetensors"
        tensors, header = load_checkpoint(path, "model")
        try:
            forecaster = cls._empty(header)
        except ValidationError as error:
            keys = ", ".join(".".join(map(str, each["loc"])) for each in error.errors())
            raise InputError(
                f"{path} holds settings of another version ({keys}): train again"
            ) from error
        except (KeyError, TypeError) as error:
            raise InputError(f"{path} is a foreign checkpoint ({error}): train again") from error
        restore_into(forecaster._pair(), tensors, path)
        forecaster._settle()
        return forecaster.to(device)

    def _pair(self) -> nn.ModuleDict:
        return nn.ModuleDict({"model": self.model, "guide": self.guide})

    def _tensor(self, values: np.ndarray) -> Tensor:
        # A copy: aligned memory gives the same last bit every time.
        return torch.tensor(np.asarray(values, np.float32), device=self.device)
