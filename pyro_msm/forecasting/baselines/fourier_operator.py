"""A small Fourier neural operator."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

PADDING = 8


class SpectralConvolution(nn.Module):
    """Multiplies the lowest Fourier modes of each axis by learned complex matrices.

    Maps (batch, width, x[, y]) to the same shape. On grids with fewer modes than it has, the
    excess stays unused.
    """

    def __init__(self, width: int, modes: tuple[int, ...]) -> None:
        super().__init__()
        self.modes = modes
        corners = 2 ** (len(modes) - 1)
        shape = (corners, width, width, *modes, 2)
        self.weight = nn.Parameter(torch.randn(shape) / (width * 2**0.5))

    def forward(self, values: Tensor) -> Tensor:
        """The convolution of ``values`` (batch, width, x[, y])."""
        axes = tuple(range(2, values.ndim))
        spectrum = torch.fft.rfftn(values, dim=axes, norm="forward")
        weight, result = torch.view_as_complex(self.weight), torch.zeros_like(spectrum)
        *full, last = spectrum.shape[2:]
        kept = [min(count, size // 2) for count, size in zip(self.modes, full, strict=False)]
        kept.append(min(self.modes[-1], last))
        # All axes but the last have negative frequencies too, at their end.
        halves = itertools.product((False, True), repeat=len(full))
        for corner, negative in enumerate(halves):
            place = [
                slice(-count, None) if flipped else slice(0, count)
                for count, flipped in zip(kept, negative, strict=False)
            ]
            index = (slice(None), slice(None), *place, slice(0, kept[-1]))
            used = (slice(None), slice(None), *(slice(0, count) for count in kept))
            result[index] = torch.einsum(
                "bi...,io...->bo...", spectrum[index], weight[corner][used]
            )
        return torch.fft.irfftn(result, s=values.shape[2:], dim=axes, norm="forward")


class FourierOperator(nn.Module):
    """Fields (batch, channel, x[, y]) to fields of ``outputs`` channels.

    Z. Li et al., Fourier neural operator for parametric partial differential equations, ICLR 2021:
    a pointwise lift, layers of spectral convolution plus pointwise map, a pointwise projection.
    Axes that are not periodic are padded by an eighth before the layers and cropped after.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int,
        modes: tuple[int, ...],
        periodic: tuple[bool, ...],
        layers: int = 4,
    ) -> None:
        super().__init__()
        pointwise = nn.Conv1d if len(modes) == 1 else nn.Conv2d
        self.periodic = periodic
        self.lift = pointwise(inputs, width, 1)
        self.spectral = nn.ModuleList(SpectralConvolution(width, modes) for _ in range(layers))
        self.local = nn.ModuleList(pointwise(width, width, 1) for _ in range(layers))
        self.widen = pointwise(width, 2 * width, 1)
        self.last = pointwise(2 * width, outputs, 1)

    def forward(self, values: Tensor) -> Tensor:
        """The operator's value for ``values`` (batch, inputs, x[, y])."""
        shape = values.shape[2:]
        hidden = self.lift(values)
        pads = [
            0 if whole else max(1, size // PADDING)
            for whole, size in zip(self.periodic, shape, strict=True)
        ]
        hidden = nn.functional.pad(hidden, [part for pad in reversed(pads) for part in (0, pad)])
        for spectral, local in zip(self.spectral, self.local, strict=True):
            hidden = nn.functional.gelu(spectral(hidden) + local(hidden))
        cropped = (slice(None), slice(None), *(slice(0, size) for size in shape))
        return self.last(nn.functional.gelu(self.widen(hidden[cropped])))
