"""Fisher scoring for averaged dynamics, and the directions of weight space that a path informs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import jacrev, vmap

from pyro_msm.data.increments import Increments
from pyro_msm.models.slow_fast import AveragedSDE, log_likelihood

#: Places whose derivatives are taken together.
CHUNK = 128

#: Smallest and largest damping of a step, in units of the prior's precision.
DAMPING = (1e-3, 1e6)


@dataclass(frozen=True)
class Linearisation:
    r"""The objective about whitened weights u: ½|J(u′ - u) - ρ|² + ½|u′|² up to a constant.

    Rows of J: for each place, √s₀ L⁻¹ ∂b̄, √(n/2) L⁻¹ ∂Σ̄ L⁻ᵀ with Σ̄ = LLᵀ, and the moment penalty
    as the square of one number. JᵀJ is the expected Fisher information of the path.

    Attributes:
        jacobian: J, (rows, weights).
        residual: ρ, (rows,).
    """

    jacobian: Tensor
    residual: Tensor


def linearise(
    model: AveragedSDE, cells: Increments, base: tuple[Tensor, Tensor], whitened: Tensor
) -> Linearisation:
    """The objective of an unrestricted model about ``whitened`` weights.

    Args:
        model: its basis is not set.
        cells: sums over cells of the increments.
        base: one set of base points.
        whitened: u, (weights,).
    """
    with torch.no_grad():
        now = model.averages(model.weights(whitened), cells.place, base)
    drift, covariance = now.drift[0], now.covariance[0]
    root = torch.linalg.cholesky(covariance)
    inverse = torch.linalg.inv(root)
    by_drift = cells.duration.sqrt()[:, None, None] * inverse
    halves = (cells.count / 2).sqrt()[:, None, None]
    share = (2 * model.penalty * cells.duration / cells.duration.sum()).sqrt()

    def outputs(y: Tensor, mass: Tensor, u: Tensor, *row: Tensor) -> Tensor:
        x, by_drift, half, inverse, share = row
        found = model.averages_over(y[None, None], mass[None, None], model.weights(u), x[None])
        spread = half * (inverse @ found.covariance[0, 0] @ inverse.mT)
        parts = [by_drift @ found.drift[0, 0], spread.flatten()]
        if model.penalty:
            parts.append(share * found.moment.sqrt())
        return torch.cat(parts)

    rows = cells.place, by_drift, halves, inverse, share
    jacobian = _jacobian(model, outputs, whitened, base, rows)
    missed = cells.displacement - cells.duration[:, None] * drift
    misfit = _misfit(cells, drift) - cells.count[:, None, None] * covariance
    whitened_misfit = inverse @ misfit @ inverse.mT / (2 * cells.count).sqrt()[:, None, None]
    score = (inverse @ missed[..., None])[..., 0] / cells.duration.sqrt()[:, None]
    residual = [score, whitened_misfit.flatten(1)]
    if model.penalty:
        residual.append(-(share * now.moment.sqrt())[:, None])
    return Linearisation(jacobian.flatten(0, 1), torch.cat(residual, 1).flatten())


def _jacobian(
    model: AveragedSDE,
    outputs: Callable[..., Tensor],
    whitened: Tensor,
    base: tuple[Tensor, Tensor],
    rows: tuple[Tensor, ...],
) -> Tensor:
    """(cells, outputs, weights): derivative of ``outputs(y, mass, u, *row)``, where y and its mass
    come of u too."""
    each = (0,) * len(rows)
    if model.conditional:

        def composed(u: Tensor, *row: Tensor) -> Tensor:
            y, mass = model.fast_values(model.weights(u), row[0][None], base)
            return outputs(y[0, 0], mass[0, 0], u, *row)

        return vmap(jacrev(composed), (None, *each), chunk_size=CHUNK)(whitened, *rows)

    # All places share the values of y, whose derivatives are then taken once, point by point.
    def value(u: Tensor, point: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        one = point[None, None], weight[None, None]
        y, mass = model.fast_values(model.weights(u), rows[0][:1], one)
        return y[0, 0], mass[0, 0]

    points = base[0][0], base[1][0]
    y, mass = (part.flatten(0, 1) for part in vmap(value, (None, 0, 0))(whitened, *points))
    slopes = vmap(jacrev(value), (None, 0, 0), chunk_size=CHUNK)(whitened, *points)
    y_slope, mass_slope = (slope.flatten(0, 1) for slope in slopes)
    by_value, by_mass, direct = vmap(
        jacrev(outputs, (0, 1, 2)), (None, None, None, *each), chunk_size=CHUNK
    )(y, mass, whitened, *rows)
    return (
        torch.einsum("nkli,liw->nkw", by_value, y_slope)
        + torch.einsum("nkl,lw->nkw", by_mass, mass_slope)
        + direct
    )


def _misfit(cells: Increments, drift: Tensor) -> Tensor:
    cross = cells.displacement[:, :, None] * drift[:, None, :]
    square = cells.duration[:, None, None] * drift[:, :, None] * drift[:, None, :]
    return cells.spread - cross - cross.mT + square


def objective(
    model: AveragedSDE, cells: Increments, base: tuple[Tensor, Tensor], whitened: Tensor
) -> Tensor:
    """-ln p(path, u): negative log-likelihood, penalty and ½|u|²."""
    averages = model.averages(model.weights(whitened), cells.place, base)
    share = cells.duration / cells.duration.sum()
    penalty = model.penalty * (share * averages.moment).sum()
    return penalty + 0.5 * whitened.square().sum() - log_likelihood(cells, averages)


def fisher_scoring(
    model: AveragedSDE,
    cells: Increments,
    base: tuple[Tensor, Tensor],
    start: Tensor,
    steps: int = 30,
    tolerance: float = 1e-3,
    note: Callable[[int, float], None] = lambda *_: None,
) -> Tensor:
    """The most probable whitened weights, by Fisher scoring with Levenberg's damping.

    Args:
        model, cells, base: as for ``linearise``.
        start: whitened weights.
        steps: at most so many.
        tolerance: stops where a step gains less, in nats.
        note: called with (step, objective).
    """
    whitened, damping = start, 1.0
    with torch.no_grad():
        value = objective(model, cells, base, whitened)
        for step in range(steps):
            there = linearise(model, cells, base, whitened)
            gain = torch.zeros(())
            while damping <= DAMPING[1]:
                trial = whitened + _step(there, whitened, damping)
                gain = value - objective(model, cells, base, trial)
                if gain > 0:
                    break
                damping *= 8
            else:
                break
            whitened, value = trial, value - gain
            damping = max(damping / 4, DAMPING[0])
            note(step, float(value))
            if gain < tolerance:
                break
    return whitened


def _step(there: Linearisation, whitened: Tensor, damping: float) -> Tensor:
    """The minimiser of the linearised objective plus ½ damping |step|²."""
    jacobian = there.jacobian
    precision = 1 + damping
    downhill = jacobian.mT @ there.residual - whitened
    rows, weights = jacobian.shape
    if weights <= rows:
        full = torch.eye(weights, dtype=jacobian.dtype) * precision + jacobian.mT @ jacobian
        return torch.linalg.solve(full, downhill)
    # Woodbury.
    small = torch.eye(rows, dtype=jacobian.dtype) * precision + jacobian @ jacobian.mT
    inner = torch.linalg.solve(small, jacobian @ downhill)
    return (downhill - jacobian.mT @ inner) / precision


def log_evidence(
    model: AveragedSDE, cells: Increments, base: tuple[Tensor, Tensor], whitened: Tensor
) -> float:
    """Laplace's approximation of ln ∫ p(path, u) du / ∫ exp(-½|u|²) du about the mode.

    It weighs fit against the freedom that was spent on it, so that priors can be compared.
    """
    values = torch.linalg.svdvals(linearise(model, cells, base, whitened).jacobian)
    fit = float(objective(model, cells, base, whitened))
    return -fit - 0.5 * float(values.square().log1p().sum())


def informed_directions(there: Linearisation, most: int, least: float) -> tuple[Tensor, Tensor]:
    """Directions in which the path tells more than the prior, and how much more.

    Args:
        there: the linearisation at the most probable weights.
        most: number of directions at most.
        least: information, in units of the prior's, below which a direction is left out.

    Returns:
        Orthonormal columns (weights, r) and the information along each (r,), largest first.
    """
    _, values, directions = torch.linalg.svd(there.jacobian, full_matrices=False)
    information = values.square()
    count = max(1, min(most, int((information > least).sum())))
    return directions[:count].mT.contiguous(), information[:count]
