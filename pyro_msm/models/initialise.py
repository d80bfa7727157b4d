"""Sizes, scales and initial weights of a multiscale model, measured on training data."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.nn import functional

from pyro_msm import data as datasets
from pyro_msm.data.evenly import evenly
from pyro_msm.data.gaps import with_gaps
from pyro_msm.errors import InputError
from pyro_msm.models.turning import turning
from pyro_msm.nn import ScaleSeparation, apply_along_axes
from pyro_msm.nn.comoving import ANGLE, FourierBasis, energy_angle, wave_numbers

#: What is looked at of the data, at most: so many snapshots, and so many numbers in them.
SNAPSHOTS, NUMBERS = 1500, 2**26
#: Trajectories whose every snapshot tells how a pattern moves.
TURNING = 64


@dataclass(frozen=True)
class Statistics:
    """What ``MultiscaleSDE.for_data`` learns from the data before training.

    Attributes:
        grid: points of each axis.
        macro: coarse points of each axis.
        boundary: boundary of each axis.
        sizes: arguments of the model that the data decide.
        buffers: scales, by their names in the network.
        parameters: initial values of parameters, by their names in the network.
        encoder_basis: (rank, values) rows that give the encoder's coefficients; None without η.
        encoder_offset: (rank,) mean coefficients.
    """

    grid: tuple[int, ...]
    macro: tuple[int, ...]
    boundary: tuple[str, ...]
    sizes: dict[str, int]
    buffers: dict[str, Tensor]
    parameters: dict[str, Tensor]
    encoder_basis: Tensor | None
    encoder_offset: Tensor | None


class Basis(NamedTuple):
    """A principal basis of data: coefficients ``(y − mean) @ rows.T`` have unit variance.

    Attributes:
        mean: (values,).
        modes: (rank, values) with y ≈ mean + coefficients @ modes.
        rows: (rank, values).
    """

    mean: Tensor
    modes: Tensor
    rows: Tensor


def measure(
    data: xr.Dataset,
    macro: int | Sequence[int],
    micro: int,
    largest_rank: int,
    frame: str = "fixed",
    scales: ScaleSeparation | None = None,
    sharp: bool = False,
    order: int = 1,
) -> Statistics:
    """Measures the ``train`` split of a validated dataset: see ``Statistics``.

    The scales are separated by ``scales``; None takes the kernel that an untrained model has, with
    known physics the ``sharp`` one.

    Raises:
        InputError: no such split, or ``macro`` or ``micro`` does not fit the data.
    """
    train = datasets.select(data, "train")
    grid = tuple(train["field"].shape[3:])
    boundary = tuple(data.attrs["boundary"])
    coarse = check_macro(macro, grid, boundary)
    scales = scales or ScaleSeparation(grid, coarse, boundary, sharp)
    with torch.no_grad():
        sample = _sample(train, order)
        state = _macro_state(sample, scales)
        rest = scales.beyond_macro(sample.now)
        channels = sample.now.shape[1]
        parameters = {"log_macro_var": _log_var(rest)}
        sizes = {"channels": channels, **_shared_sizes(train)}
        basis, moving = None, {}
        if frame == "comoving":
            check_frame(grid, boundary, micro)
        if micro:
            see = view_from(frame)
            inner = micro - ANGLE if frame == "comoving" else micro
            separate = scales.beyond_smooth if frame == "comoving" else scales.beyond_macro
            fine = see(separate(sample.now), sample.now)
            basis = principal_basis(fine, largest_rank, inner)
            if len(basis.rows) < inner:
                raise InputError(
                    f"model.micro = {micro} is more than the {len(basis.rows)} modes of "
                    f"{len(fine)} training snapshots of {fine.shape[1]} numbers: lower it"
                )
            code = _micro_state(sample, basis, inner, lambda field: see(separate(field), field))
            parameters |= _decoder(see(rest, sample.now), basis, code.now)
            if sharp:  # an equation that is known stands alone until training adds to it
                parameters["decoder.coefficients.linear"].zero_()
            if frame == "comoving":
                code, turn, spread = _with_angle(sample, code, train)
                moving = {"micro_drift.turn": turn, "micro_drift.turn_spread": spread}
            state = StateScales(*(torch.cat(pair, -1) for pair in zip(state, code, strict=True)))
            parameters["log_micro_var"] = parameters["log_macro_var"] - math.log(20.0)
            sizes["rank"] = len(basis.rows)
        parameters |= initial_law(state.first, state.scale)
    times = train["time"].values
    step = {"frame_step": torch.tensor(float(times[-1] - times[0]) / (len(times) - 1))}
    buffers = (step if order == 2 else {}) | {
        "state_mean": state.mean,
        "state_scale": state.scale,
        "state_rate": state.rate,
    }
    return Statistics(
        grid, coarse, boundary, sizes, buffers | moving | _shared_scales(train), parameters,
        None if basis is None else basis.rows,
        None if basis is None else basis.rows @ basis.mean,
    )  # fmt: skip


def initial_law(first: Tensor, scale: Tensor) -> dict[str, Tensor]:
    """μ₀ and ln σ₀ from the states (trajectory, part) at the start of trajectories."""
    variance = first.var(0, correction=0) + (0.1 * scale).square()
    return {"initial_mean": first.mean(0), "initial_log_std": 0.5 * variance.log()}


class Sample(NamedTuple):
    """Snapshots (m, channel, *grid) spread over a split, and the first ones (trajectory, …).

    ``later`` and ``second`` are those a lag after these; the latter of second order only.
    """

    now: Tensor
    later: Tensor
    first: Tensor
    second: Tensor | None
    lag: float


class StateScales(NamedTuple):
    """Part of the state in the sample: (m, part) now, (trajectory, part) first, else (part,)."""

    now: Tensor
    first: Tensor
    mean: Tensor
    scale: Tensor
    rate: Tensor


def _macro_state(sample: Sample, scales: ScaleSeparation) -> StateScales:
    """ζ by the initial kernel: one mean, scale and rate for all points of a channel.

    Of second order its rates follow, which are taken to change at the pace of their values.
    """
    restriction = scales.restriction()
    now, later, first = (
        apply_along_axes(restriction, field) for field in (sample.now, sample.later, sample.first)
    )
    points = now[0, 0].numel()

    def per_point(value: Tensor) -> Tensor:
        return value.repeat_interleave(points)

    by_channel = now.movedim(1, 0).flatten(1)
    moving = (later - now) / sample.lag
    speed = moving.movedim(1, 0).flatten(1).std(1)
    scale = by_channel.std(1).clamp(min=1e-6)
    values = StateScales(
        now.flatten(1),
        first.flatten(1),
        per_point(by_channel.mean(1)),
        per_point(scale),
        per_point(speed.clamp(min=1e-6 * scale)),
    )
    if sample.second is None:
        return values
    second = apply_along_axes(restriction, sample.second)
    rates = StateScales(
        moving.flatten(1),
        ((second - first) / sample.lag).flatten(1),
        torch.zeros_like(values.mean),
        values.rate,
        values.rate.square() / values.scale,
    )
    return StateScales(*(torch.cat(pair, -1) for pair in zip(values, rates, strict=True)))


def view_from(frame: str) -> Callable[[Tensor, Tensor], Tensor]:
    """How the microscale parts in a frame see a part of a field: (part, field) → (m, values)."""
    return _turned if frame == "comoving" else _untouched


def _untouched(part: Tensor, _: Tensor) -> Tensor:
    """A part of a field, (m, channel, *grid) → (m, values)."""
    return part.flatten(1)


def _turned(part: Tensor, field: Tensor) -> Tensor:
    """Waves of a part of a field in the field's moving frame, (m, channel, n) → (m, waves)."""
    fourier = FourierBasis(part.shape[-1], wave_numbers(part.shape[-1]))
    return fourier.turned(part @ fourier.analysis, energy_angle(field)).flatten(1)


