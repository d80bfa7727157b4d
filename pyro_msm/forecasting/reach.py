"""The part of the state space that a model has seen, and what becomes of paths that leave it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from pyro_msm.data.windows import Windows
from pyro_msm.forecasting.second_look import misfit
from pyro_msm.guides import AmortizedPathGuide
from pyro_msm.nn.multiscale import MultiscaleNetwork

#: How far beyond the training data the learned drift is used as it is, in units of their extent.
MARGIN = 1.25

#: Training trajectories that are looked at, and microscale states that stand for them.
TRAJECTORIES, STATES = 64, 256
#: Usual distances to the nearest state seen within which a state is hardly new.
KNEE = 2.0


@dataclass(frozen=True)
class Reach:
    """How far encoded training data go from the mean of the state, in its scales.

    A perceptron grows without bound where it has seen nothing, and a drift that does so drives
    paths to infinity. Beyond ``MARGIN`` times the training data's reach a rollout therefore takes
    the learned drift of the nearest state within, and pulls back at the pace that the state has in
    the data: whatever was learned, paths stay bounded. Known physics holds everywhere; its state is
    not pulled.

    How far a state is from what was seen is told by its microscale, but for the angle of a moving
    frame: by its distance to the nearest of some training states, chosen so that none is far from
    all of them.

    Attributes:
        macro: of all macroscale components alike.
        micro: of each microscale component.
        seen: microscale states of the training data, in scales from the mean.
        misfit: the largest of a training snapshot, see ``second_look.misfit``.
        usual: distance from the nearest of ``seen`` that is usual on data which the training has
            not seen, as ``World.novelty``; 0: unknown.
    """

    macro: float
    micro: tuple[float, ...]
    seen: tuple[tuple[float, ...], ...] = ()
    misfit: float = float("inf")
    usual: float = 0.0

    @classmethod
    def of(cls, guide: AmortizedPathGuide, windows: Windows) -> Self:
        """What the windows of training data reach, by the encoder."""
        network = guide.model.network
        trajectories = torch.arange(windows.trajectories)
        trajectories = trajectories[:: -(-len(trajectories) // TRAJECTORIES)]
        parts, misfits = [], []
        with torch.no_grad():
            for start in windows.end_to_end():
                batch = windows.cut(trajectories, start.expand(len(trajectories)))
                state = guide.encode(batch.field)[0]
                parts.append(state.flatten(0, -2))
                if network.micro:
                    seen = batch.observation
                    seen = seen if batch.mask is None else seen.masked_fill(~batch.mask, torch.nan)
                    misfits.append(misfit(network, state, seen).max())
            states = torch.cat(parts)
            away = (states - network.state_mean) / network.state_scale
            macro, micro = away.split([network.macro_values, network.micro], -1)
            found = cls(float(macro.abs().max()), tuple(micro.abs().amax(0).tolist()))
            inner = micro[:, network.angles :]
            if not inner.numel():
                return found
            return replace(
                found,
                seen=tuple(tuple(row) for row in spread_out(inner, STATES).tolist()),
                misfit=float(torch.stack(misfits).max()),
            )

    @classmethod
    def from_header(cls, header: Any) -> Self | None:
        """The reverse of ``vars``, from JSON."""
        if header is None:
            return None
        seen = tuple(tuple(row) for row in header["seen"])
        return cls(header["macro"], tuple(header["micro"]), seen, header["misfit"], header["usual"])

    def world(self, network: MultiscaleNetwork) -> World:
        """The reach in units of the state."""
        ends = torch.tensor([self.macro] * network.macro_values + list(self.micro))
        far = MARGIN * ends.to(network.state_mean) * network.state_scale
        pace = network.state_rate / network.state_scale
        if network.known_drift is not None:
            pace = pace.clone()
            pace[: network.macro_values] = 0
        first = network.macro_values + network.angles
        seen = torch.tensor(self.seen).to(network.state_mean)
        seen = seen.reshape(len(self.seen), network.state_size - first)
        seen = network.state_mean[first:] + seen * network.state_scale[first:]
        return World(
            network.state_mean - far, network.state_mean + far, pace, seen,
            network.state_scale[first:], self.usual,
        )  # fmt: skip

    def accustomed(self, network: MultiscaleNetwork, states: Tensor) -> Self:
        """The reach with the ``usual`` distance of some states (…, state) of held-out data."""
        distance = replace(self, usual=0.0).world(network).novelty(states)
        return replace(self, usual=float(distance.median()))


@dataclass(frozen=True)
class World:
    """A box of states, and some states in it.

    Attributes:
        low: (state,) the box's least values.
        high: (state,) its largest values.
        pace: (state,) rate of the pull back into it, 1/time.
        seen: (states, n) the last n components of training data.
        scale: (n,) their scale.
        usual: their usual distance from data that training has not seen, see ``Reach``.
    """

    low: Tensor
    high: Tensor
    pace: Tensor
    seen: Tensor
    scale: Tensor
    usual: float = 0.0

    def nearest(self, state: Tensor) -> Tensor:
        """The nearest state of the box, (…, state)."""
        return torch.minimum(torch.maximum(state, self.low), self.high)

    def novelty(self, state: Tensor) -> Tensor:
        """How new states (…, state) are, (…, 1): their distance to the nearest one seen.

        It is the root mean square over components, in their scales. Within ``KNEE`` usual distances
        it grows with its square, from nothing: what is learned is smooth, and errs the less near
        what was seen.
        """
        own = state[..., state.shape[-1] - len(self.scale) :] / self.scale
        distances = torch.cdist(own.flatten(0, -2), self.seen / self.scale)
        nearest = distances.amin(-1) / len(self.scale) ** 0.5
        if self.usual:
            nearest = nearest * (nearest / (KNEE * self.usual)).clamp(max=1)
        return nearest.reshape(*state.shape[:-1], 1)


def spread_out(points: Tensor, count: int) -> Tensor:
    """At most ``count`` of the points (n, d), each the farthest from those before it.

    Example:
        >>> line = torch.tensor([[0.0], [0.1], [1.0], [0.6]])
        >>> spread_out(line, 3).flatten().tolist()
        [0.0, 1.0, 0.6000000238418579]
    """
    chosen = [0]
    distance = (points - points[0]).square().sum(-1)
    while len(chosen) < min(count, len(points)):
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, (points - points[chosen[-1]]).square().sum(-1))
    return points[chosen]
