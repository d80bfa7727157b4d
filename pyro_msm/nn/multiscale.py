"""The networks of the stochastic multiscale model: drift, dispersion, experts, encoder."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from pyro_msm.distributions import ProductOfExperts
from pyro_msm.nn.comoving import (
    ANGLE,
    ComovingDecoder,
    ComovingEncoder,
    ComovingMacroDrift,
    ComovingMicroDrift,
    wave_numbers,
)
from pyro_msm.nn.detail import LocalDetail
from pyro_msm.nn.dispersion import StateGain
from pyro_msm.nn.drift import MacroDrift, MicroDrift
from pyro_msm.nn.micro import MicroDecoder, ResidualMap
from pyro_msm.nn.mlp import mlp
from pyro_msm.nn.physics import KnownDrift, Physics, WellResolved, known_physics
from pyro_msm.nn.scale_separation import ScaleSeparation, apply_along_axes

#: Factor on the posterior's least standard deviation for the angle of a moving frame.
ANGLE_FLOOR = 0.1

#: Initial logarithm of the scaled dispersion where the macroscale's physics is known.
KNOWN_DISPERSION = -5.0

#: Numbers in the matrix that ``mean_field`` may build.
LARGEST_MATRIX = 8_000_000


class MultiscaleNetwork(nn.Module):
    """Everything learned in the generative process of ``MultiscaleSDE``, whose arguments it takes.

    The state is one vector: ζ (channels × coarse points, flattened), of second order then its rates
    (as many), and then η. Its scale and its pace, measured on data and kept as buffers, bring every
    network's inputs and outputs to order 1.
    """

    decoder: MicroDecoder | ComovingDecoder
    macro_drift: MacroDrift | ComovingMacroDrift
    micro_drift: MicroDrift | ComovingMicroDrift
    state_mean: Tensor
    state_scale: Tensor
    state_rate: Tensor
    frame_step: Tensor
    shared_mean: Tensor
    shared_scale: Tensor
    time_scale: Tensor

    def __init__(
        self,
        grid: Sequence[int],
        macro: Sequence[int],
        boundary: Sequence[str],
        *,
        channels: int,
        micro: int,
        rank: int,
        hidden: int,
        drift_hidden: int,
        drift_layers: int,
        neighbourhood: int,
        view: int,
        parameters: int,
        forcing: int,
        time_input: bool,
        frame: str = "fixed",
        detail: int = 0,
        closure: float = 0.5,
        dispersion: str = "constant",
        order: int = 1,
        physics: Physics | None = None,
        spacing: Sequence[float] | None = None,
        known_drift: KnownDrift | None = None,
    ) -> None:
        super().__init__()
        self.grid, self.macro = tuple(grid), tuple(macro)
        self.channels, self.micro, self.time_input = channels, micro, time_input
        self.parameters_seen, self.forcing_seen = bool(parameters), bool(forcing)
        # Of second order in time, ζ holds the field's coarse values, and after them their rates.
        self.order = order
        self.macro_values = order * channels * int(np.prod(macro))
        self.values = channels * int(np.prod(grid))
        self.state_size = self.macro_values + micro
        shared = parameters + forcing + int(time_input)
        known = physics is not None or known_drift is not None
        self.scales = ScaleSeparation(grid, macro, boundary, sharp=known)
        self.known_drift = known_drift or known_physics(
            physics, self.scales, spacing, channels, parameters
        )
        self.closure = WellResolved(self.scales, closure) if known else None
        self.macro_drift = MacroDrift(
            macro, boundary, order * channels, micro + shared, neighbourhood, drift_hidden,
            drift_layers, self.closure_scale,
        )  # fmt: skip
        self.detail = LocalDetail(grid, macro, boundary, channels, detail) if detail else None
        if micro:
            self.decoder = MicroDecoder(torch.zeros(rank, self.values), micro, hidden, channels)
            self.micro_drift = MicroDrift(
                micro, self.macro_values, shared, view, 2 * drift_hidden, drift_layers
            )
        if frame == "comoving":
            self._move_frame(rank, hidden, shared, neighbourhood, drift_hidden, drift_layers)
        self.state_gain = None
        if micro and dispersion == "state":
            fixed = ANGLE if frame == "comoving" else 0
            self.state_gain = StateGain(micro, order * channels, fixed)
        if micro:
            self.log_micro_var = nn.Parameter(torch.zeros(channels))
        self.log_dispersion = nn.Parameter(torch.full((self.state_size,), -2.0))
        if known:
            self.log_dispersion.data[: self.macro_values] = KNOWN_DISPERSION
        self.log_macro_var = nn.Parameter(torch.zeros(channels))
        self.initial_mean = nn.Parameter(torch.zeros(self.state_size))
        self.initial_log_std = nn.Parameter(torch.zeros(self.state_size))
        for name in ("state_mean", "state_scale", "state_rate"):
            self.register_buffer(name, torch.ones(self.state_size))
        self.register_buffer("shared_mean", torch.zeros(parameters + forcing))
        self.register_buffer("shared_scale", torch.ones(parameters + forcing))
        self.register_buffer("time_scale", torch.ones(()))
        if order == 2:
            self.register_buffer("frame_step", torch.ones(()))

    def _move_frame(
        self, rank: int, hidden: int, shared: int, neighbourhood: int, drift_hidden: int,
        drift_layers: int,
    ) -> None:  # fmt: skip
        """Replaces the parts that are tied to places by those of the moving frame."""
        (axis,) = self.scales.axes
        offset = (axis.stride // 2) / axis.stride
        waves = 2 * wave_numbers(axis.points) * self.channels
        self.decoder = ComovingDecoder(
            torch.zeros(rank, waves), axis.points, self.channels, self.micro, hidden
        )
        self.macro_drift = ComovingMacroDrift(
            MacroDrift(
                self.macro, self.scales.boundary, self.channels, 4 + self.micro - ANGLE + shared,
                neighbourhood, drift_hidden, drift_layers, self.closure_scale,
            ),
            axis.coarse, offset,
        )  # fmt: skip
        self.micro_drift = ComovingMicroDrift(
            self.micro, self.channels, axis.coarse, offset, shared, 2 * drift_hidden, drift_layers
        )

    @property
    def closure_scale(self) -> float:
        """Where physics is known, what is learned of the macroscale drift starts at zero."""
        return 1.0 if self.closure is None else 0.0

    @property
    def angles(self) -> int:
        """Components of η that say where a pattern stands, not what it is."""
        moving = self.micro and isinstance(self.decoder, ComovingDecoder)
        return ANGLE if moving else 0

    def split(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """State (…, state) → ζ (…, order · channel, points) and η (…, n_η)."""
        macro, micro = state.split([self.macro_values, self.micro], -1)
        return macro.unflatten(-1, (self.order * self.channels, -1)), micro

    def context(
        self, times: Tensor, parameters: Tensor | None, forcing: Callable[[Tensor], Tensor] | None
    ) -> Tensor | None:
        """What the drifts see beside the state, scaled: μ, f(t) and, if wanted, t.

        Args:
            times: (batch, n) absolute.
            parameters: (batch, parameter) or None.
            forcing: function of the times, to (batch, n, component), or None.

        Returns:
            (batch, n, width), or None where there is nothing to see.
        """
        parts = []
        if parameters is not None and self.parameters_seen:
            parts.append(parameters[..., None, :].expand(*times.shape, -1))
        if forcing is not None and self.forcing_seen:
            parts.append(forcing(times))
        if parts:
            parts = [(torch.cat(parts, -1) - self.shared_mean) / self.shared_scale]
        if self.time_input:
            parts.append((times / self.time_scale)[..., None])
        return torch.cat(parts, -1) if parts else None

    def drift(
        self,
        times: Tensor,
        state: Tensor,
        context: Tensor | None = None,
        parameters: Tensor | None = None,
    ) -> Tensor:
        """[f, g] at ``times`` (…) and states (…, state), in units of the state per unit of time.

        ``times``, ``context`` (…, width) and ``parameters`` (…, parameter), which only the known
        physics sees, broadcast with the leading dimensions of the state.
        """
        rate = self.learned_drift(state, context)
        return rate if self.known_drift is None else rate + self.physics(times, state, parameters)

    def learned_drift(self, state: Tensor, context: Tensor | None = None) -> Tensor:
        """What is learned of ``drift``: all of it, or what known physics leaves."""
        scaled = (state - self.state_mean) / self.state_scale
        macro, micro = self.split(scaled)
        if context is not None:
            context = context.expand(*state.shape[:-1], -1)
        seen = micro if context is None else torch.cat([micro, context], -1)
        rate = self._learned(macro, seen if seen.shape[-1] else None).flatten(-2)
        if self.micro:
            rate = torch.cat([rate, self.micro_drift(micro, macro.flatten(-2), context)], -1)
        rate = rate * self.state_rate
        if self.order == 1:
            return rate
        half = self.macro_values // 2
        return torch.cat([rate[..., :half] + state[..., half : 2 * half], rate[..., half:]], -1)

    def physics(self, times: Tensor, state: Tensor, parameters: Tensor | None) -> Tensor:
        """What is known of ``drift``, where anything is."""
        assert self.known_drift is not None
        field = self.split(state)[0].unflatten(-1, self.macro)
        known = self.known_drift(field, times, parameters).flatten(-1 - len(self.macro))
        return nn.functional.pad(known, (0, self.micro))

    def _learned(self, macro: Tensor, seen: Tensor | None) -> Tensor:
        """What is learned of f (…, channel, points): all of it, or what known physics leaves."""
        if self.closure is None:
            return self.macro_drift(macro, seen)
        return self.closure(self.macro_drift(self.closure(macro), seen))

    @property
    def dispersion(self) -> Tensor:
        """The diagonal of L, (state,), in units of the state per square root of time.

        Where it depends on the state this is what ``gain`` multiplies.
        """
        return self.log_dispersion.exp() * (self.state_scale * self.state_rate).sqrt()

    def gain(self, state: Tensor) -> Tensor:
        """Factors (…, state) on the dispersion at states (…, state); ones where it is constant."""
        if self.state_gain is None:
            return torch.ones_like(state)
        factors: Tensor = self.state_gain(*self.split((state - self.state_mean) / self.state_scale))
        return factors

    def _shown(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """What observations see of ζ, (…, channel, points), and η."""
        macro, micro = self.split(state)
        return macro[..., : self.channels, :], micro

    def macro_part(self, state: Tensor) -> Tensor:
        """D_ζ(ζ): states (…, state) → (…, channel, *grid)."""
        macro, _ = self._shown(state)
        field = apply_along_axes(self.scales.prolongation(), macro.unflatten(-1, self.macro))
        return field if self.detail is None else field + self._detail(state)

    def _detail(self, state: Tensor) -> Tensor:
        """What D_ζ adds to the linear prolongation, (…, state) → (…, channel, *grid)."""
        macro, _ = self._shown((state - self.state_mean) / self.state_scale)
        scale, _ = self.split(self.state_scale)
        added: Tensor = self.detail(macro) if self.detail is not None else macro.new_zeros(())
        return added * scale[: self.channels, :1].unflatten(-1, (1,) * len(self.grid))

    def experts(self, state: Tensor, points: Tensor | None = None) -> ProductOfExperts:
        """The observation's law given states (…, state).

        Args:
            state: (…, state).
            points: (P,) indices of grid points, the grid flattened; None means the whole grid.

        Returns:
            Batch shape (…, channel, *grid), or (…, channel, P).
        """
        macro, micro = self._shown(state)
        if points is None:
            shape = (self.channels, *(1 for _ in self.grid))
            macro_mean = self.macro_part(state)
        else:
            shape = (self.channels, 1)
            macro_mean = macro @ self._prolongation_at(points).T
            if self.detail is not None:
                macro_mean = macro_mean + self._detail(state).flatten(-len(self.grid))[..., points]
        if self.micro:
            micro_mean = self.decoder(micro, points).reshape(macro_mean.shape)
            micro_var = self.log_micro_var.exp().reshape(shape)
        else:
            micro_mean = macro_mean.new_zeros(())
            micro_var = macro_mean.new_full((), torch.inf)
        macro_var = self.log_macro_var.exp().reshape(shape)
        return ProductOfExperts(macro_mean, micro_mean, macro_var, micro_var, validate_args=False)

    def _prolongation_at(self, points: Tensor) -> Tensor:
        """(P, coarse points) rows of the prolongation over all axes."""
        rows = self.log_macro_var.new_ones(len(points), 1)
        for matrix, index in zip(
            self.scales.prolongation(), torch.unravel_index(points, self.grid), strict=True
        ):
            rows = (rows[:, :, None] * matrix[index][:, None, :]).flatten(1)
        return rows

    def mean_field(self, state: Tensor) -> Tensor:
        """The mean of ``experts``, (…, state) → (…, channel, *grid), in one matrix product.

        But for the detail, all that follows the microscale decoder's coefficients is linear; where
        its matrix is small enough to be written down, no intermediate field is.
        """
        inputs = self.macro_values // self.order + (len(self.decoder.basis) if self.micro else 0)
        if self.angles or inputs * self.values > LARGEST_MATRIX:
            return self.experts(state).mean
        prolongation = torch.ones(1, 1, device=state.device)
        for matrix in (torch.eye(self.channels, device=state.device), *self.scales.prolongation()):
            prolongation = torch.kron(prolongation, matrix.contiguous())
        rows, offset = prolongation.T, state.new_zeros(self.values)
        macro, micro = self._shown(state)
        macro = macro.flatten(-2)
        if self.micro:
            variance = self.log_macro_var.exp()
            weight = variance / (variance + self.log_micro_var.exp())
            weight = weight.repeat_interleave(self.values // self.channels)
            rows = torch.cat([rows, weight * self.decoder.basis])
            offset = weight * self.decoder.offset
            macro = torch.cat([macro, self.decoder.coefficients(micro)], -1)
        field = torch.addmm(offset, macro.reshape(-1, len(rows)), rows)
        field = field.reshape(*state.shape[:-1], self.channels, *self.grid)
        return field if self.detail is None else field + self._detail(state)


class PathEncoder(nn.Module):
    r"""Posterior at single times, from the snapshots up to each.

    The mean of ζ is the restriction of the field, E_ζ(y), by the generative model's kernel; that of
    its rate, where the state holds one, is a weighted sum of those of the snapshots, at first the
    slope of a line through them. η and all variances come from perceptrons of what the macroscale
    state cannot show of the field, seen through a learned basis. In a fixed frame that is
    y − D_ζ(E_ζ(y)), and the basis absorbs D_ζ, ⟨b, y − D ζ⟩ = ⟨b, y⟩ − ⟨Dᵀb, ζ⟩, so that no field
    is ever computed; in a moving frame it is y − S_θ(y), which does not know where the coarse
    points stand.

    Args:
        network: the generative networks; their scale separation is used, not copied.
        basis: (rank, values) initial rows b, scaled so that their coefficients are of order 1.
        offset: (rank,) means of the coefficients.
        snapshots: consecutive snapshots that are seen at once.
        hidden: width of the perceptrons.
        std_floor: least standard deviation, relative to the state's scale.
    """

    floor: Tensor

    def __init__(
        self,
        network: MultiscaleNetwork,
        basis: Tensor,
        offset: Tensor,
        *,
        snapshots: int,
        hidden: int,
        std_floor: float,
    ) -> None:
        super().__init__()
        self.micro = network.micro
        if network.order == 2:
            line = torch.arange(snapshots) - 0.5 * (snapshots - 1)
            self.slope = nn.Parameter(line / line.square().sum())
        # The interpolation's length scale, in node spacings, and its relative noise variance.
        self.log_length = nn.Parameter(torch.tensor(0.7))
        self.log_nugget = nn.Parameter(torch.tensor(-4.6))
        self.log_std = nn.Parameter(torch.full((network.state_size,), -3.0))
        floor = torch.full((network.state_size,), std_floor)
        self.moving = None
        if network.angles:
            # The angle places every sharp feature of the field: a wide tube would blur them all.
            angle = slice(network.macro_values, network.macro_values + ANGLE)
            floor[angle] *= ANGLE_FLOOR
            self.log_std.data[angle] += math.log(ANGLE_FLOOR)
            self.moving = ComovingEncoder(
                basis, offset, network.grid[0], network.channels, snapshots, self.micro, hidden
            )
        elif self.micro:
            self.basis = nn.Parameter(basis.clone())
            self.offset = nn.Parameter(offset.clone())
            rank = len(basis)
            seen = snapshots * rank
            start = torch.zeros(self.micro, seen)
            start[:, seen - rank :] = torch.eye(self.micro, rank)
            self.code = ResidualMap(start, hidden)
            self.spread = mlp(seen, network.state_size, hidden, 1, scale=0.0)
        self.register_buffer("floor", floor, persistent=False)

    def forward(self, field: Tensor, network: MultiscaleNetwork) -> tuple[Tensor, Tensor]:
        """Snapshots (…, snapshots, channel, *grid) → mean and log variance, (…, state)."""
        axes = len(network.grid)
        scales = network.scales
        macro = apply_along_axes(scales.restriction(), field).flatten(-1 - axes)
        mean = macro.select(-2, -1)
        if network.order == 2:
            # What all snapshots share is no rate.
            slope = (self.slope - self.slope.mean()) / network.frame_step
            rate = torch.einsum("s,...sp->...p", slope, macro)
            mean = torch.cat([mean, rate], -1)
        log_std: Tensor = self.log_std
        if self.moving is not None:
            micro, spread = self.moving(field, scales.axes[0])
            macro_spread, micro_spread = spread.split([network.channels, self.micro], -1)
            points = network.macro_values // network.channels
            spread = torch.cat([macro_spread.repeat_interleave(points, -1), micro_spread], -1)
            mean, log_std = torch.cat([mean, micro], -1), log_std + spread
        elif self.micro:
            rows = self.basis.unflatten(-1, (network.channels, *network.grid))
            shown = apply_along_axes([m.T for m in scales.prolongation()], rows).flatten(1)
            seen = field.flatten(-1 - axes) @ self.basis.T - macro @ shown.T
            seen = (seen - self.offset).flatten(-2)
            mean = torch.cat([mean, self.code(seen)], -1)
            log_std = log_std + self.spread(seen)
        # Far from the training data the perceptron may say anything: at most the state's own scale.
        std = self.floor + log_std.sigmoid()
        log_var = 2 * (std.log() + network.state_scale.log())
        return mean, log_var.expand(mean.shape)