def _with_angle(
    sample: Sample, code: StateScales, train: xr.Dataset
) -> tuple[StateScales, Tensor, Tensor]:
    """Cosine and sine of the angle before the inner components; mean and spread of its turn.

    The last two are in units of the turn's root mean square.
    """
    now, later, first = (energy_angle(f) for f in (sample.now, sample.later, sample.first))
    turn = torch.remainder(later - now + math.pi, 2 * math.pi) - math.pi
    rate = (turn / sample.lag).square().mean().sqrt().clamp(min=1e-3)
    place = [torch.stack([a.cos(), a.sin()], -1) for a in (now, first)]
    added = (*place, torch.zeros(ANGLE), torch.ones(ANGLE), rate.expand(ANGLE))
    scales = StateScales(*(torch.cat(pair, -1) for pair in zip(added, code, strict=True)))
    times = train["time"].values
    frame = float(times[-1] - times[0]) / (len(times) - 1)
    mean, spread = (torch.tensor(part) / frame / rate for part in turning(_angles(train)))
    return scales, mean, spread


def _angles(train: xr.Dataset) -> np.ndarray:
    """(trajectory, time) energy angles of every snapshot of some trajectories, unwrapped."""
    count = train.sizes["trajectory"]
    paths = []
    for index in _spread(count, min(count, TURNING)):
        field = torch.tensor(_without_gaps(train.isel(trajectory=[index])))[0]
        paths.append(energy_angle(field.float()).double().numpy())
    return np.unwrap(np.array(paths), axis=1)


