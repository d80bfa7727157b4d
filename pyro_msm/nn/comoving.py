"""A frame that moves with the field: microscale parts that are exactly translation equivariant.

On a periodic axis a pattern may stand anywhere. The first two microscale components are the cosine
and the sine of the pattern's angle; the others, the encoder and the decoder see the field turned
back by that angle. This is symmetry reduction by slicing (Budanur et al., Phys. Rev. Lett. 114,
084102, 2015), with the angle of the field's energy in place of that of its first Fourier mode,
which may vanish.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pyro_msm.nn.drift import MacroDrift
from pyro_msm.nn.micro import ResidualMap
from pyro_msm.nn.mlp import mlp
from pyro_msm.nn.scale_separation import AxisKernel

#: Components of the microscale state that hold the angle.
ANGLE = 2


def energy_angle(field: Tensor) -> Tensor:
    """Angle of the centre of energy of fields (…, channel, n) on a periodic axis, (…).

    The energy is the squared deviation from the spatial mean, each channel counted by its own.
    """
    points = field.shape[-1]
    position = 2 * math.pi * torch.arange(points, device=field.device) / points
    energy = (field - field.mean(-1, keepdim=True)).square()
    energy = (energy / energy.mean(-1, keepdim=True).clamp(min=1e-12)).sum(-2)
    return torch.atan2(energy @ position.sin(), energy @ position.cos())


def wave_numbers(points: int) -> int:
    """How many waves the moving frame keeps on an axis: all that are resolved, at most 128."""
    return min((points - 1) // 2, 128)


class FourierBasis(nn.Module):
    """Fourier coefficients of fields on a periodic axis, as 2·modes real numbers a channel.

    Args:
        points: n, grid points.
        modes: wave numbers 1 … modes.
    """

    analysis: Tensor
    synthesis: Tensor
    numbers: Tensor

    def __init__(self, points: int, modes: int) -> None:
        super().__init__()
        numbers = torch.arange(1, modes + 1)
        angles = 2 * math.pi * torch.outer(numbers.double(), torch.arange(points).double()) / points
        waves = torch.cat([angles.cos(), angles.sin()]).float()
        self.register_buffer("numbers", numbers, persistent=False)
        self.register_buffer("synthesis", waves, persistent=False)
        self.register_buffer("analysis", waves.T * (2 / points), persistent=False)

    def turned(self, coefficients: Tensor, angle: Tensor) -> Tensor:
        """Coefficients (…, channel, 2·modes) of θ ↦ y(θ + angle), for angles (…)."""
        cosine, sine = coefficients.chunk(2, -1)
        phase = angle[..., None, None] * self.numbers
        c, s = phase.cos(), phase.sin()
        return torch.cat([c * cosine + s * sine, c * sine - s * cosine], -1)


def residual_gain(kernel: AxisKernel, basis: FourierBasis) -> Tensor:
    """(2·modes,) what is left of each wave by y − S(y), for a kernel that is nearly symmetric."""
    offsets = torch.arange(-kernel.reach, kernel.reach + 1, device=kernel.taps.device)
    phase = 2 * math.pi / kernel.points * basis.numbers[:, None] * offsets
    return (1 - phase.cos() @ kernel.weights).repeat(2)


class ComovingDecoder(nn.Module):
    """D_η in the moving frame: the angle says where, the other components what.

    Args:
        basis: (rank, channel · 2·modes) initial waves, in the frame, of order-one coefficients.
        points: grid points.
        channels: channels of the field.
        micro: n_η, two of them the angle.
        hidden: width of the perceptron.
    """

    def __init__(self, basis: Tensor, points: int, channels: int, micro: int, hidden: int) -> None:
        super().__init__()
        self.channels = channels
        self.fourier = FourierBasis(points, basis.shape[1] // (2 * channels))
        self.basis = nn.Parameter(basis.clone())
        self.offset = nn.Parameter(torch.zeros(basis.shape[1]))
        inner = micro - ANGLE
        self.coefficients = ResidualMap(torch.eye(len(basis), inner), hidden)

    def forward(self, micro: Tensor, points: Tensor | None = None) -> Tensor:
        """(…, n_η) → (…, channel · n), or the values at some grid points."""
        angle = torch.atan2(micro[..., 1], micro[..., 0])
        spectrum = self.offset + self.coefficients(micro[..., ANGLE:]) @ self.basis
        turned = self.fourier.turned(spectrum.unflatten(-1, (self.channels, -1)), -angle)
        waves = self.fourier.synthesis if points is None else self.fourier.synthesis[:, points]
        return (turned @ waves).flatten(-2)


class ComovingEncoder(nn.Module):
    """E_η and all variances in the moving frame; the arguments of ``PathEncoder``.

    Args:
        basis: (rank, channel · 2·modes) initial rows that give coefficients of order one.
        offset: (rank,) means of the coefficients.
        points: grid points.
        channels: channels of the field.
        snapshots: consecutive snapshots that are seen at once.
        micro: n_η.
        hidden: width of the perceptrons.
    """

    def __init__(
        self, basis: Tensor, offset: Tensor, points: int, channels: int, snapshots: int, micro: int,
        hidden: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.channels = channels
        self.fourier = FourierBasis(points, basis.shape[1] // (2 * channels))
        self.basis = nn.Parameter(basis.clone())
        self.offset = nn.Parameter(offset.clone())
        rank = len(basis)
        seen = snapshots * rank
        start = torch.zeros(micro - ANGLE, seen)
        start[:, seen - rank :] = torch.eye(micro - ANGLE, rank)
        self.code = ResidualMap(start, hidden)
        self.spread = mlp(seen, channels + micro, hidden, 1, scale=0.0)

    def forward(self, field: Tensor, kernel: AxisKernel) -> tuple[Tensor, Tensor]:
        """Snapshots (…, snapshots, channel, n) → η (…, n_η) and log spread (…, channel + n_η)."""
        angle = energy_angle(field[..., -1, :, :])
        waves = (field @ self.fourier.analysis) * residual_gain(kernel, self.fourier)
        waves = self.fourier.turned(waves, angle[..., None]).flatten(-2)
        seen = (waves @ self.basis.T - self.offset).flatten(-2)
        place = torch.stack([angle.cos(), angle.sin()], -1)
        return torch.cat([place, self.code(seen)], -1), self.spread(seen)


class ComovingMacroDrift(nn.Module):
    """f_θ(ζ, φ(η)) where φ(η) is what does not turn, and each point's place in the frame.

    Args:
        local: the shared local drift; its context is two harmonics of the place (4), the inner
            components of η, and whatever else all points see.
        points: coarse points.
        offset: position of the first coarse point, in coarse spacings.
    """

    position: Tensor

    def __init__(self, local: MacroDrift, points: int, offset: float) -> None:
        super().__init__()
        self.local = local
        position = 2 * math.pi * (torch.arange(points) + offset) / points
        self.register_buffer("position", position, persistent=False)

    def forward(self, macro: Tensor, context: Tensor) -> Tensor:
        """ζ (…, channel, points) and [η, shared] (…, width) → dζ/dt (…, channel, points)."""
        angle = torch.atan2(context[..., 1], context[..., 0])
        place = self.position - angle[..., None]
        harmonics = torch.stack(
            [place.cos(), place.sin(), (2 * place).cos(), (2 * place).sin()], -1
        )
        inner = context[..., None, ANGLE:].expand(*place.shape, -1)
        result: Tensor = self.local(macro, torch.cat([harmonics, inner], -1))
        return result


class ComovingMicroDrift(nn.Module):
    """g_θ(η, ψ(ζ)) in the moving frame: the angle turns, the radius is pulled to one.

    The angle turns by ``turn``, the same everywhere, plus what the perceptron makes of the state,
    in units of ``turn_spread``: the mean and the spread of what the data show. A pattern that moves
    at a constant speed does so from the start, and keeps to it whatever changes around it.

    Args:
        micro: n_η.
        channels: channels of the field.
        points: coarse points.
        offset: position of the first coarse point, in coarse spacings.
        context: width of parameters and forcing.
        hidden: width of the hidden layers.
        layers: number of hidden layers.
    """

    turn: Tensor
    turn_spread: Tensor

    def __init__(
        self, micro: int, channels: int, points: int, offset: float, context: int, hidden: int,
        layers: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.channels, self.points, self.offset = channels, points, offset
        self.fourier = FourierBasis(points, (points - 1) // 2)
        width = channels * (1 + 2 * ((points - 1) // 2))
        self.network = mlp(micro - ANGLE + width + context, micro - ANGLE + 1, hidden, layers, 0.0)
        self.register_buffer("turn", torch.zeros(()))
        self.register_buffer("turn_spread", torch.ones(()))
        self.pull = nn.Parameter(torch.zeros(()))

    def forward(self, micro: Tensor, macro: Tensor, context: Tensor | None) -> Tensor:
        """η (…, n_η), flattened ζ and context → dη/dt (…, n_η)."""
        angle = torch.atan2(micro[..., 1], micro[..., 0])
        points = macro.unflatten(-1, (self.channels, -1))
        shift = 2 * math.pi * self.offset / self.points
        waves = self.fourier.turned(points @ self.fourier.analysis, angle - shift)
        seen = [micro[..., ANGLE:], points.mean(-1), waves.flatten(-2)]
        if context is not None:
            seen.append(context)
        turn, inner = self.network(torch.cat(seen, -1)).split([1, micro.shape[-1] - ANGLE], -1)
        turn = self.turn + self.turn_spread * turn
        c, s = micro[..., :1], micro[..., 1:2]
        inward = nn.functional.softplus(self.pull) * (1 - c.square() - s.square())
        return torch.cat([inward * c - turn * s, inward * s + turn * c, inner], -1)
