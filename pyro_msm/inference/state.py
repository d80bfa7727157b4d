"""Everything that training changes: what a checkpoint must hold for an exact resumption."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from pyro_msm.config import TrainingConfig

#: Parameters on a logarithmic scale (variances, dispersion, length scale, nugget) start with this.
LOGARITHMIC = "log_"


class TrainingState:
    """Weights, their running average, the optimiser, and counters.

    Args:
        module: holds all parameters that are trained.
        settings: learning rate, averaging, clipping.
    """

    def __init__(self, module: nn.Module, settings: TrainingConfig) -> None:
        self.module, self.settings = module, settings
        named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
        scales = [p for n, p in named if n.rpartition(".")[2].startswith(LOGARITHMIC)]
        others = [p for n, p in named if not n.rpartition(".")[2].startswith(LOGARITHMIC)]
        weights = [p for p in others if p.dim() > 1]
        offsets = [p for p in others if p.dim() < 2]
        self.names = [n for n, p in named]
        self.parameters: list[Tensor] = [p for n, p in named]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": weights, "factor": 1.0, "weight_decay": settings.weight_decay},
                {"params": scales, "factor": settings.scale_rate, "weight_decay": 0.0},
                {"params": offsets, "factor": 1.0, "weight_decay": 0.0},
            ],
            lr=settings.learning_rate,
            fused=True,
        )
        self.average = [p.detach().clone() for p in self.parameters]
        self.step = 0
        self.seconds = 0.0
        self.slowdown = 1.0
        self.recoveries = 0
        self.best_error: float | None = None
        self.best_step = 0

    def update(self, loss: Tensor, seen: Tensor | None = None) -> bool:
        """One optimiser step; False, with nothing changed, where loss or gradient is not finite.

        Args:
            loss: whose gradient is followed.
            seen: by which it is judged, where several processes must come to one verdict.
        """
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.settings.clip)
        seen = loss.detach() if seen is None else seen
        if not bool(torch.isfinite(seen + norm)):
            return False
        rate = self.learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        self.optimizer.step()
        self.step += 1
        # The average starts short, so that the first steps are soon forgotten.
        decay = min(self.settings.ema, (1 + self.age) / (10 + self.age))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.parameters, 1 - decay)
        return True

    @property
    def age(self) -> int:
        """Steps since the schedules began."""
        return self.step

    def learning_rate(self) -> float:
        """The step size now: it depends on the step alone, not on how many are planned."""
        s = self.settings
        return s.learning_rate * s.decay ** (self.age / s.decay_steps) * self.slowdown

    def swap(self) -> None:
        """Exchanges the weights and their average."""
        with torch.no_grad():
            for parameter, average in zip(self.parameters, self.average, strict=True):
                kept = parameter.clone()
                parameter.copy_(average)
                average.copy_(kept)

    def counters(self) -> dict[str, Any]:
        """What is not a tensor."""
        return {
            name: getattr(self, name)
            for name in ("step", "seconds", "slowdown", "recoveries", "best_error", "best_step")
        }

    def tensors(self) -> dict[str, Tensor]:
        """Weights, averages and the optimiser's moments, by name."""
        tensors = {f"weights/{n}": t for n, t in self.module.state_dict().items()}
        for name, parameter, average in zip(self.names, self.parameters, self.average, strict=True):
            tensors[f"average/{name}"] = average
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer/{key}/{name}"] = value
        return tensors

    def load(self, tensors: dict[str, Tensor], counters: dict[str, Any]) -> None:
        """The reverse of ``tensors`` and ``counters``; KeyError where something is missing."""
        weights = {
            n.removeprefix("weights/"): t for n, t in tensors.items() if n.startswith("weights/")
        }
        self.module.load_state_dict(weights)
        self.optimizer.state.clear()
        for name, parameter, average in zip(self.names, self.parameters, self.average, strict=True):
            average.copy_(tensors[f"average/{name}"])
            moments = {
                key: tensors[f"optimizer/{key}/{name}"]
                for key in ("step", "exp_avg", "exp_avg_sq")
                if f"optimizer/{key}/{name}" in tensors
            }
            if moments:
                self.optimizer.state[parameter] = {
                    key: value.to(parameter.device, copy=True) for key, value in moments.items()
                }
        for name in self.counters():
            setattr(self, name, counters[name])

    def copy(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """A snapshot that later steps do not change."""
        return {n: t.detach().clone() for n, t in self.tensors().items()}, copy.copy(
            self.counters()
        )