def check_frame(grid: Sequence[int], boundary: Sequence[str], micro: int) -> None:
    """Raises ``InputError`` if a moving frame does not fit the field."""
    if len(grid) != 1 or boundary[0] != "periodic":
        raise InputError(
            f"model.frame = 'comoving' needs one periodic axis; the field has {len(grid)} "
            f"({', '.join(boundary)}): use 'fixed'"
        )
    if micro <= ANGLE:
        raise InputError(
            f"model.frame = 'comoving' keeps the angle in {ANGLE} microscale components: "
            f"model.micro must be at least {ANGLE + 1}, not {micro}"
        )


def check_order(order: int, snapshots: int, frame: str, known: bool) -> None:
    """Raises ``InputError`` if an order in time does not go with the other settings."""
    if order not in (1, 2):
        raise InputError(f"model.order is 1 or 2, not {order}")
    if order == 1:
        return
    if snapshots < 2:
        raise InputError(
            "model.order = 2 needs model.snapshots of at least 2: one does not show how fast the "
            "field changes"
        )
    if known or frame == "comoving":
        raise InputError(
            "model.order = 2 learns the rate's own drift in a fixed frame: leave out "
            + ("model.physics" if known else "model.frame")
        )


def _micro_state(
    sample: Sample, basis: Basis, micro: int, fine: Callable[[Tensor], Tensor]
) -> StateScales:
    """η as the leading coefficients of what is ``fine`` in a field, which have unit variance."""
    rows = basis.rows[:micro]
    now, later, first = (
        (fine(field) - basis.mean) @ rows.T for field in (sample.now, sample.later, sample.first)
    )
    rate = ((later - now) / sample.lag).std(0).clamp(min=1e-6)
    return StateScales(now, first, torch.zeros(micro), torch.ones(micro), rate)


def _decoder(rest: Tensor, encoder: Basis, code: Tensor) -> dict[str, Tensor]:
    """Initial decoder: principal modes of the rest, their coefficients regressed on η."""
    rank = len(encoder.rows)
    basis = principal_basis(rest, rank, min(rank, code.shape[1]))
    coefficients = (rest - basis.mean) @ basis.rows.T
    # In float64: rounded, the same last bit every time, which LAPACK does not promise.
    wide = code.double()
    linear = torch.linalg.pinv(wide.T @ wide) @ (wide.T @ coefficients.double())
    linear = linear.T.float()
    missing = rank - len(basis.modes)
    return {
        "decoder.basis": functional.pad(basis.modes, (0, 0, 0, missing)),
        "decoder.offset": basis.mean,
        "decoder.coefficients.linear": functional.pad(linear, (0, 0, 0, missing)),
    }


def check_macro(
    macro: int | Sequence[int], grid: Sequence[int], boundary: Sequence[str]
) -> tuple[int, ...]:
    """Coarse points of each axis.

    Raises:
        InputError: a size that does not divide the grid, with those near it that do.
    """
    coarse = tuple(macro) if isinstance(macro, Sequence) else (macro,) * len(grid)
    if len(coarse) != len(grid):
        raise InputError(
            f"model.macro = {list(coarse)} names {len(coarse)} axes, the field has {len(grid)}: "
            "give one number, or one for each axis"
        )
    for points, size, kind in zip(grid, coarse, boundary, strict=True):
        fitting = fitting_sizes(points, kind)
        if size not in fitting:
            near = sorted(sorted(fitting, key=lambda n: abs(n - size))[:4])
            raise InputError(
                f"model.macro = {size} does not divide the grid of {points} points "
                f"({kind} boundary): try {', '.join(map(str, near))}"
            )
    return coarse


def fitting_sizes(points: int, boundary: str) -> list[int]:
    """Coarse sizes ≥ 2 that divide an axis: n/size, or (n−1)/(size−1) on a grid with end points."""
    sizes = {m for m in range(2, points + 1) if points % m == 0}
    if boundary != "periodic":
        sizes |= {m for m in range(2, points + 1) if (points - 1) % (m - 1) == 0}
    return sorted(sizes)


