"""The propagator's rollout: a state, and its path over the next steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from pyro_msm.environment import one_thread
from pyro_msm.forecasting.led.inputs import KnownInputs
from pyro_msm.forecasting.led.pace import Pace
from pyro_msm.forecasting.streams import Streams
from pyro_msm.nn.latent_dynamics import LatentDynamics
from pyro_msm.nn.propagator import Propagator
from pyro_msm.nn.quick_propagator import QuickPropagator

#: Steps whose noise and known inputs are made together.
BLOCK = 64

#: (latent, inputs, memory, noise) → (latent, memory), all (batch, …).
Stepper = Callable[..., tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class LEDState:
    """Where a rollout stands, on the grid of times ``origin + index·step``.

    Attributes:
        origin: absolute time of the snapshot from which it started.
        index: steps since then.
        latent: (member, trajectory, latent) at ``index``.
        before: the same one step earlier.
        memory: (member, trajectory, state_size) hidden state of the propagator, which has seen
            ``before`` and all earlier latents.
        streams: random numbers of the steps and of initial draws.
        inputs: what is known of each step.
        pace: factor on the increments of the latents.
    """

    origin: float
    index: int
    latent: np.ndarray
    before: np.ndarray
    memory: np.ndarray
    streams: Streams
    inputs: KnownInputs
    pace: Pace


@dataclass(frozen=True)
class Stepping:
    """Steps of a propagator.

    Attributes:
        propagator: trained.
        step: duration of a step.
        dispersion: factor on the standard deviation of its noise.
    """

    propagator: LatentDynamics
    step: float
    dispersion: float

    def run(self, state: LEDState, count: int) -> tuple[np.ndarray, LEDState]:
        """The latents (count, member, trajectory, latent) of the next steps, and the last state."""
        members, trajectories, size = state.latent.shape
        path = np.empty((count, *state.latent.shape), np.float32)
        if not count:
            return path, state
        latent: np.ndarray = state.latent.reshape(-1, size)
        memory: np.ndarray = state.memory.reshape(len(latent), state.memory.shape[-1])
        take = self._stepper()
        pace = state.pace.factor.reshape(-1, 1)
        for first in range(0, count, BLOCK):
            rows = range(first, min(first + BLOCK, count))
            at = state.origin + self.step * (state.index + np.asarray(rows))
            known = np.tile(state.inputs.at(at).cpu().numpy(), (members, 1, 1))
            noise = self._noise(state.streams, state.index + first, len(rows), size)
            for row, number in enumerate(rows):
                drawn = None if noise is None else noise[row].reshape(-1, 1 + size)
                after, memory = take(latent, known[:, row], memory, drawn)
                latent = latent + pace * (after - latent)
                path[number] = latent.reshape(members, trajectories, size)
        before = path[-2] if count > 1 else state.latent
        memory = memory.reshape(members, trajectories, memory.shape[-1])
        return path, replace(
            state, index=state.index + count, latent=path[-1], before=before, memory=memory
        )

    def _noise(self, streams: Streams, first: int, count: int, size: int) -> np.ndarray | None:
        """Standard normal numbers (count, member, trajectory, 1 + size); None where none count."""
        if self.dispersion == 0 and self.propagator.components == 1:
            return None
        return streams.normal(first, count, 1 + size)

    def _stepper(self) -> Stepper:
        if isinstance(self.propagator, Propagator) and self.propagator.components == 1:
            return self._predicted(QuickPropagator(self.propagator))
        return self._drawn()

    def _predicted(self, quick: QuickPropagator) -> Stepper:
        """A step to what a single component predicts, and noise about it."""

        def take(latent: Any, known: Any, memory: Any, noise: Any) -> Any:
            latent, memory = quick(latent, known, memory)
            if noise is not None:
                latent = latent + self.dispersion * quick.std * noise[:, 1:]
            return latent, memory

        return take

    def _drawn(self) -> Stepper:
        """A step to a draw from the propagator's law, or to its mean."""
        device = self.propagator.centre.device

        def tensor(values: np.ndarray) -> torch.Tensor:
            return torch.tensor(values, device=device)

        def take(latent: Any, known: Any, memory: Any, noise: Any) -> Any:
            with torch.inference_mode(), one_thread():
                parts = tensor(latent)[:, None], tensor(known)[:, None]
                law, after = self.propagator(*parts, tensor(memory))
                found = law.expected()
                if noise is not None:
                    found = law.draw(tensor(noise)[:, None], self.dispersion)
                latent = found[:, 0]
            return latent.cpu().numpy(), after.cpu().numpy()

        return take
