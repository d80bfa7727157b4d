"""What the macroscale state tells of the field between its points beyond an interpolation."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from pyro_msm.errors import InputError
from pyro_msm.nn.drift import neighbours
from pyro_msm.nn.mlp import mlp

#: Coarse points along an axis from which the detail of a cell is told.
REACH = 5


class LocalDetail(nn.Module):
    """One perceptron for all coarse cells, from a neighbourhood of ζ to the field inside the cell.

    A wave that steepens or a soliton of a certain height has a shape: where the coarse points see
    its amplitude they tell, locally, what they do not resolve. Nothing at first.

    Args:
        grid: points of each axis of the field.
        macro: coarse points of each axis; each must divide the grid's, so that cells are equal.
        boundary: boundary of each axis, see ``padded_index``.
        channels: channels of the field.
        hidden: width of the two hidden layers.

    Raises:
        InputError: cells that are not equal.

    Example:
        >>> import torch
        >>> detail = LocalDetail((12, 8), (3, 2), ("periodic", "wall"), channels=2, hidden=4)
        >>> detail(torch.ones(5, 2, 6)).shape
        torch.Size([5, 2, 12, 8])
    """

    neighbours: Tensor

    def __init__(
        self,
        grid: Sequence[int],
        macro: Sequence[int],
        boundary: Sequence[str],
        channels: int,
        hidden: int,
    ) -> None:
        super().__init__()
        if any(n % m for n, m in zip(grid, macro, strict=True)):
            raise InputError(
                f"model.detail = {hidden} needs coarse cells of equal size, and model.macro = "
                f"{list(macro)} does not divide the grid of {list(grid)} points: give 0, or a size "
                "that does"
            )
        self.grid, self.macro = tuple(grid), tuple(macro)
        self.cell = tuple(n // m for n, m in zip(grid, macro, strict=True))
        self.channels = channels
        self.register_buffer("neighbours", neighbours(macro, boundary, REACH), persistent=False)
        inside = channels
        for width in self.cell:
            inside *= width
        self.network = mlp(channels * self.neighbours.shape[1], inside, hidden, 2, scale=0.0)

    def forward(self, macro: Tensor) -> Tensor:
        """ζ, scaled, (…, channel, points) → (…, channel, *grid)."""
        seen = macro[..., self.neighbours].movedim(-3, -2).flatten(-2)
        inside = self.network(seen).unflatten(-1, (self.channels, *self.cell))
        inside = inside.unflatten(-2 - len(self.cell), self.macro)
        # (…, *macro, channel, *cell) → (…, channel, macro₁, cell₁, macro₂, cell₂)
        axes = len(self.macro)
        inside = inside.movedim(-1 - axes, -1 - 2 * axes)
        for axis in range(axes - 1):
            inside = inside.movedim(-axes + axis, -2 * axes + 2 * axis + 1)
        result: Tensor = inside.reshape(*inside.shape[: -2 * axes], *self.grid)
        return result