def principal_basis(rows: Tensor, largest: int, least: int) -> Basis:
    """Principal modes of (m, values) that stand out of the noise.

    The cut is the optimal hard threshold for singular values of Gavish & Donoho (2014), with the
    noise level from the median singular value; at most ``largest`` and at least ``least`` modes.
    """
    mean = rows.mean(0)
    centred = rows - mean
    count, values = centred.shape
    if count <= values:
        squared, left = torch.linalg.eigh((centred @ centred.T).double())
        singular = squared.flip(0).clamp(min=0).sqrt().float()
        modes = (left.flip(1).float().T @ centred) / singular.clamp(min=1e-12)[:, None]
    else:
        squared, right = torch.linalg.eigh((centred.T @ centred).double())
        singular = squared.flip(0).clamp(min=0).sqrt().float()
        modes = right.flip(1).float().T.contiguous()
    aspect = min(count, values) / max(count, values)
    omega = 0.56 * aspect**3 - 0.95 * aspect**2 + 1.82 * aspect + 1.43
    threshold = max(omega * float(singular.median()), 1e-5 * float(singular[0]))
    rank = max(least, min(int((singular > threshold).sum()), largest))
    std = (singular[:rank] / count**0.5).clamp(min=1e-6)[:, None]
    return Basis(mean, std * modes[:rank], modes[:rank] / std)


def _sample(train: xr.Dataset, order: int) -> Sample:
    """Snapshots of up to SNAPSHOTS; the lag is a few time steps, so that noise does not rule it.

    No others are read. The tensors are copies: PyTorch's memory is aligned, NumPy's may not be, and
    the last bit of a matrix product depends on that.
    """
    field = train["field"]
    trajectories, count = field.shape[:2]
    most = max(2, min(SNAPSHOTS, NUMBERS // math.prod(field.shape[2:])))
    which = _spread(trajectories, min(trajectories, most // 2))
    steps = max(1, min(8, (count - 1) // 4))
    chosen = _spread(count - steps, min(count - steps, max(2, most // len(which))))
    times = train["time"].values
    asked = [chosen, chosen + steps, [0]] + ([[steps]] if order == 2 else [])
    now, later, first, *second = (
        torch.tensor(_without_gaps(train.isel(trajectory=which, time=index))).float()
        for index in asked
    )
    lag = float(times[-1] - times[0]) / (count - 1) * steps
    after = second[0][:, 0] if second else None
    return Sample(now.flatten(0, 1), later.flatten(0, 1), first[:, 0], after, lag)


def _without_gaps(part: xr.Dataset) -> np.ndarray:
    """The field (trajectory, time, channel, *grid), its channels' means where unobserved."""
    values = with_gaps(part)
    lost = ~np.isfinite(values)
    if not lost.any():
        return values
    others = tuple(axis for axis in range(values.ndim) if axis != 2)
    count = np.maximum((~lost).sum(others, keepdims=True), 1)
    mean = np.where(lost, 0, values).sum(others, keepdims=True) / count
    return np.where(lost, mean, values)


def _spread(count: int, chosen: int) -> np.ndarray:
    """Indices spread evenly over 0, …, count − 1, the first and the last among them."""
    return evenly(0, count - 1, chosen)


def _log_var(rest: Tensor) -> Tensor:
    """(channel,) log mean square of (m, channel, *grid)."""
    per_channel = rest.movedim(1, 0).flatten(1)
    return per_channel.square().mean(1).clamp(min=1e-12).log()


def _shared_sizes(train: xr.Dataset) -> dict[str, int]:
    return {
        name: train[name].shape[-1] if name in train else 0 for name in ("parameters", "forcing")
    }


def _shared_scales(train: xr.Dataset) -> dict[str, Tensor]:
    """Mean and scale of parameters and forcing, and the time scale."""
    columns = []
    if "parameters" in train:
        columns.append(np.asarray(train["parameters"].values, np.float32))
    if "forcing" in train:
        columns.append(np.asarray(train["forcing"].values, np.float32))
    means = [c.reshape(-1, c.shape[-1]).mean(0) for c in columns]
    scales = [c.reshape(-1, c.shape[-1]).std(0) for c in columns]
    times = train["time"].values
    duration = torch.tensor(float(times[-1] - times[0]))
    if not columns:
        return {"time_scale": duration}
    scale = np.concatenate(scales)
    return {
        "shared_mean": torch.as_tensor(np.concatenate(means)),
        "shared_scale": torch.as_tensor(np.where(scale > 0, scale, 1.0).astype(np.float32)),
        "time_scale": duration,
    }
