"""How an averaged SDE is trained: Fisher scoring on cells, then its posterior by SVI."""

from __future__ import annotations

import logging
from collections.abc import Mapping
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

#: Held-out log-likelihoods that differ by less are taken as the same.
NOISE = 1.0

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


class WarmStart:
    """The most probable weights of averaged SDEs, by Fisher scoring on the cells of a record.

    Args:
        record: to fit.
        settings: the section ``slow_fast``.
        seed: of the weights to start from.
        update: of a progress bar.
    """

    def __init__(self, record: Record, settings: SlowFastConfig, seed: int, update: Update) -> None:
        self.record, self.settings, self.seed, self.update = record, settings, seed, update
        self.base = base_points(settings.samples, record.fast, sets=1)
        self.rounds, self.done = len(settings.laws) + len(settings.penalties), 0

    def by_law(self, models: Mapping[str, AveragedSDE]) -> dict[str, tuple[float, Tensor]]:
        """Log evidence and most probable whitened weights of each kind of fast law, but for those
        that are the same as one before: without x, or with one fast component, some are."""
        found: dict[str, tuple[float, Tensor]] = {}
        for name, model in models.items():
            if any(torch.equal(model.scale, models[before].scale) for before in found):
                continue
            start = model.start(torch.Generator().manual_seed(self.seed))
            weights = self._fitted(model, start, name)
            evidence = log_evidence(model, self.record.cells, self.base, weights)
            logger.info("law %s: log evidence %.2f", name, evidence)
            found[name] = evidence, weights
        return found

    def by_penalty(self, model: AveragedSDE, weights: Tensor, judges: Increments) -> Tensor:
        """Sets the least moment penalty under which ``judges``, sums over cells of held-out
        increments, are as likely as under any but for ``NOISE`` nats, and returns the most
        probable whitened weights with it."""
        found = []
        for penalty in sorted(self.settings.penalties):
            model.penalty = penalty
            weights = self._fitted(model, weights, f"penalty {penalty:g}")
            with torch.no_grad():
                averages = model.averages(model.weights(weights), judges.place, self.base)
                fit = float(log_likelihood(judges, averages))
            logger.info("penalty %g: held-out log-likelihood %.2f", penalty, fit)
            found.append((fit, penalty, weights))
        least = max(fit for fit, _, _ in found) - NOISE
        model.penalty, best = next((p, weights) for fit, p, weights in found if fit >= least)
        return best

    def _fitted(self, model: AveragedSDE, start: Tensor, what: str) -> Tensor:
        def note(step: int, value: float) -> None:
            done = self.done * STEPS + step + 1
            self.update(done, STEPS * self.rounds, f"warm start, {what}: {value:.1f}")

        weights = fisher_scoring(model, self.record.cells, self.base, start, STEPS, note=note)
        self.done += 1
        return weights


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
