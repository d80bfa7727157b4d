"""The stages in which learned effective dynamics are trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from pyro import poutine
from pyro.infer import TraceMeanField_ELBO
from torch import Tensor

from pyro_msm.config import LEDConfig, TrainingConfig
from pyro_msm.forecasting.led.basis import rolled
from pyro_msm.forecasting.led.regression import fit_polynomial
from pyro_msm.guides.amortized_snapshot import AmortizedSnapshotGuide
from pyro_msm.inference.stages import Stage
from pyro_msm.models.led import LED, PathBatch, SnapshotBatch

#: Snapshots, or particles, that are encoded at once.
ENCODED, PARTICLES = 2048, 200_000
#: Shifts of each trajectory that a polynomial is fitted to.
SHIFTS = 12
#: Snapshots of particles that a free run is scored by.
SEEN = 16

Score = Callable[[], float]


@dataclass(frozen=True)
class TrainingData:
    """The training split in memory.

    Attributes:
        values: (trajectory, time, channel, *grid) or (trajectory, time, particle, component).
        inputs: (trajectory, time − 1, inputs) known inputs of each step.
        shifts: spatial axes along which every stretch may be shifted.
        warmup: snapshots that a forecast starts from.
    """

    values: Tensor
    inputs: Tensor
    shifts: list[int]
    warmup: int

    @property
    def last(self) -> int:
        """Steps of a trajectory."""
        return self.inputs.shape[1]


def stages(
    model: LED,
    guide: AmortizedSnapshotGuide,
    data: TrainingData,
    led: LEDConfig,
    training: TrainingConfig,
    reconstruction: Score | None,
    free_running: Score | None,
) -> list[Stage]:
    """The autoencoder; the propagator, teacher-forced; the propagator in free runs.

    The last stage falls away where ``training.steps`` leaves nothing for it, or where the
    propagator is a mixture, whose draws cannot be differentiated.

    Args:
        model, guide: what is trained.
        data: the training split.
        led, training: their sections of the configuration.
        reconstruction: error of the autoencoder on validation data.
        free_running: error of forecasts on validation data.
    """
    auto = Autoencoding(model, guide, data, led, training)
    latents = Latents(model, guide, data)
    forced = TeacherForcing(model, latents, led, training)
    found = [
        Stage("autoencoder", 0, auto.loss, validate=reconstruction),
        Stage(
            "propagator", led.autoencoder_steps, forced.loss, latents.enter, free_running,
            afresh=True, rate=led.propagator_rate, untrained=led.polynomial > 0,
            carried={"place": forced.place, "state": forced.state},
        ),
    ]  # fmt: skip
    if led.components == 1:
        free = FreeRunning(model, latents, led, training)
        start = led.autoencoder_steps + led.propagator_steps
        found.append(
            Stage("rollout", start, free.loss, latents.enter, free_running, rate=led.rollout_rate)
        )
    return found


class Autoencoding:
    """The bound of random snapshots, per number."""

    def __init__(
        self,
        model: LED,
        guide: AmortizedSnapshotGuide,
        data: TrainingData,
        led: LEDConfig,
        training: TrainingConfig,
    ) -> None:
        self.model, self.guide, self.data, self.led = model, guide, data, led
        self.growth = training.ramp_steps
        self.elbo = TraceMeanField_ELBO()

    def loss(self, age: int, generator: torch.Generator) -> Tensor:
        """Of a minibatch; the KL term grows in over ``training.ramp_steps``."""
        values, count = self.data.values, self.led.snapshots
        rows = torch.randint(values.shape[0], (count,), generator=generator)
        times = torch.randint(values.shape[1], (count,), generator=generator)
        chosen = values[rows, times]
        if self.model.particles:
            some = torch.randperm(values.shape[2], generator=generator)[: self.led.subset]
            chosen = chosen[:, some]
        chosen = rolled(chosen.unsqueeze(1), self.data.shifts, generator).squeeze(1)
        weight = self.led.kl_weight * min(1.0, (age + 1) / max(1, self.growth))
        batch = SnapshotBatch(chosen, weight)
        loss = self.elbo.differentiable_loss(self.model.snapshots, self.guide, batch)
        return loss / chosen.numel()


class Latents:
    """Encoded stretches of the training data; the encoder does not change any more."""

    def __init__(self, model: LED, guide: AmortizedSnapshotGuide, data: TrainingData) -> None:
        self.model, self.guide, self.data = model, guide, data
        self._known: Tensor | None = None

    def enter(self) -> None:
        """Encodes the data and gives the propagator the scales of what it will see."""
        values = self.data.values
        with torch.no_grad():
            flat = values.flatten(0, 1)
            count = max(1, PARTICLES // values.shape[2]) if self.model.particles else ENCODED
            parts = [self.guide.encode(part)[0] for part in flat.split(count)]
            latents = torch.cat(parts).unflatten(0, values.shape[:2])
            propagator = self.model.propagator
            propagator.centre.copy_(latents.mean((0, 1)))
            propagator.spread.copy_(latents.std((0, 1)).clamp_min(1e-6))
            increments = latents.diff(dim=1)
            propagator.rate.copy_(increments.std((0, 1)).clamp_min(1e-8))
            inputs = self.data.inputs
            if inputs.shape[-1]:
                propagator.inputs_centre.copy_(inputs.mean((0, 1)))
                spread = inputs.std((0, 1))
                # What never varied says nothing of the size of its changes.
                propagator.inputs_spread.copy_(spread.where(spread > 1e-6, 1.0))
        self._known = latents
        if propagator.polynomial is not None:
            with torch.no_grad():
                fit_polynomial(propagator, self._paths())

    def _paths(self) -> Tensor:
        """Latents (path, time, latent) of whole trajectories, and of shifted ones."""
        rows = torch.arange(len(self.data.values)).repeat(SHIFTS if self.data.shifts else 1)
        start, generator = torch.zeros(1, dtype=torch.long), torch.Generator().manual_seed(0)
        found = [self.stretch(row, start, self.data.last, generator)[0] for row in rows.split(1)]
        return torch.cat(found)

    def stretch(
        self, rows: Tensor, starts: Tensor, steps: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Latents (batch, 1 + steps, latent) and inputs (batch, steps, inputs)."""
        if self._known is None:
            raise RuntimeError("the stage has not been entered")
        times = starts[:, None] + torch.arange(steps + 1)
        inputs = self.data.inputs[rows[:, None], times[:, :-1]]
        if not self.data.shifts:
            return self._known[rows[:, None], times], inputs
        with torch.no_grad():
            fields = rolled(self.data.values[rows[:, None], times], self.data.shifts, generator)
            return self.guide.encode(fields)[0], inputs


