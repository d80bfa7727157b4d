"""How an averaged SDE is trained: Fisher scoring on cells, then its posterior by SVI."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from pyro_msm.config import SlowFastConfig
from pyro_msm.data.increments import Increments
from pyro_msm.forecasting.slow_fast.record import Record
from pyro_msm.inference import Trainer
from pyro_msm.inference.fisher import (
    fisher_scoring,
    informed_directions,
    linearise,
    log_evidence,
)
from pyro_msm.models.slow_fast import AveragedSDE, PathBatch, log_likelihood
from pyro_msm.nn.flows import base_points
from pyro_msm.progress import Update

logger = logging.getLogger("pyro_msm")

#: Steps of Fisher scoring at most.
STEPS = 40

#: A direction counts where the path tells so much of what the prior does.
INFORMED = 1.0


@dataclass
class PathTrainer(Trainer):
    """Trains a posterior over the coordinates of an averaged SDE by the evidence lower bound.

    As ``Trainer``, with batches that stand for the whole record: see ``Record.draw``.
    """

    increments: int = 256

    def batch(self) -> PathBatch:  # type: ignore[override]
        """The next minibatch."""
        return cast(Record, self.windows).draw(self.increments, self.draws)

    def _small(self) -> bool:
        return True


def most_probable(
    model: AveragedSDE,
    record: Record,
    judges: Increments,
    settings: SlowFastConfig,
    seed: int,
    update: Update,
) -> Tensor:
    """Chooses prior and penalty, and returns the most probable whitened weights with them.

    The evidence chooses the prior of the splines, held-out segments the penalty.

    Args:
        model: not restricted.
        record: to fit.
        judges: sums over cells of the held-out increments.
        settings: the section ``slow_fast``.
        seed: of the weights to start from.
        update: of a progress bar.
    """
    base = base_points(settings.samples, model.coupling.fast, sets=1)
    start = model.start(torch.Generator().manual_seed(seed))
    rounds, done = len(settings.shape_scales) + len(settings.penalties), 0

    def fitted(weights: Tensor) -> Tensor:
        nonlocal done

        def note(step: int, value: float) -> None:
            update(done + step + 1, STEPS * rounds, f"warm start, {value:.1f}")

        weights = fisher_scoring(model, record.cells, base, weights, STEPS, note=note)
        done += STEPS
        return weights

    by_scale = []
    for scale in settings.shape_scales:
        model.set_shape_scale(scale)
        weights = fitted(start)
        evidence = log_evidence(model, record.cells, base, weights)
        logger.info("shape scale %g: log evidence %.2f", scale, evidence)
        by_scale.append((evidence, scale, weights))
    _, scale, weights = max(by_scale, key=lambda each: each[0])
    model.set_shape_scale(scale)
    by_penalty = []
    for penalty in sorted(settings.penalties):
        model.penalty = penalty
        weights = fitted(weights)
        with torch.no_grad():
            averages = model.averages(model.weights(weights), judges.place, base)
            fit = float(log_likelihood(judges, averages))
        logger.info("penalty %g: held-out log-likelihood %.2f", penalty, fit)
        by_penalty.append((fit, penalty, weights))
    _, model.penalty, best = max(by_penalty, key=lambda each: each[0])
    return best


def restrict(
    model: AveragedSDE, record: Record, whitened: Tensor, settings: SlowFastConfig
) -> None:
    """Leaves the model the directions about ``whitened`` that the record informs.

    The coordinates are in units of Laplace's approximation: a standard normal posterior is it.
    """
    base = base_points(settings.samples, model.coupling.fast, sets=1)
    there = linearise(model, record.cells, base, whitened)
    basis, information = informed_directions(there, settings.directions, INFORMED)
    model.restrict(whitened, basis, (1 + information).rsqrt())
    effective = float((information / (1 + information)).sum())
    logger.info("%d directions informed, %.1f effective parameters", len(information), effective)


def effective_parameters(model: AveragedSDE) -> float:
    """How many parameters the path tells: Σ information/(1 + information) of the directions."""
    return float((1 - model.unit.square()).sum())
