"""A second look at snapshots that show what no training snapshot did.

The encoder is amortized: it answers at once, for what it was trained on. Whether a snapshot y is
such a one shows in the field that its own answer z gives back: y − E[y|z] is then about as large as
for training data. Where it is larger, η is as uncertain as that excess says, in scales of η: the
*doubt*. Within it the most probable η given y is looked for, and what is missed of y after that is
what the members of an ensemble have to differ by at its start.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_msm.nn.multiscale import MultiscaleNetwork

#: Steps of each search, the first damping, and what may change by at a step.
STEPS, DAMPING, FACTOR = 12, 1e-3, 5.0
#: Half the width of a difference that stands for a derivative, in scales.
STRIDE = 0.01
#: A doubt is at first small, and never beyond.
SMALL, FARTHEST = 0.1, 4.0


def misfit(network: MultiscaleNetwork, state: Tensor, field: Tensor) -> Tensor:
    """Mean square of (y − E[y|z])/σ over the points that are observed, σ the learned noise.

    Args:
        network: the generative networks.
        state: z, (…, state).
        field: y, (…, channel, *grid), NaN where unobserved.
    """
    gap = _scaled(network, field) - _scaled(network, network.mean_field(state))
    axes = tuple(range(state.ndim - 1, field.ndim))
    return gap.square().nanmean(axes).nan_to_num()


def doubt(network: MultiscaleNetwork, state: Tensor, excess: Tensor) -> Tensor:
    """How far η is off, in its scales, where its field is off by more than training showed.

    The standard deviation of η, but for an angle, that changes E[y|z]/σ by the mean square
    ``excess``: so much in all as one component after the other does, moved to either side.
    ``FARTHEST`` where that is not enough.

    Args:
        network: the generative networks.
        state: z, (n, state).
        excess: of ``misfit``, (n,), positive.
    """
    first = network.macro_values + network.angles
    along = network.state_scale.diag()[first:, None]
    along = torch.cat([along, -along])
    still = _scaled(network, network.mean_field(state))
    found = torch.full_like(excess, SMALL)
    for _ in range(STEPS):
        moved = state + found[:, None] * along
        change = (_scaled(network, network.mean_field(moved)) - still).square()
        share = excess / (0.5 * change.flatten(2).mean(2).sum(0))
        found = (found * share.sqrt().clamp(1 / FACTOR, FACTOR)).clamp(max=FARTHEST)
    return found


def reconsidered(network: MultiscaleNetwork, state: Tensor, field: Tensor, width: Tensor) -> Tensor:
    """The states with the most probable η given the field, by Levenberg and Marquardt's method.

    ζ stays, and an angle, which a field shows whatever its shape; the rest of η is normal about the
    encoder's answer with a standard deviation of ``width`` scales.

    Args:
        network: the generative networks.
        state: the encoder's answers, (n, state).
        field: (n, channel, *grid), NaN where unobserved.
        width: (n,), positive.
    """
    size = network.macro_values + network.angles
    asked = _scaled(network, field)
    seen = asked.isfinite().flatten(1)
    scale = network.state_scale[size:]

    def moved(away: Tensor) -> Tensor:
        """The states whose η are ``away`` from the answers, in scales."""
        return torch.cat([state[:, :size], state[:, size:] + away * scale], -1)

    def gaps(away: Tensor) -> tuple[Tensor, Tensor]:
        """Rest of the observations, and the cost."""
        gap = (asked - _scaled(network, network.experts(moved(away)).mean)).flatten(1)
        gap = torch.where(seen, gap, 0)
        return gap, gap.square().sum(1) + (away / width[:, None]).square().sum(1)

    away = torch.zeros_like(state[:, size:])
    gap, cost = gaps(away)
    damping = torch.full_like(cost, DAMPING)
    for _ in range(STEPS):
        slope = _jacobian(network, moved(away)).flatten(1, -2) * seen[..., None]
        curvature = slope.mT @ slope + torch.diag_embed((width**-2)[:, None].expand_as(away))
        downhill = (slope.mT @ gap[..., None]).squeeze(-1) - away / width[:, None].square()
        damped = curvature + torch.diag_embed(damping[:, None] * curvature.diagonal(dim1=1, dim2=2))
        tried = away + torch.linalg.solve(damped, downhill)
        new_gap, new_cost = gaps(tried)
        better = new_cost < cost
        away = torch.where(better[:, None], tried, away)
        gap = torch.where(better[:, None], new_gap, gap)
        cost = torch.where(better, new_cost, cost)
        damping = torch.where(better, damping / FACTOR, damping * FACTOR)
    return moved(away)


def _jacobian(network: MultiscaleNetwork, state: Tensor) -> Tensor:
    """Central differences (n, channel, *grid, …) of E[y|z]/σ by η, but for an angle, in scales."""
    columns = []
    for component in range(network.macro_values + network.angles, network.state_size):
        away = torch.zeros_like(state[0])
        away[component] = STRIDE * network.state_scale[component]
        ahead, behind = (
            _scaled(network, network.experts(moved).mean) for moved in (state + away, state - away)
        )
        columns.append((ahead - behind) / (2 * STRIDE))
    return torch.stack(columns, -1)


def _scaled(network: MultiscaleNetwork, field: Tensor) -> Tensor:
    """A field in standard deviations of the observation noise."""
    precision = (-network.log_macro_var).exp() + (-network.log_micro_var).exp()
    return field * precision.sqrt().reshape(-1, *(1 for _ in network.grid))
