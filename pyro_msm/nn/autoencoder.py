"""Autoencoders of fields: a linear part (POD), corrected by networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from pyro_msm.nn.residual import ResidualMLP


class FieldBasis(nn.Module):
    """Proper orthogonal decomposition of fields: mean, modes and their amplitudes, as buffers.

    Coordinates are whitened: over the training data each has mean 0 and variance 1.

    Args:
        shape: (channel, *grid) of a field.
        rank: number of modes.
    """

    mean: Tensor
    scale: Tensor
    modes: Tensor
    amplitude: Tensor

    def __init__(self, shape: Sequence[int], rank: int) -> None:
        super().__init__()
        self.shape = tuple(shape)
        values = int(torch.Size(shape).numel())
        self.register_buffer("mean", torch.zeros(values))
        self.register_buffer("scale", torch.ones(values))
        self.register_buffer("modes", torch.zeros(rank, values))
        self.register_buffer("amplitude", torch.ones(rank))

    def coordinates(self, field: Tensor) -> Tensor:
        """Whitened coordinates (…, rank) of fields (…, channel, *grid)."""
        return (self.standardised(field) @ self.modes.T) / self.amplitude

    def field(self, coordinates: Tensor) -> Tensor:
        """Fields (…, channel, *grid) of whitened coordinates (…, rank)."""
        standardised = (coordinates * self.amplitude) @ self.modes
        field = self.mean + self.scale * standardised
        return field.unflatten(-1, self.shape)

    def standardised(self, field: Tensor) -> Tensor:
        """Fields flattened, with each channel in units of its standard deviation: (…, values)."""
        return (field.flatten(-len(self.shape)) - self.mean) / self.scale


class FieldEncoder(nn.Module):
    """Latents of fields: the leading POD coordinates plus what a network adds to them.

    Args:
        basis: the decomposition, shared with the decoder.
        latent: size d_z of the latents, at most the basis' rank.
        network: "mlp" (residual, on the whitened coordinates), "convolution" (on the field) or
            "pod" (none: the coordinates themselves; a decoder has a perceptron nevertheless).
        hidden: width (or number of channels) of the network.
        layers: its number of hidden layers.
        variational: also give a standard deviation.
        periodic: whether the axis of a convolution is periodic.
    """

    def __init__(
        self,
        basis: FieldBasis,
        latent: int,
        *,
        network: str = "mlp",
        hidden: int = 100,
        layers: int = 3,
        variational: bool = False,
        periodic: bool = False,
    ) -> None:
        super().__init__()
        # Not registered here: it is the decoder's, and would be saved twice.
        self._shared = (basis,)
        self.latent, self.variational = latent, variational
        outputs = latent * (1 + variational)
        rank = basis.modes.shape[0]
        self.convolution = network == "convolution"
        self.network: nn.Module | None = None
        if self.convolution:
            self.network = ConvolutionalEncoder(basis.shape, outputs, hidden, layers, periodic)
        elif network == "mlp" or variational:
            self.network = ResidualMLP(rank, outputs, hidden, layers, scale=0.1)

    def forward(self, field: Tensor) -> tuple[Tensor, Tensor | None]:
        """Mean and, if variational, log standard deviation (…, latent) of fields."""
        (basis,) = self._shared
        coordinates = basis.coordinates(field)
        if self.network is None:
            return coordinates[..., : self.latent], None
        seen = coordinates
        if self.convolution:
            seen = basis.standardised(field).unflatten(-1, basis.shape)
        found = self.network(seen)
        mean = coordinates[..., : self.latent] + found[..., : self.latent]
        return mean, (found[..., self.latent :] - 3 if self.variational else None)


class FieldDecoder(nn.Module):
    """Fields of latents: the leading POD modes plus what a network adds.

    The perceptron writes in all modes of the basis, each in its own amplitude; the convolutional
    network writes on the grid. Arguments as for ``FieldEncoder``.
    """

    def __init__(
        self,
        basis: FieldBasis,
        latent: int,
        *,
        network: str = "mlp",
        hidden: int = 100,
        layers: int = 3,
        periodic: bool = False,
    ) -> None:
        super().__init__()
        self.basis, self.latent = basis, latent
        rank = basis.modes.shape[0]
        self.convolution = network == "convolution"
        self.network: nn.Module = (
            ConvolutionalDecoder(basis.shape, latent, hidden, layers, periodic)
            if self.convolution
            else ResidualMLP(latent, rank, hidden, layers, scale=0.1)
        )

    def forward(self, latents: Tensor) -> Tensor:
        """(…, channel, *grid) of (…, latent)."""
        rest = self.basis.modes.shape[0] - self.latent
        linear = nn.functional.pad(latents, (0, rest))
        if not self.convolution:
            return self.basis.field(linear + self.network(latents))
        added = self.network(latents).flatten(-len(self.basis.shape)) * self.basis.scale
        return self.basis.field(linear) + added.unflatten(-1, self.basis.shape)


class ConvolutionalEncoder(nn.Module):
    """Numbers of fields on a line: convolutions that halve the grid, then a linear layer.

    Args:
        shape: (channel, x).
        outputs: numbers that are wanted.
        channels: of every hidden layer.
        layers: convolutions.
        periodic: circular padding; otherwise the values at the ends are repeated.
    """

    def __init__(
        self, shape: Sequence[int], outputs: int, channels: int, layers: int, periodic: bool
    ) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        width, points = shape[0], shape[1]
        for _ in range(layers):
            parts += [_convolution(width, channels, periodic, stride=2), nn.SiLU()]
            width, points = channels, -(-points // 2)
        self.convolutions = nn.Sequential(*parts)
        self.last = nn.Linear(width * points, outputs)
        self.last.weight.data.mul_(0.1)
        self.last.bias.data.zero_()

    def forward(self, field: Tensor) -> Tensor:
        """(…, channel, x) to (…, outputs)."""
        lead = field.shape[:-2]
        found = self.convolutions(field.reshape(-1, *field.shape[-2:]))
        return self.last(found.flatten(1)).reshape(*lead, -1)


class ConvolutionalDecoder(nn.Module):
    """Fields on a line: a linear layer, then convolutions after each doubling of the grid.

    The mirror image of ``ConvolutionalEncoder``, whose arguments it has; ``inputs`` are the numbers
    that a field is made of.
    """

    def __init__(
        self, shape: Sequence[int], inputs: int, channels: int, layers: int, periodic: bool
    ) -> None:
        super().__init__()
        self.sizes = [shape[1]]
        for _ in range(layers):
            self.sizes.insert(0, -(-self.sizes[0] // 2))
        self.first = nn.Linear(inputs, channels * self.sizes[0])
        self.channels = channels
        self.convolutions = nn.ModuleList(
            _convolution(channels, channels, periodic) for _ in range(layers)
        )
        self.last = _convolution(channels, shape[0], periodic)
        self.last.weight.data.mul_(0.1)

    def forward(self, latents: Tensor) -> Tensor:
        """(…, inputs) to (…, channel, x)."""
        lead = latents.shape[:-1]
        found = self.first(latents.reshape(-1, latents.shape[-1]))
        found = found.unflatten(1, (self.channels, self.sizes[0]))
        for size, convolution in zip(self.sizes[1:], self.convolutions, strict=True):
            found = nn.functional.interpolate(nn.functional.silu(found), size)
            found = convolution(found)
        found = self.last(nn.functional.silu(found))
        return found.reshape(*lead, *found.shape[1:])


def _convolution(inputs: int, outputs: int, periodic: bool, stride: int = 1) -> nn.Conv1d:
    """Over five points; beyond the ends the field goes round, or keeps its last value."""
    padding: Literal["circular", "replicate"] = "circular" if periodic else "replicate"
    return nn.Conv1d(inputs, outputs, 5, stride, padding=2, padding_mode=padding)
