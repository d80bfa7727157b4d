"""Dispersion that depends on the state: each scale is driven by how wild the other one is."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pyro_msm.nn.mlp import mlp

#: A gain lies between one over this and this.
LARGEST = 8.0
HIDDEN = 16


class StateGain(nn.Module):
    r"""Factors on the diagonal of L: L_ζ · a(φ(η)) and L_η · b(ψ(ζ)), ψ the mean and size of ζ.

    As for the drifts, one scale sees the other. That the gain of a component never depends on this
    component keeps the path term of a constant dispersion: the reverse-time correction ½ ∂L²/∂z of
    SDE Matching (Bartosh et al., 2025, eq. 11) has no diagonal part. All gains start at 1.

    Args:
        micro: n_η.
        channels: channels of ζ.
        fixed: the first components of η that gains do not see: the angle of a moving frame.

    Example:
        >>> gain = StateGain(micro=3, channels=2)
        >>> gain(torch.zeros(4, 2, 10), torch.zeros(4, 3)).shape
        torch.Size([4, 23])
    """

    def __init__(self, micro: int, channels: int, fixed: int = 0) -> None:
        super().__init__()
        self.fixed = fixed
        self.of_macro = mlp(micro - fixed, channels, HIDDEN, 1, scale=0.0)
        self.of_micro = mlp(2 * channels, micro, HIDDEN, 1, scale=0.0)

    def forward(self, macro: Tensor, micro: Tensor) -> Tensor:
        """ζ (…, channel, points) and η (…, n_η), scaled, to gains (…, state)."""
        mean = macro.mean(-1)
        size = (macro - mean[..., None]).square().mean(-1).add(1e-6).sqrt()
        of_macro = self.of_macro(micro[..., self.fixed :])[..., None].expand(macro.shape)
        of_micro = self.of_micro(torch.cat([mean, size], -1))
        bounded = torch.cat([of_macro.flatten(-2), of_micro], -1).tanh()
        return (math.log(LARGEST) * bounded).exp()
