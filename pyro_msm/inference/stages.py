"""Training in stages: one loop, one step counter, and a loss that changes at certain steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pyro_msm.config import TrainingConfig
from pyro_msm.inference.state import TrainingState
from pyro_msm.inference.trainer import Trainer

#: Steps over which the step size of a stage grows to what it begins with.
WARMING = 100


@dataclass(frozen=True)
class Stage:
    """One stage of a training.

    Attributes:
        name: for the progress bar and the log.
        start: its first step.
        loss: the loss of a minibatch, from the steps since ``start`` and a generator.
        enter: called before its first step in this process, also of a resumed training; what it
            changes in the model must follow from the weights.
        validate: error of the current weights; None keeps the last average.
        afresh: whether the search for the best weights begins anew, since ``validate`` is another
            one than before.
        rate: factor on the step size.
        untrained: whether the weights it begins with are a candidate of the validation.
        carried: tensors that go from one minibatch to the next, beside weights and generators.
    """

    name: str
    start: int
    loss: Callable[[int, torch.Generator], Tensor]
    enter: Callable[[], None] = lambda: None
    validate: Callable[[], float] | None = None
    afresh: bool = False
    rate: float = 1.0
    untrained: bool = False
    carried: dict[str, Tensor] = field(default_factory=dict)


class StagedState(TrainingState):
    """A training state whose schedules begin anew with every stage.

    The step size grows over the first ``WARMING`` steps of a stage and decays from then on.
    """

    stages: Sequence[Stage] = ()

    @property
    def stage(self) -> Stage:
        """The stage of the next step."""
        begun = [stage for stage in self.stages if stage.start <= self.step]
        return max(begun, key=lambda stage: stage.start)

    @property
    def age(self) -> int:
        """Steps since the stage began."""
        return self.step - self.stage.start

    def learning_rate(self) -> float:
        """The step size now, which depends on the step alone."""
        return super().learning_rate() * self.stage.rate * min(1.0, (self.age + 1) / WARMING)


class Losses(nn.Module):
    """Holds a model and its guide, and evaluates whatever loss it is given."""

    def __init__(self, model: nn.Module, guide: nn.Module) -> None:
        super().__init__()
        self.model, self.guide = model, guide

    def forward(self, loss: Callable[[], Tensor]) -> Tensor:
        """The loss."""
        return loss()


class StagedTrainer(Trainer):
    """A ``Trainer`` of several stages, each starting from the best weights of the one before.

    Checkpoints, resumption to the last bit, interruption, recovery, averaging and logs are those of
    ``Trainer``; step size and averaging begin anew with each stage. Weights with which one can
    forecast are kept from the last stages on that share their ``validate``.

    Args:
        model: holds the parameters, as does ``guide``.
        guide: the encoder.
        stages: in the order of their starts, the first at 0.
        settings: the ``training`` section.
        others: further fields of ``Trainer``.
    """

    def __init__(
        self,
        model: nn.Module,
        guide: nn.Module,
        stages: Sequence[Stage],
        settings: TrainingConfig,
        **others: Any,
    ) -> None:
        self.stages = list(stages)
        self._entered: Stage | None = None
        super().__init__(model, guide, None, settings, **others)  # type: ignore[arg-type]

    def __post_init__(self) -> None:
        self.loss: Any = Losses(self.model, self.guide)
        self.staged = self.state = StagedState(self.loss, self.settings)
        self.staged.stages = self.stages
        self.draws = torch.Generator().manual_seed(self.seed)
        self.device = next(self.loss.parameters()).device
        self.history = []
        self._best = []
        self._interval = []
        self._error = float("nan")
        self.validate = self.stages[0].validate

    def batch(self) -> Any:
        """The loss of the next minibatch, not evaluated yet."""
        stage = self.staged.stage
        self.validate = stage.validate
        if stage is not self._entered:
            if self.state.step == stage.start and stage.start > 0:
                self._begin(stage)
            stage.enter()
            self._entered = stage
            if self.state.step == stage.start and stage.untrained:
                self._validate()
            # A recovery does not go back behind what was just done.
            self._good = (self.state.copy(), self._generators())
        return lambda: stage.loss(self.state.age, self.draws)

    def _resume(self) -> None:
        super()._resume()
        # Of the last step made: where none is left to make, its stage is not entered any more.
        made = [stage for stage in self.stages if stage.start < max(1, self.state.step)]
        self.validate = max(made, key=lambda stage: stage.start).validate

    def _begin(self, stage: Stage) -> None:
        state = self.state
        state.optimizer.state.clear()
        with torch.no_grad():
            for number, parameter in enumerate(state.parameters):
                chosen = self._best[number] if self._best else state.average[number]
                parameter.copy_(chosen)
                state.average[number].copy_(chosen)
        if stage.afresh:
            state.best_error, self._best = None, []
            self._record(step=state.step, stage=stage.name, seconds=round(state.seconds, 3))

    def save_best(self) -> None:
        """Writes the chosen average, once it can forecast."""
        first = [stage.start for stage in self.stages if stage.afresh]
        if self.state.step > max(first, default=0) or self.state.step >= self.settings.steps:
            super().save_best()

    def _fruitless(self) -> bool:
        return self.staged.stage is self.stages[-1] and super()._fruitless()

    def _since(self) -> int:
        return max(super()._since(), self.stages[-1].start)

    def _small(self) -> bool:
        return True

    def _generators(self) -> dict[str, Tensor]:
        carried = {
            f"carried/{stage.name}/{name}": tensor.clone()
            for stage in self.stages
            for name, tensor in stage.carried.items()
        }
        return super()._generators() | carried

    def _set_generators(self, states: Mapping[str, Tensor]) -> None:
        super()._set_generators(dict(states))
        for stage in self.stages:
            for name, tensor in stage.carried.items():
                tensor.copy_(states[f"carried/{stage.name}/{name}"])
