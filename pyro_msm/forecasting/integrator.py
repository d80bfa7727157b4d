"""Integration of an SDE, restartable, with output at any time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pyro_msm.forecasting.streams import Streams

#: Steps that are integrated before their path is brought from the device to the output.
CHUNK = 256


@dataclass(frozen=True)
class PathState:
    """Where an integration stands; every tensor is (member, trajectory, state).

    Attributes:
        origin: absolute time of step 0.
        index: number of steps taken.
        recent: the states one step ago and now.
        node: the state at the last node, where the drift was evaluated.
        rates: the drift at the last nodes, the newest first; at most two before it is evaluated.
        quick: the quick part of the drift at the last steps, likewise.
        wandered: what noise has added since the last node.
        streams: the random streams of the members; None without noise.
    """

    origin: float
    index: int
    recent: tuple[Tensor, Tensor]
    node: Tensor
    rates: tuple[Tensor, ...]
    wandered: Tensor
    streams: Streams | None
    quick: tuple[Tensor, ...] = ()

    @classmethod
    def start(cls, time: float, state: Tensor, streams: Streams | None) -> PathState:
        """The beginning of a path."""
        return cls(time, 0, (state, state), state, (), torch.zeros_like(state), streams)

    @property
    def latent(self) -> Tensor:
        """The state now."""
        return self.recent[1]

    def without(self, lost: Tensor) -> PathState:
        """NaN in the paths that are ``lost`` (member, trajectory): they never come back."""
        gone = torch.where(lost, torch.nan, 0.0)[..., None]
        before, now = self.recent
        return replace(self, recent=(before + gone, now + gone), node=self.node + gone)


@dataclass(frozen=True)
class Integrator:
    r"""Three-step Adams–Bashforth for the drift, exact increments for additive noise.

    For dz = f(t, z)dt + L dβ with small L, such multistep Maruyama schemes err by O(h³ + |L| h)
    (Buckwar & Winkler, 2006) at one drift evaluation a step. The drift is evaluated at nodes
    ``every`` steps apart; between them the same polynomial that the scheme integrates gives the
    state at every step, and the noise of every step is added. Two node distances of Heun's scheme
    start a path. Times between two steps are interpolated linearly.

    A part of the drift that is quick and cheap, such as an equation whose closure is slow and
    learned, is evaluated at every step, and the rest at the nodes: the scheme of both is the same.

    Args:
        drift: f(t, z) for a time and (member, trajectory, state), without the quick part.
        dispersion: (state,) diagonal of L.
        step: length of a step.
        every: steps from node to node.
        gain: factors (member, trajectory, state) on the dispersion at a node, from its state and
            the whole drift there; None: one.
        quick: the quick part of the drift, as ``drift``; None: there is none.
    """

    drift: Callable[[float, Tensor], Tensor]
    dispersion: Tensor
    step: float
    every: int = 1
    gain: Callable[[Tensor, Tensor], Tensor] | None = None
    quick: Callable[[float, Tensor], Tensor] | None = None

    def run(self, state: PathState, times: np.ndarray) -> tuple[PathState, np.ndarray]:
        """Integrates along absolute ``times``, increasing, none before the state's last step.

        Returns:
            The state afterwards, and (time, member, trajectory, state) float32. The given state is
            not changed; the result does not depend on how the times are cut into calls.
        """
        out = np.empty((len(times), *state.latent.shape), np.float32)
        position = (np.asarray(times, float) - state.origin) / self.step
        # What is a step but for rounding is that step.
        nearest = np.round(position)
        position = np.where(np.abs(position - nearest) < 1e-4, nearest, position)
        done = 0
        while done < len(times):
            stop = max(state.index, min(state.index + CHUNK, int(np.ceil(position[-1]))))
            first = state.index - 1
            state, path = self._advance(state, stop - state.index)
            ready = int(np.searchsorted(position, stop, side="right"))
            low = np.floor(position[done:ready]).astype(int)
            share = torch.as_tensor(position[done:ready] - low, dtype=path.dtype)
            share = share.to(path.device)[:, None, None, None]
            before, after = path[low - first], path[np.minimum(low + 1 - first, len(path) - 1)]
            mixed = torch.where(share > 0, before + share * (after - before), before)
            out[done:ready] = mixed.cpu().numpy()
            done = ready
        return state, out

    def _advance(self, state: PathState, steps: int) -> tuple[PathState, Tensor]:
        """``steps`` more steps; the path starts with the two states that were recent."""
        path = torch.empty(steps + 2, *state.latent.shape, device=state.latent.device)
        path[0], path[1] = state.recent
        noise = self._noise(state, steps)
        taken = 0
        while taken < steps:
            if state.index < 2 * self.every:
                count = 1
                state = self._heun(state, None if noise is None else noise[taken])
                path[taken + 2] = state.latent
            else:
                offset = state.index % self.every
                count = min(self.every - offset, steps - taken)
                part = None if noise is None else noise[taken : taken + count]
                state = self._multistep(state, offset, part, path[taken + 2 :][:count])
            taken += count
        return replace(state, recent=(path[-2], path[-1])), path

    def _noise(self, state: PathState, steps: int) -> Tensor | None:
        """(steps, member, trajectory, state) increments L dβ."""
        if state.streams is None:
            return None
        normal = state.streams.normal(state.index, steps, state.latent.shape[-1])
        return torch.as_tensor(normal, device=state.latent.device) * (
            self.step**0.5 * self.dispersion
        )

    def _heun(self, state: PathState, noise: Tensor | None) -> PathState:
        now = state.origin + state.index * self.step
        latent = state.latent
        rate, quick = self.drift(now, latent), self._quick(now, latent)
        there = now + self.step, latent + self.step * (rate + quick)
        ahead = self.drift(*there) + self._quick(*there)
        moved = latent + (0.5 * self.step) * (rate + quick + ahead)
        if noise is not None:
            gain = 1.0 if self.gain is None else self.gain(latent, rate + quick)
            moved = moved + noise * gain
        rates = state.rates
        if state.index % self.every == 0:
            rates = (rate, *rates)[:2]
        return replace(
            state, index=state.index + 1, recent=(latent, moved), rates=rates, node=moved,
            wandered=torch.zeros_like(moved), quick=(quick, *state.quick)[:2],
        )  # fmt: skip

    def _quick(self, time: float, latent: Tensor) -> Tensor:
        return latent.new_zeros(()) if self.quick is None else self.quick(time, latent)

    def _multistep(
        self, state: PathState, offset: int, noise: Tensor | None, out: Tensor
    ) -> PathState:
        """Steps within one node distance, written to ``out``."""
        rates, count = state.rates, len(out)
        begun = state.origin + (state.index - offset) * self.step
        if offset == 0:
            rates = (self.drift(begun, state.latent), *rates)[:3]
            state = replace(
                state, node=state.latent, rates=rates, wandered=torch.zeros_like(state.latent)
            )
        driven, ready = noise, None
        if offset == 0:
            ready = self._quick(begun, state.node)
        if noise is not None and self.gain is not None:
            quick = self._quick(begun, state.node) if ready is None else ready
            driven = noise * self.gain(state.node, rates[0] + quick)
        share = torch.arange(offset, offset + count + 1, device=out.device) / self.every
        weights = _adams_bashforth(share.to(out.dtype)) * (self.every * self.step)
        if self.quick is None:
            state = self._between_nodes(state, weights[1:], driven, out)
        else:
            state = self._step_by_step(state, weights.diff(dim=0), driven, out, ready)
        if offset + count == self.every:
            rates = rates[:2]
        return replace(state, index=state.index + count, rates=rates)

    def _between_nodes(
        self, state: PathState, weights: Tensor, noise: Tensor | None, out: Tensor
    ) -> PathState:
        """All steps at once, by weights (step, rate) of the way from the node."""
        out.copy_(state.node + torch.tensordot(weights, torch.stack(state.rates), 1))
        wandered = state.wandered
        if noise is not None:
            walk = noise.cumsum(0) + wandered
            out += walk
            wandered = walk[-1]
        return replace(state, recent=(out[-1], out[-1]), wandered=wandered)

    def _step_by_step(
        self, state: PathState, weights: Tensor, noise: Tensor | None, out: Tensor,
        ready: Tensor | None,
    ) -> PathState:  # fmt: skip
        """One step after the other, by weights (step, rate) of each way; ``ready`` is the quick
        part of the drift at the first."""
        torch.tensordot(weights, torch.stack(state.rates), 1, out=out)
        if noise is not None:
            out += noise
        latent, before, quick = state.latent, state.latent, state.quick
        own = (_adams_bashforth(out.new_ones(1))[0] * self.step).tolist()
        for number, moved in enumerate(out):
            now = state.origin + (state.index + number) * self.step
            rate = self._quick(now, latent) if number or ready is None else ready
            quick = (rate, *quick[:2])
            moved += latent
            for weight, rate in zip(own, quick, strict=True):
                moved.add_(rate, alpha=weight)
            before, latent = latent, moved
        return replace(state, recent=(before, latent), quick=quick[:2])


def _adams_bashforth(share: Tensor) -> Tensor:
    """(n, 3) weights of the newest, second and third rate for ``share`` (n,) of a node distance."""
    two, three = share.square(), share**3
    return torch.stack(
        [
            share + 0.75 * two + three / 6,
            -(two + three / 3),
            0.25 * two + three / 6,
        ],
        1,
    )
