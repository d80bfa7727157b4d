"""Drifts of the macroscale and the microscale state."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyro_msm.nn.boundaries import padded_index
from pyro_msm.nn.mlp import mlp


class MacroDrift(nn.Module):
    """f_θ(ζ, φ(η)): one perceptron for all coarse points, on a neighbourhood of each.

    Args:
        macro: coarse points of each axis.
        boundary: boundary of each axis, see ``padded_index``.
        channels: channels of ζ.
        context: width of what every point sees beside its neighbourhood: φ(η), parameters, forcing.
        neighbourhood: points of the neighbourhood along an axis, odd.
        hidden: width of the hidden layers.
        layers: number of hidden layers.
        scale: factor on the initial weights of the last layer; 0 starts at no drift.
    """

    neighbours: Tensor

    def __init__(
        self,
        macro: Sequence[int],
        boundary: Sequence[str],
        channels: int,
        context: int,
        neighbourhood: int,
        hidden: int,
        layers: int,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.register_buffer(
            "neighbours", neighbours(macro, boundary, neighbourhood), persistent=False
        )
        local = channels * self.neighbours.shape[1]
        self.first = nn.Linear(local, hidden)
        self.context = nn.Linear(context, hidden, bias=False) if context else None
        self.rest = (
            mlp(hidden, channels, hidden, layers - 1)
            if layers > 1
            else nn.Sequential(nn.Linear(hidden, channels))
        )
        with torch.no_grad():
            for parameter in self.rest[-1].parameters():
                parameter.mul_(scale)
        self.activation = nn.SiLU()

    def forward(self, macro: Tensor, context: Tensor | None) -> Tensor:
        """ζ (…, channels, points) → dζ/dt (…, channels, points).

        The context is (…, width), the same for all points, or (…, points, width).
        """
        local = macro[..., self.neighbours].movedim(-3, -2).flatten(-2)
        hidden = self.first(local)
        if self.context is not None and context is not None:
            seen = self.context(context)
            hidden = hidden + (seen if context.dim() == local.dim() else seen[..., None, :])
        result: Tensor = self.rest(self.activation(hidden)).movedim(-1, -2)
        return result


def neighbours(macro: Sequence[int], boundary: Sequence[str], width: int) -> Tensor:
    """(points, width**axes) flat indices of every coarse point's neighbours."""
    reach = width // 2
    flat = torch.zeros(1, 1, dtype=torch.long)
    for points, kind in zip(macro, boundary, strict=True):
        axis = padded_index(points, reach, kind).unfold(0, width, 1)
        flat = (flat[:, None, :, None] * points + axis[None, :, None, :]).flatten(2).flatten(0, 1)
    return flat


class MicroDrift(nn.Module):
    """g_θ(η, ψ(ζ)): a perceptron of the microscale state and a view of the macroscale state.

    Args:
        micro: n_η.
        macro_values: number of values of ζ.
        context: width of parameters and forcing.
        view: width of ψ(ζ); ψ is the identity where it is not smaller than ``macro_values``, and a
            learned projection otherwise.
        hidden: width of the hidden layers.
        layers: number of hidden layers.
        scale: factor on the initial weights of the last layer.
    """

    def __init__(
        self,
        micro: int,
        macro_values: int,
        context: int,
        view: int,
        hidden: int,
        layers: int,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        projects = view < macro_values
        self.view = nn.Linear(macro_values, view) if projects else nn.Identity()
        seen = micro + min(view, macro_values) + context
        self.network = mlp(seen, micro, hidden, layers, scale)

    def forward(self, micro: Tensor, macro: Tensor, context: Tensor | None) -> Tensor:
        """η (…, n_η), flattened ζ (…, macro values) and context (…, width) → dη/dt (…, n_η)."""
        parts = [micro, self.view(macro)]
        if context is not None:
            parts.append(context)
        result: Tensor = self.network(torch.cat(parts, -1))
        return result
