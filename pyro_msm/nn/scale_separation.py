"""One kernel that smooths, restricts and prolongs: the split of a field into two scales."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyro_msm.nn.boundaries import padded_index

#: Points of an axis up to which the smoother is a matrix, and a Fourier transform beyond.
LARGEST_SMOOTHER = 512
#: Lobes of Lanczos' window on either side: of pulses between walls (100 cells) 3 lose .30 %, 8 lose
#: .11 % and 16 lose .14 %.
LOBES = 8


class AxisKernel(nn.Module):
    """The scale-separation kernel along one axis of the grid.

    A coarse cell is ``stride`` grid points wide and its value stands at one of them
    (``coarse_index``). The taps start as a Gaussian of standard deviation ``stride`` points, cut
    off at three of them, and are normalised to sum to one wherever they are used. A ``sharp``
    kernel is not learned and keeps what the coarse points resolve of a field, and nothing else: on
    a periodic axis Dirichlet's, by which restriction is truncation of the Fourier series and
    prolongation its sum; elsewhere, nearly so, Lanczos' windowed sinc of ``LOBES`` cells (Duchon,
    J. Appl. Meteorol. 18, 1979).

    Args:
        points: n, number of grid points.
        coarse: number of coarse points: divides n, or on a grid with both end points (``wall`` and
            ``open`` boundaries) coarse−1 divides n−1.
        boundary: see ``padded_index``.
        sharp: whether the kernel is the sharp one.
    """

    taps: Tensor
    coarse_index: Tensor
    _padded: Tensor
    _cells: Tensor
    _everywhere: Tensor

    def __init__(self, points: int, coarse: int, boundary: str, sharp: bool = False) -> None:
        super().__init__()
        self.points, self.coarse, self.boundary = points, coarse, boundary
        if points % coarse == 0:
            stride = points // coarse
            coarse_index = torch.arange(coarse) * stride + stride // 2
        else:
            stride = (points - 1) // (coarse - 1)
            coarse_index = torch.arange(coarse) * stride
        self.stride = stride
        dirichlet = sharp and boundary == "periodic"
        lobes = LOBES if sharp else 3
        self.reach = points // 2 if dirichlet else min(lobes * stride, points - 1)
        cells = torch.arange(-self.reach, self.reach + 1) / stride
        # Taps of size about 1, not 1/stride: Adam moves a parameter by its learning rate a step,
        # whatever the parameter's size.
        if dirichlet:
            self.register_buffer("taps", _dirichlet(points, coarse))
        elif sharp:
            self.register_buffer("taps", torch.sinc(cells) * torch.sinc(cells / LOBES))
        else:
            self.taps = nn.Parameter(torch.exp(-0.5 * cells.square()))
        padded = padded_index(points, self.reach, boundary)
        window = torch.arange(2 * self.reach + 1)
        columns = padded[coarse_index[:, None] + window]
        self.register_buffer("coarse_index", coarse_index, persistent=False)
        self.register_buffer("_padded", padded, persistent=False)
        self.register_buffer("_cells", _flat(columns, points), persistent=False)
        if points <= LARGEST_SMOOTHER:
            everywhere = _flat(padded[torch.arange(points)[:, None] + window], points)
            self.register_buffer("_everywhere", everywhere, persistent=False)

    @property
    def weights(self) -> Tensor:
        """(2·reach+1,) the taps, summing to one."""
        return self.taps / self.taps.sum()

    def restriction(self) -> Tensor:
        """(coarse, n): rows average the field around the coarse points; rows sum to one."""
        matrix = self.taps.new_zeros(self.coarse * self.points)
        values = self.weights.expand(self.coarse, -1).reshape(-1)
        return matrix.index_add(0, self._cells, values).reshape(self.coarse, self.points)

    def prolongation(self, restriction: Tensor) -> Tensor:
        """(n, coarse): Sᵀ / Sᵀ1, the transpose with rows that sum to one, so constants survive."""
        transposed = self.stride * restriction.T
        return transposed / transposed.sum(1, keepdim=True).clamp(min=0.1)

    def smoother(self) -> Tensor:
        """(n, n) matrix of the smoother S: the kernel at stride 1."""
        matrix = self.taps.new_zeros(self.points**2)
        values = self.weights.expand(self.points, -1).reshape(-1)
        return matrix.index_add(0, self._everywhere, values).reshape(self.points, self.points)

    def smooth(self, field: Tensor) -> Tensor:
        """S v along the last axis, (…, n)."""
        if self.points <= LARGEST_SMOOTHER:
            return field @ self.smoother().T
        padded = field[..., self._padded]
        size = padded.shape[-1] + 2 * self.reach
        spectrum = torch.fft.rfft(padded, size) * torch.fft.rfft(self.weights.flip(0), size)
        return torch.fft.irfft(spectrum, size)[..., 2 * self.reach : 2 * self.reach + self.points]


def _dirichlet(points: int, coarse: int) -> Tensor:
    """(2·(points // 2) + 1,) sum of the waves that turn less than half a circle from cell to cell.

    The shortest wave of an even number of cells, which they hold in one phase only, is left out.
    """
    offsets = torch.arange(-(points // 2), points // 2 + 1)
    waves = torch.arange(1, (coarse + 1) // 2)
    turns = torch.outer(offsets.double(), waves.double()) / points
    taps = (1 + 2 * torch.cos(2 * torch.pi * turns).sum(1)) / coarse
    if points % 2 == 0:  # both ends are the same point
        taps[[0, -1]] /= 2
    return taps.float()


def _flat(columns: Tensor, points: int) -> Tensor:
    return (columns + points * torch.arange(len(columns))[:, None]).reshape(-1)


class ScaleSeparation(nn.Module):
    """Smoother, restriction and prolongation of a field on a grid, one kernel an axis.

    Channels share the kernels. Everything is linear in the field, and the macroscale state stays in
    the field's units: a constant field restricts to that constant and prolongs back to it.

    Args:
        grid: points of each axis.
        macro: coarse points of each axis.
        boundary: one of "periodic", "wall", "open" for each axis.
        sharp: whether the kernels are the sharp ones, see ``AxisKernel``.
    """

    axes: Sequence[AxisKernel]

    def __init__(
        self,
        grid: Sequence[int],
        macro: Sequence[int],
        boundary: Sequence[str],
        sharp: bool = False,
    ) -> None:
        super().__init__()
        self.grid, self.macro, self.boundary = tuple(grid), tuple(macro), tuple(boundary)
        self.axes = nn.ModuleList(  # type: ignore[assignment]
            AxisKernel(n, m, b, sharp) for n, m, b in zip(grid, macro, boundary, strict=True)
        )

    def restriction(self) -> list[Tensor]:
        """The restriction matrices of the axes."""
        return [axis.restriction() for axis in self.axes]

    def prolongation(self) -> list[Tensor]:
        """The prolongation matrices of the axes."""
        return [axis.prolongation(axis.restriction()) for axis in self.axes]

    def smooth(self, field: Tensor) -> Tensor:
        """S(y): the field (…, *grid) averaged by the kernel around every grid point."""
        for position, axis in enumerate(self.axes, start=-len(self.grid)):
            field = axis.smooth(field.movedim(position, -1)).movedim(-1, position)
        return field

    def beyond_smooth(self, field: Tensor) -> Tensor:
        """y − S(y), the same wherever a feature of the field (…, *grid) stands."""
        return field - self.smooth(field)

    def beyond_macro(self, field: Tensor) -> Tensor:
        """y − D_ζ(E_ζ(y)), what the macroscale state cannot show of a field (…, *grid)."""
        macro = apply_along_axes(self.restriction(), field)
        return field - apply_along_axes(self.prolongation(), macro)


def apply_along_axes(matrices: Sequence[Tensor], field: Tensor) -> Tensor:
    """Applies one matrix (out, in) to each of the last axes of ``field`` (…, *in) → (…, *out)."""
    # The last axis first: it lies together in memory, and what is moved after it is smaller.
    field = field @ matrices[-1].T
    for position, matrix in enumerate(matrices[:-1], start=-len(matrices)):
        field = (field.movedim(position, -1) @ matrix.T).movedim(-1, position)
    return field
