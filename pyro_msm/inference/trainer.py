"""Stochastic variational inference: the training loop."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pyro
import torch
from torch import Tensor, nn

from pyro_msm.config import TrainingConfig
from pyro_msm.data.windows import WindowBatch, Windows
from pyro_msm.environment import one_thread
from pyro_msm.errors import InputError, TrainingDiverged
from pyro_msm.inference.checkpoint import load_checkpoint, save_checkpoint
from pyro_msm.inference.distributed import Processes
from pyro_msm.inference.elbo import PathELBO
from pyro_msm.inference.interruption import Interruption
from pyro_msm.inference.state import TrainingState

logger = logging.getLogger("pyro_msm")

MOST_RECOVERIES = 8


@dataclass
class Trainer:
    """Trains a model and its guide on windows of data by the evidence lower bound.

    The loss is the negative bound per observed number,

        −[(n_obs / n_batch) Σ ln p(y|z) − w (T / T_batch) KL(path)] / (n_obs · values),

    with w = ``path_weight``, grown linearly over ``ramp_steps``; the KL at the first time belongs
    to KL(path) for windows that start a trajectory. w = 1 is the bound itself. Random weights, if
    the model has them, add their KL divergence once.

    Weights are averaged over steps (``ema``). ``validate`` scores the average, and the best average
    is kept. A step whose loss or gradient is not finite takes training back to the last checkpoint
    with half the step size; a validation that diverges only loses the comparison.

    All randomness comes from two generators that are seeded here and saved with a checkpoint:
    k steps, a checkpoint and n−k resumed steps give the weights of n steps bit for bit on a CPU.

    Where ``torch.distributed`` is in use (see ``distributed.process_group``) each process takes its
    share of the windows of every batch; loss and gradient are those of one process to rounding, and
    so are the checkpoints, with which any number of processes can go on.

    Attributes:
        model: the generative program, called with a ``WindowBatch``.
        guide: its variational family.
        windows: the training windows.
        settings: the ``training`` section of the configuration.
        validate: error of the current weights, the lower the better; None keeps the last average.
        seed: root of both generators.
        folder: where checkpoints go; None keeps none.
        log: receives records with ``step`` and ``seconds``.
        progress: called with (step, steps, note).
        header: stored in the checkpoints, for whoever rebuilds the model.
        untrained: whether the weights to begin with are a candidate of the validation: those that
            hold what is known may be hard to improve on.

    The leading process alone writes files and calls ``validate``, ``log`` and ``progress``.

    Raises:
        InputError: the windows of a batch cannot be shared by the processes.
    """

    model: nn.Module
    guide: nn.Module
    windows: Windows
    settings: TrainingConfig
    validate: Callable[[], float] | None = None
    seed: int = 0
    folder: Path | None = None
    log: Callable[..., None] = lambda **_: None
    progress: Callable[[int, int, str], None] = lambda *_: None
    header: dict[str, Any] = field(default_factory=dict)
    untrained: bool = False

    def __post_init__(self) -> None:
        with pyro.settings.context(module_local_params=True):
            self.loss = PathELBO()(self.model, self.guide)
        self.state = TrainingState(self.loss, self.settings)
        self.draws = torch.Generator().manual_seed(self.seed)
        self.device = next(self.loss.parameters()).device
        self._share = self.processes.share(self.settings.windows)
        self._numbers = float(self.windows.observed_numbers)
        self.history: list[dict[str, Any]] = []
        self._best: list[Tensor] = []
        self._interval: list[Tensor] = []
        self._error = math.nan

    @cached_property
    def processes(self) -> Processes:
        """The processes that train together."""
        return Processes()

    # --- the loop ------------------------------------------------------------------------------

    def run(self, resume: bool = False) -> None:
        """Trains up to ``settings.steps``, from the last checkpoint with ``resume``.

        The weights that are left in the model and the guide are the best average.

        Raises:
            InputError: ``resume`` without a readable checkpoint of this model.
            TrainingDiverged: the guard gave up; the last good state is in the checkpoint.
            KeyboardInterrupt: passed on when the step is done and a checkpoint has been written; at
                once, without one, at the second Ctrl-C.
        """
        with (
            torch.random.fork_rng(self._devices),
            pyro.settings.context(module_local_params=True),
            pyro.validation_enabled(False),
            self.processes.noise(),
            warnings.catch_warnings(),
            one_thread() if self._small() else nullcontext(),
        ):
            # The guard tells of NaN in its own words.
            warnings.filterwarnings("ignore", "Encountered NaN", UserWarning)
            torch.manual_seed(self.seed)
            if resume:
                self._resume()
            self._replica = self.processes.replica(self.loss)
            if self.untrained and self.state.step == 0:
                self._validate()
            self._keep()
            with Interruption() as interruption:
                try:
                    self._loop(interruption)
                except KeyboardInterrupt:
                    if not interruption.twice:
                        self._save()
                    raise
                finally:
                    del self._replica  # it would keep the process group
            self._finish()

    @property
    def _devices(self) -> list[torch.device]:
        """Those beside the CPU that have a generator of their own."""
        return [self.device] if self.device.type == "cuda" else []

    def _small(self) -> bool:
        """Whether a batch is too small for several threads to pay."""
        return self.windows.values * self.settings.windows * self.settings.window_length < 1_000_000

    def _loop(self, interruption: Interruption) -> None:
        state, settings = self.state, self.settings
        began, before = time.perf_counter(), state.seconds
        while state.step < settings.steps:
            if self.processes.any(interruption.pending):
                raise KeyboardInterrupt
            loss = self._replica(self.batch())
            seen, seconds = self._agreed(loss, before + time.perf_counter() - began)
            if not state.update(loss, seen):
                self._recover()
                continue
            self._interval.append(seen)
            state.seconds = seconds
            if state.step % settings.log_every == 0:
                self._log_interval()
            if state.step % settings.validate_every == 0 and self.validate:
                self._validate()
            if state.step % settings.checkpoint_every == 0:
                self._keep()
            if self._fruitless():
                logger.info("training stops at step %d: no better weights since step %d",
                            state.step, state.best_step)  # fmt: skip
                break
            budget = settings.budget_seconds
            if budget is not None and state.seconds > budget:
                logger.info("training stops at step %d: budget of %gs is spent", state.step, budget)
                break

    def _agreed(self, loss: Tensor, seconds: float) -> tuple[Tensor, float]:
        """The loss of the whole batch and the time, the same numbers in all processes."""
        if not self.processes.together:
            return loss.detach(), seconds
        mean, seconds = self.processes.mean(loss.detach(), seconds)
        return loss.new_tensor(mean), seconds

    def _fruitless(self) -> bool:
        """Whether ``patience`` validations in a row have brought nothing better."""
        patience, state = self.settings.patience, self.state
        if patience is None or state.best_error is None:
            return False
        return state.step >= self._since() + patience * self.settings.validate_every

    def _since(self) -> int:
        """The step from which on patience is counted."""
        return self.state.best_step

    def batch(self) -> WindowBatch:
        """This process's share of the next minibatch, with the weights of the terms of the loss."""
        settings = self.settings
        batch = self.windows.draw(settings.windows, self.draws, settings.points, self._share)
        grown = min(1.0, (self.state.step + 1) / max(1, settings.ramp_steps))
        return replace(
            batch,
            likelihood_scale=batch.likelihood_scale / self._numbers,
            path_scale=batch.path_scale * settings.path_weight * grown / self._numbers,
            weights_scale=1 / self._numbers,
        )

    def _log_interval(self) -> None:
        loss = float(torch.stack(self._interval).mean()) if self._interval else math.nan
        self._interval.clear()
        self._record(
            step=self.state.step,
            loss=loss,
            learning_rate=self.state.learning_rate(),
            seconds=round(self.state.seconds, 3),
        )
        note = f"loss {loss:.3f}"
        if math.isfinite(self._error):
            note += f", validation error {self._error:.4f}"
        if self.processes.leads:
            self.progress(self.state.step, self.settings.steps, note)

    def _record(self, **record: Any) -> None:
        self.history.append(record)
        if self.processes.leads:
            self.log(**record)

    def _validate(self) -> None:
        if self.validate is None:
            return
        state, validate = self.state, self.validate
        state.swap()
        try:
            with torch.random.fork_rng(self._devices):
                error = self.processes.by_leader(lambda: float(validate()))
        finally:
            state.swap()
        self._error = error
        diverged = not math.isfinite(error)
        self._record(
            step=state.step,
            validation_error=None if diverged else error,
            seconds=round(state.seconds, 3),
        )
        if not diverged and (state.best_error is None or error < state.best_error):
            state.best_error, state.best_step = error, state.step
            self._best = [average.clone() for average in state.average]
            self.save_best()

    # --- what is kept --------------------------------------------------------------------------

    def _keep(self) -> None:
        """A good state to come back to, in memory and on disk."""
        self._good = (self.state.copy(), self._generators())
        self._save()

    def _generators(self) -> dict[str, Tensor]:
        found = {"draws": self.draws.get_state(), "cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            found["cuda"] = torch.cuda.get_rng_state(self.device)
        return found

    def _set_generators(self, states: dict[str, Tensor]) -> None:
        self.draws.set_state(states["draws"])
        torch.set_rng_state(states["cpu"])
        if self.device.type == "cuda" and "cuda" in states:
            torch.cuda.set_rng_state(states["cuda"], self.device)

    def _save(self) -> None:
        if self.folder is None or not self.processes.leads:
            return
        tensors = self.state.tensors()
        tensors |= {f"generator/{name}": t for name, t in self._generators().items()}
        tensors |= {f"best/{n}": t for n, t in zip(self.state.names, self._best, strict=False)}
        header = self.header | {"kind": "training", "counters": self.state.counters()}
        save_checkpoint(self.folder / "last.safetensors", tensors, header)

    def save_best(self) -> None:
        """Writes the chosen average as the weights of a model that can forecast."""
        if self.folder is None or not self.processes.leads:
            return
        named = dict(zip(self.state.names, self._best, strict=True))
        weights = {n: named.get(n, t) for n, t in self.loss.state_dict().items()}
        header = self.header | {
            "kind": "model",
            "step": self.state.best_step,
            "validation_error": self.state.best_error,
        }
        save_checkpoint(self.folder / "best.safetensors", weights, header)

    def _resume(self) -> None:
        if self.folder is None:
            raise InputError("nothing to resume: training without a folder keeps no checkpoint")
        path = self.folder / "last.safetensors"
        tensors, header = load_checkpoint(path, "training")
        try:
            self.state.load(tensors, header["counters"])
            self._set_generators(_under("generator/", tensors))
            best = _under("best/", tensors)
            self._best = [best[n].to(self.device) for n in self.state.names] if best else []
        except (KeyError, RuntimeError) as error:
            raise InputError(f"{path} holds the training of another model ({error})") from error

    def _recover(self) -> None:
        state = self.state
        at, recoveries, slowdown = state.step, state.recoveries + 1, state.slowdown / 2
        (tensors, counters), generators = self._good
        best = state.best_error, state.best_step
        state.load(tensors, counters)
        state.best_error, state.best_step = best  # those weights are kept
        self._set_generators(generators)
        # Another stretch of the random stream: the same one would end in the same place.
        self.draws.manual_seed(self.seed + 7919 * recoveries)
        state.recoveries, state.slowdown = recoveries, slowdown
        self._interval.clear()
        self._record(step=state.step, recovered_from=at, slowdown=slowdown, seconds=state.seconds)
        if recoveries > MOST_RECOVERIES:
            self._save()
            raise TrainingDiverged(
                f"training diverged {recoveries} times, last at step {at}, although the step size "
                f"was halved each time: lower training.learning_rate, or raise model.std_floor"
            )
        logger.warning(
            "training diverged at step %d: back to step %d with the step size times %g",
            at, state.step, slowdown,
        )  # fmt: skip

    def _finish(self) -> None:
        state = self.state
        # Before what only the end does: a later resumption goes on as if there had been no end.
        self._save()
        if self.validate and state.step % self.settings.validate_every:
            self._validate()
        if not self._best:
            self._best = [average.clone() for average in state.average]
            state.best_step = state.step
            if self.validate:
                logger.warning("no validation rollout stayed finite: keeping the last weights")
        self.save_best()
        with torch.no_grad():
            for parameter, best in zip(state.parameters, self._best, strict=True):
                parameter.copy_(best)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
