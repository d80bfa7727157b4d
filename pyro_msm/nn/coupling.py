"""The known part of a slow–fast system: how its slow variable feels the fast one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_msm.errors import InputError

#: (x, y) → b or σ; leading axes broadcast.
Coefficient = Callable[[Tensor, Tensor], Tensor]

#: Slow and fast values at which a coupling is tried.
PROBES = (3, 64)


@dataclass(frozen=True)
class Coupling:
    r"""The coefficients of dX = b(X, Y) dt + σ(X, Y) dW, Y fast and unobserved.

    The coefficients work in the precision and on the device of their arguments, so that x and y may
    be float32 or float64.

    Args:
        drift: b, (x (…, slow), y (…, fast)) → (…, slow); the leading axes of x and y broadcast.
        diffusion: σ, the same arguments → (…, slow, noise); None where Σ̄ is to be learned.
        slow: components of x.
        fast: components of y.
        noise: components of W; None where ``diffusion`` is.

    Raises:
        InputError: a coefficient that fails, has another shape, gives values that are not finite,
            or a σ whose σσᵀ, averaged over standard normal y, is singular.

    Example:
        >>> well = Coupling(
        ...     drift=lambda x, y: x - x**3 - x * y**2,
        ...     diffusion=lambda x, y: (0.5 + 0 * (x + y))[..., None],
        ...     slow=1, fast=1, noise=1,
        ... )
        >>> well.drift(torch.zeros(7, 1, 1), torch.zeros(100, 1)).shape
        torch.Size([7, 100, 1])
    """

    drift: Coefficient
    diffusion: Coefficient | None
    slow: int
    fast: int
    noise: int | None

    def __post_init__(self) -> None:
        for name in ("slow", "fast"):
            _check_size(name, getattr(self, name))
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(PROBES[0], 1, self.slow, generator=generator, dtype=torch.float64)
        y = torch.randn(PROBES[1], self.fast, generator=generator, dtype=torch.float64)
        _tried("drift", self.drift, x, y, (*PROBES, self.slow))
        if self.diffusion is None:
            return
        _check_size("noise", self.noise)
        sigma = _tried("diffusion", self.diffusion, x, y, (*PROBES, self.slow, self.noise))
        smallest = float(torch.linalg.eigvalsh((sigma @ sigma.mT).mean(1)).min())
        if not smallest > 0:
            raise InputError(
                "the coupling's diffusion σ is not positive definite: the mean of σσᵀ has the "
                f"eigenvalue {smallest:.3g}; every slow component needs noise of its own"
            )


def _check_size(name: str, value: int | None) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"the coupling's size {name} is {value!r}: expected a whole number from 1")


def _tried(
    name: str, coefficient: Coefficient, x: Tensor, y: Tensor, shape: tuple[int | None, ...]
) -> Tensor:
    """The coefficient at x (n, 1, slow) and y (m, fast), if it is (n, m, …) and finite."""
    given = f"x of shape {tuple(x.shape)} and y of shape {tuple(y.shape)}"
    try:
        found = coefficient(x, y)
    except Exception as error:
        raise InputError(f"the coupling's {name} fails for {given}: {error!r}") from error
    if not isinstance(found, Tensor) or tuple(found.shape) != shape:
        kind = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise InputError(
            f"the coupling's {name} returns {kind} for {given}: expected a tensor of shape {shape}"
        )
    if not torch.isfinite(found).all():
        raise InputError(f"the coupling's {name} is not finite for standard normal x and y")
    return found
