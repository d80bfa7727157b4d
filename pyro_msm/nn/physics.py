r"""Known physics of the macroscale state: an equation by the names of its terms, or a function.

The macroscale state is no sample of the field u but its average by the scale-separation kernel,
ζ = S u. Where du/dt = N(u), with the same terms everywhere, dζ/dt = S N(u); and what S has weakened
without losing it can be undone: dζ/dt ≈ S N(S⁻¹ζ), approximate deconvolution (Stolz & Adams,
Physics of Fluids 11, 1999). For linear terms S drops out. On periodic axes S truncates the Fourier
series, and this is Galerkin's method. What N takes from waves that the coarse grid does not hold is
left to the learned drift: the closure.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from pyro_msm.errors import InputError
from pyro_msm.nn.scale_separation import AxisKernel, ScaleSeparation, apply_along_axes

#: What becomes of exp(ikx), for an array of k.
Symbol = Callable[[np.ndarray], np.ndarray]

#: (ζ, t, μ) → dζ/dt.
KnownDrift = Callable[[Tensor, Tensor, Tensor | None], Tensor]

#: An equation by its terms, or a function as "package.module:name": what a file can hold.
Physics = Mapping[str, float] | str

#: The terms of an equation, and the boundaries at which each of them is known.
TERMS: dict[str, tuple[str, ...]] = {
    "advection": ("periodic", "open"),
    "self_advection": ("periodic", "open"),
    "diffusion": ("periodic", "open", "wall"),
    "dispersion": ("periodic",),
    "hyperviscosity": ("periodic",),
    "wave_speed": ("periodic", "wall"),
}

#: A wave of which the kernel leaves less than this share cannot be restored.
LOST = 1e-3


class FilteredEquation(nn.Module):
    r"""dζ/dt on the coarse grid of a field's average ζ = S u, S by the kernels of ``scales``.

    With one channel, ``terms`` are coefficients of

    .. math:: u_t = -c\,u_x - a\,u\,u_x + \nu\,u_{xx} - \delta\,u_{xxx} - \kappa\,u_{xxxx}

    (summed over the axes) by the names ``advection`` c, ``self_advection`` a, ``diffusion`` ν,
    ``dispersion`` δ and ``hyperviscosity`` κ. With two channels (u, v) the only term is
    ``wave_speed`` c: u_t = v, v_t = c²∇²u.

    Derivatives are those of the trigonometric interpolant, exact for all waves that the coarse grid
    holds. u u_x is ½(u²)_x, squared on half as many points again, so that no wave of the square is
    taken for another one (3/2 rule). At a wall the field goes on as its mirror image; the outermost
    points of open ends keep their values. All of it is two products with small matrices an axis.

    Args:
        terms: coefficients, in the units of the field, of its lengths and of time.
        scales: the scale separation, with sharp kernels.
        spacing: distance between the grid points of the field, each axis.
        channels: channels of the field.

    Raises:
        InputError: terms that are unknown or do not fit the channels, the boundary or the grid.

    Example:
        >>> scales = ScaleSeparation((40,), (20,), ("periodic",), sharp=True)
        >>> advection = FilteredEquation({"advection": 1.0}, scales, [0.1], channels=1)
        >>> x = 0.2 * torch.arange(20)
        >>> rate = advection(torch.sin(torch.pi * x)[None], torch.zeros(()), None)
        >>> torch.allclose(rate[0], -torch.pi * torch.cos(torch.pi * x), atol=1e-4)
        True
    """

    axes: Sequence[AxisOperators]

    def __init__(
        self,
        terms: Mapping[str, float],
        scales: ScaleSeparation,
        spacing: Sequence[float],
        channels: int,
    ) -> None:
        super().__init__()
        check_terms(terms, scales.boundary, channels)
        self.second_order = "wave_speed" in terms
        self.self_advection = terms.get("self_advection", 0.0)
        self.axes = nn.ModuleList(  # type: ignore[assignment]
            AxisOperators(terms, axis, width)
            for axis, width in zip(scales.axes, spacing, strict=True)
        )

    def forward(self, macro: Tensor, times: Tensor, parameters: Tensor | None) -> Tensor:
        """ζ (…, channel, *macro) → dζ/dt; times and parameters change nothing."""
        if self.second_order:
            channel = -1 - len(self.axes)
            field, velocity = macro.unbind(channel)
            return torch.stack([velocity, self._linear(field)], channel)
        rate = self._linear(macro)
        if self.self_advection:
            square = apply_along_axes([axis.sharpen for axis in self.axes], macro).square()
            for along in self.axes:
                each = [axis.slope if axis is along else axis.keep for axis in self.axes]
                rate = rate - 0.5 * self.self_advection * apply_along_axes(each, square)
        return self._held(rate)

    def _held(self, rate: Tensor) -> Tensor:
        """Zero where points keep their values."""
        for position, axis in enumerate(self.axes, start=-len(self.axes)):
            if axis.boundary == "open":
                rate = (rate.movedim(position, -1) * axis.free).movedim(-1, position)
        return rate

    def _linear(self, field: Tensor) -> Tensor:
        rate = torch.zeros_like(field)
        for position, axis in enumerate(self.axes, start=-len(self.axes)):
            rate = rate + (field.movedim(position, -1) @ axis.linear.T).movedim(-1, position)
        return rate


class AxisOperators(nn.Module):
    """The matrices of a ``FilteredEquation`` along an axis of n coarse points; m ≥ 3n/2.

    Attributes:
        linear: (n, n) the linear terms.
        sharpen: (m, n) S⁻¹, onto m points.
        keep: (n, m) S, back from them.
        slope: (n, m) S ∂.
        free: (n,) 0 for points that keep their values, else 1.
    """

    linear: Tensor
    sharpen: Tensor
    keep: Tensor
    slope: Tensor
    free: Tensor

    def __init__(self, terms: Mapping[str, float], kernel: AxisKernel, spacing: float) -> None:
        super().__init__()
        points = (kernel.coarse_index.cpu().numpy() + 0.5) * spacing
        length, self.boundary = kernel.points * spacing, kernel.boundary
        count = math.ceil(1.5 * len(points))
        fine = (np.arange(count) + 0.5) * length / count
        free = torch.ones(len(points))
        if self.boundary == "open":
            fine = np.linspace(points[0], points[-1], count)
            free[[0, -1]] = 0.0
        self.register_buffer("free", free)

        def smooth(k: np.ndarray) -> np.ndarray:
            return _symbol(kernel, k * spacing)

        def add(name: str, symbol: Symbol, onto: np.ndarray, of: np.ndarray) -> None:
            matrix = _multiplier(symbol, onto, of, len(points), length, self.boundary)
            self.register_buffer(name, matrix)

        add("linear", lambda k: _linear_terms(terms, k), points, points)
        add("sharpen", lambda k: _inverse(smooth(k)), fine, points)
        add("keep", smooth, points, fine)
        add("slope", lambda k: 1j * k * smooth(k), points, fine)


class WellResolved(nn.Module):
    """The part of a coarse field in its longest waves: where closures see and act.

    The encoded macroscale state carries noise of the observations in all its waves alike, and an
    equation answers to it the more strongly the shorter they are. A drift that is learned beside
    the equation on such states learns to undo that answer, and with it the equation, unless those
    waves are out of its reach.

    Args:
        scales: the scale separation.
        share: of the waves that the coarse grid holds on an axis.
    """

    def __init__(self, scales: ScaleSeparation, share: float) -> None:
        super().__init__()
        self.macro = scales.macro
        for position, axis in enumerate(scales.axes):
            points = axis.coarse_index.cpu().numpy() + 0.5
            boundary = "periodic" if axis.boundary == "periodic" else "wall"
            longest = share * np.pi / axis.stride * (1 + 1e-9)
            matrix = _multiplier(
                lambda k, most=longest: (np.abs(k) <= most).astype(float),  # type: ignore[misc]
                points, points, len(points), axis.points, boundary,
            )  # fmt: skip
            self.register_buffer(f"axis_{position}", matrix, persistent=False)

    def forward(self, macro: Tensor) -> Tensor:
        """(…, channel, points) → the same shape."""
        matrices = [self.get_buffer(f"axis_{position}") for position in range(len(self.macro))]
        return apply_along_axes(matrices, macro.unflatten(-1, self.macro)).flatten(-len(self.macro))


def _linear_terms(terms: Mapping[str, float], k: np.ndarray) -> np.ndarray:
    """What the linear terms make of exp(ikx)."""
    derivative = 1j * k
    return (
        -terms.get("advection", 0.0) * derivative
        + (terms.get("diffusion", 0.0) + terms.get("wave_speed", 0.0) ** 2) * derivative**2
        - terms.get("dispersion", 0.0) * derivative**3
        - terms.get("hyperviscosity", 0.0) * derivative**4
    )


def _inverse(symbol: np.ndarray) -> np.ndarray:
    """1/S, but nothing of waves that S has taken away."""
    kept = np.abs(symbol) > LOST
    return np.where(kept, 1 / np.where(kept, symbol, 1.0), 0.0)


def _symbol(kernel: AxisKernel, angle: np.ndarray) -> np.ndarray:
    """What an even kernel makes of a wave that turns by ``angle`` (…) from point to point."""
    offsets = np.arange(-kernel.reach, kernel.reach + 1)
    return np.cos(angle[..., None] * offsets) @ kernel.weights.detach().double().cpu().numpy()


def _multiplier(
    symbol: Symbol, there: np.ndarray, here: np.ndarray, held: int, length: float, boundary: str
) -> Tensor:
    """(there, here) matrix that multiplies the waves exp(ikx) of a field by ``symbol(k)``.

    From values at positions ``here`` to values at ``there``. Waves are those that ``held`` points
    hold: of a periodic field, at equal distances; beyond a wall, of its mirror image; between open
    ends, sines on top of the straight line from end to end, whose values are given.
    """
    if boundary == "periodic":
        modes = np.arange(-(held // 2), held // 2 + 1)
        k = 2 * np.pi / length * modes
        # An even number of points holds the shortest wave in one phase only: half of it counts.
        share = np.where(2 * np.abs(modes) == held, 0.5, 1.0) / len(here)
        amplitudes = share[:, None] * np.exp(-1j * np.outer(k, here))
        matrix = (np.exp(1j * np.outer(there, k)) * symbol(k) @ amplitudes).real
    elif boundary == "wall":
        k = np.pi / length * np.arange(held)
        amplitudes = np.linalg.pinv(np.cos(np.outer(here, k)))
        matrix = (np.exp(1j * np.outer(there, k)) * symbol(k)).real @ amplitudes
    else:
        matrix = _between_ends(symbol, there, here, held)
    return torch.tensor(matrix, dtype=torch.float32)


def _between_ends(symbol: Symbol, there: np.ndarray, here: np.ndarray, held: int) -> np.ndarray:
    """``_multiplier`` of a straight line from end to end and sines on top of it."""
    first, distance = here[0], here[-1] - here[0]
    ends = np.eye(len(here))[[0, -1]]

    def line(x: np.ndarray) -> np.ndarray:
        return np.stack([distance - (x - first), x - first], 1) / distance

    k = np.pi / distance * np.arange(1, held - 1)
    rest = np.eye(len(here)) - line(here) @ ends
    amplitudes = np.linalg.pinv(np.sin(np.outer(here - first, k))) @ rest
    waves = (np.exp(1j * np.outer(there - first, k)) * symbol(k)).imag
    # To a straight line, symbol(k) is its value at 0 plus its slope there times a derivative.
    small = np.array([0.0, 1e-6 * k[0]])
    at_zero, near = symbol(small)
    steepness = ((near - at_zero) / (1j * small[1])).real * np.array([-1.0, 1.0]) / distance
    return waves @ amplitudes + (at_zero.real * line(there) + steepness) @ ends


def known_physics(
    physics: Physics | None,
    scales: ScaleSeparation,
    spacing: Sequence[float] | None,
    channels: int,
    parameters: int,
) -> KnownDrift | None:
    """The known drift that ``MultiscaleSDE(physics=…)`` asks for; see there for the arguments.

    Raises:
        InputError: it does not fit the model, or cannot be imported.
    """
    if physics is None:
        return None
    if isinstance(physics, str):
        known = imported(physics)
        _check_rate(known, physics, (1, channels, *scales.macro), parameters)
        return known
    if spacing is None:
        raise InputError("physics by its terms needs the spacing of the grid: give both")
    return FilteredEquation(physics, scales, spacing, channels)


def check_terms(terms: Mapping[str, float], boundary: Sequence[str], channels: int) -> None:
    """Raises ``InputError`` if there is no ``FilteredEquation`` of these terms."""
    unknown = [name for name in terms if name not in TERMS]
    if unknown or not terms:
        found = f"the term {unknown[0]!r}" if unknown else "no term"
        raise InputError(f"model.physics names {found}: expected some of {', '.join(TERMS)}")
    for name in terms:
        wrong = [kind for kind in boundary if kind not in TERMS[name]]
        if wrong:
            raise InputError(
                f"model.physics: {name} is known at {' and '.join(TERMS[name])} boundaries, and "
                f"here is a {wrong[0]} one: use 'none', or a function as package.module:name"
            )
    wanted = 2 if "wave_speed" in terms else 1
    if channels != wanted:
        raise InputError(
            f"model.physics: an equation of {', '.join(terms)} has {wanted} channel(s), and the "
            f"field has {channels}: use 'none', or a function as package.module:name"
        )
    if wanted == 2 and len(terms) > 1:
        raise InputError(f"model.physics: wave_speed stands alone, and here are {', '.join(terms)}")


def imported(reference: str) -> KnownDrift:
    """The function that ``reference``, "package.module:name", refers to.

    Raises:
        InputError: it is no such reference, cannot be imported, or is no function.
    """
    place, colon, name = reference.partition(":")
    if not (place and colon and name):
        raise InputError(
            f"model.physics = {reference!r}: expected 'none', 'system', a table of terms, or a "
            "function as package.module:name"
        )
    try:
        found = getattr(importlib.import_module(place), name)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"model.physics = {reference!r} cannot be imported ({error}): install its package, or "
            "put its folder on PYTHONPATH"
        ) from error
    if not callable(found):
        raise InputError(f"model.physics = {reference!r} is of {type(found)}, no function")
    known: KnownDrift = found
    return known


def _check_rate(known: KnownDrift, reference: str, shape: tuple[int, ...], parameters: int) -> None:
    """Raises ``InputError`` if a function makes no rate of a state of this shape."""
    state = torch.zeros(shape, requires_grad=True)
    given = torch.zeros(1, parameters) if parameters else None
    try:
        found = tuple(known(state, torch.zeros(1), given).shape)
    except Exception as error:
        raise InputError(
            f"model.physics = {reference!r} fails for a state of shape {shape}: {error!r}"
        ) from error
    if found != shape:
        raise InputError(
            f"model.physics = {reference!r} returns {found} for a state of shape {shape}: "
            "expected its rate of change, of the same shape"
        )