class TeacherForcing:
    """Truncated backpropagation through time with a hidden state that is carried along.

    Each of ``training.windows`` streams goes through a trajectory, ``bptt`` steps at a time, from a
    random place to its end, and then begins anew.
    """

    def __init__(
        self, model: LED, latents: Latents, led: LEDConfig, training: TrainingConfig
    ) -> None:
        self.model, self.latents, self.noise = model, latents, led.noise
        self.steps = min(led.bptt, latents.data.last)
        count = training.windows
        device = latents.data.values.device
        self.place = torch.full((count, 2), -1)
        self.state = torch.zeros(count, model.propagator.state_size, device=device)

    def loss(self, age: int, generator: torch.Generator) -> Tensor:
        """Negative log density of the next ``bptt`` steps of every stream, per number."""
        self._begin_anew(generator)
        # Shifted data change from one batch to the next: nothing can be carried through them.
        carried = not self.latents.data.shifts
        state = self.state.clone() if carried else torch.zeros_like(self.state)
        rows, starts = self.place.unbind(1)
        path, inputs = self.latents.stretch(rows, starts, self.steps, generator)
        seen = disturbed(path[:, :-1], self.noise, self.model, generator)
        batch = PathBatch(seen, path[:, 1:], inputs, state, forced=self.steps)
        loss, state = path_loss(self.model, batch)
        self.place[:, 1] += self.steps
        self.state.copy_(state.detach())
        return loss

    def _begin_anew(self, generator: torch.Generator) -> None:
        data = self.latents.data
        over = (self.place[:, 0] < 0) | (self.place[:, 1] + self.steps > data.last)
        count = int(over.sum())
        if count:
            self.place[over, 0] = torch.randint(len(data.values), (count,), generator=generator)
            room = data.last - self.steps + 1
            self.place[over, 1] = torch.randint(room, (count,), generator=generator)
            self.state[over.to(self.state.device)] = 0


class FreeRunning:
    """Free runs from random places after a warm-up, longer and longer.

    Of a field its latents are scored, of particles they themselves: what is encoded of them holds
    the chance of their number, and the mean of it, which a propagator learns to predict, is not
    decoded to their law. So the decoder learns here, too.
    """

    def __init__(
        self, model: LED, latents: Latents, led: LEDConfig, training: TrainingConfig
    ) -> None:
        self.model, self.latents, self.led = model, latents, led
        self.windows = training.windows
        self.warm = min(max(1, latents.data.warmup), latents.data.last)

    def loss(self, age: int, generator: torch.Generator) -> Tensor:
        """Negative log density of the free runs, per number."""
        data = self.latents.data
        grown = min(1.0, (age + 1) / self.led.growth)
        free = max(1, round(grown * self.led.horizon))
        steps = min(self.warm + free, data.last)
        rows = torch.randint(len(data.values), (self.windows,), generator=generator)
        starts = torch.randint(data.last - steps + 1, (self.windows,), generator=generator)
        path, inputs = self.latents.stretch(rows, starts, steps, generator)
        seen = disturbed(path[:, :-1], self.led.noise, self.model, generator)
        state = self.model.propagator.start(self.windows)
        batch = PathBatch(seen, path[:, 1:], inputs, state, forced=self.warm)
        if self.model.particles:
            batch = self._with_particles(batch, rows, starts, generator)
        return path_loss(self.model, batch)[0]

    def _with_particles(
        self, batch: PathBatch, rows: Tensor, starts: Tensor, generator: torch.Generator
    ) -> PathBatch:
        """``batch`` with random particles after random steps of the free run."""
        values, forced = self.latents.data.values, batch.forced
        free = batch.target.shape[1] - forced
        seen = forced - 1 + torch.randperm(1 + free, generator=generator)[:SEEN]
        some = torch.randperm(values.shape[2], generator=generator)[: self.led.subset]
        snapshots = values[rows[:, None], starts[:, None] + 1 + seen]
        return replace(batch, particles=snapshots[:, :, some], seen=seen)


def disturbed(path: Tensor, noise: float, model: LED, generator: torch.Generator) -> Tensor:
    """A path with noise, in units of its spread, on every latent."""
    if not noise:
        return path
    drawn = torch.randn(path.shape, generator=generator).to(path.device)
    return path + noise * model.propagator.spread * drawn


def path_loss(model: LED, batch: PathBatch) -> tuple[Tensor, Tensor]:
    """−ln p of what is observed, per number, and the hidden state after the last step."""
    trace: Any = poutine.trace(model.paths).get_trace(batch)
    loss: Tensor = -trace.log_prob_sum() / batch.observed.numel()
    state: Tensor = trace.nodes["_RETURN"]["value"]
    return loss, state
