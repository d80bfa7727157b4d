"""Scores of estimated averaged dynamics: against exact coefficients, and against observed paths."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from pyro_msm.data.increments import Increments
from pyro_msm.data.systems.effective import EffectiveSDE
from pyro_msm.errors import InputError
from pyro_msm.forecasting.slow_fast.comparators import Comparator
from pyro_msm.forecasting.slow_fast.comparators_local import KernelRegression, KramersMoyal
from pyro_msm.forecasting.slow_fast.comparators_neural import NeuralDrift
from pyro_msm.forecasting.slow_fast.comparators_sindy import Sindy
from pyro_msm.scores import effective as scores

#: Points of the stationary law at which coefficients are compared.
POINTS = 2000

#: Lags, as shares of the time that the memory of the observed path is followed over.
LAGS = 20

COMPARATORS: dict[str, type[Comparator]] = {
    comparator.name: comparator
    for comparator in (NeuralDrift, KramersMoyal, KernelRegression, Sindy)
}

logger = logging.getLogger("pyro_msm")


class Estimate(Protocol):
    """Coefficients of an effective SDE: of a model, of a comparator, or the true ones."""

    def drift(self, x: np.ndarray) -> np.ndarray:
        """b̄ at x (n, d) → (n, d)."""

    def diffusion(self, x: np.ndarray) -> np.ndarray:
        """Σ̄ at x (n, d) → (n, d, d)."""


def fit_comparators(
    increments: Increments, held_out: Increments, names: Iterable[str] = tuple(COMPARATORS)
) -> dict[str, Comparator]:
    """Comparators by name, fitted; one whose package is not installed is left out, and told.

    Example:
        >>> from pyro_msm.data import select, systems
        >>> data = systems.get("slow-fast-b").simulate(
        ...     {"train": 2, "validation": 1}, frames=301, end_time=3.0, epsilon=0.1)
        >>> train, held_out = (Increments.of(select(data, s)) for s in ("train", "validation"))
        >>> found = fit_comparators(train, held_out, ["kramers-moyal"])
        >>> found["kramers-moyal"].drift(np.zeros((1, 1))).shape
        (1, 1)
    """
    found = {}
    for name in names:
        try:
            found[name] = COMPARATORS[name]().fit(increments, held_out)
        except InputError as error:
            logger.warning("no comparator %s: %s", name, error)
    return found


def coefficient_scores(
    truth: EffectiveSDE,
    estimate: Estimate,
    comparators: Mapping[str, Estimate] | None = None,
    *,
    drift_draws: Callable[[np.ndarray], np.ndarray] | None = None,
    level: float = 0.9,
    points: int = POINTS,
) -> dict[str, Any]:
    """Errors of drift and diffusion in L²(p), p the stationary law of the true effective SDE.

    Args:
        truth: the exact coefficients, ``system.effective``.
        estimate: what is scored.
        comparators: scored the same way.
        drift_draws: posterior draws of b̄ at x (n, d) → (draw, n, d).
        level: of the bands that ``band_coverage`` counts.
        points: at which p is represented.

    Returns:
        ``drift_error``, ``diffusion_error`` (relative), ``drift_mse``; ``band_coverage``, the share
        of points whose band holds the true b̄, where there are draws; ``comparators`` with the first
        three of each.

    Example:
        >>> from pyro_msm.data import systems
        >>> truth = systems.get("slow-fast-b").effective
        >>> found = coefficient_scores(truth, truth)
        >>> found["drift_error"], found["diffusion_error"]
        (0.0, 0.0)
    """
    x = truth.stationary_points(points)
    drift, diffusion = truth.drift(x), truth.diffusion(x)

    def errors(each: Estimate) -> dict[str, Any]:
        found = each.drift(x)
        return {
            "drift_error": scores.coefficient_error(found, drift),
            "diffusion_error": scores.coefficient_error(each.diffusion(x), diffusion),
            "drift_mse": scores.mean_squared_error(found, drift),
        }

    result = errors(estimate)
    if drift_draws is not None:
        result["band_coverage"] = scores.band_coverage(drift_draws(x), drift, level)
    if comparators:
        result["comparators"] = {name: errors(each) for name, each in comparators.items()}
    return result


def law_scores(
    estimate: Estimate,
    paths: np.ndarray,
    spacing: float,
    *,
    horizon: float = 5.0,
    level: float | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Stationary law, memory and passages of an estimated SDE against observed stationary paths.

    As many paths as were observed are drawn from the SDE, from the same starts, at the same times.

    Args:
        estimate: coefficients.
        paths: observed, (n, T, d), at equal times.
        spacing: time between two frames.
        horizon: the autocorrelation is compared at lags up to this time.
        level: where the path counts as inside a well of a double well, d = 1; None: no wells.
        seed: of the paths drawn.

    Returns:
        ``moments`` of both ``observed`` and ``estimated``; ``stationary_distance``;
        ``autocorrelation_error``, the largest difference at any lag; ``passage_time`` of both,
        where there are wells. NaN where a drawn path does not stay finite.
    """
    paths = np.asarray(paths, float)
    times = spacing * np.arange(paths.shape[1])
    sde = EffectiveSDE(estimate.drift, estimate.diffusion, paths.shape[-1])
    drawn = sde.paths(paths[:, 0], times, np.random.default_rng(seed), step=spacing)
    pair = {"observed": paths, "estimated": drawn}
    result: dict[str, Any] = {"moments": {name: scores.moments(p) for name, p in pair.items()}}
    finite = bool(np.isfinite(drawn).all())
    distance = scores.stationary_distance(drawn, paths) if finite else math.nan
    last = min(paths.shape[1] - 1, round(horizon / spacing))
    lags = np.unique(np.linspace(0, last, LAGS + 1).astype(int)).tolist()
    memory = [scores.autocorrelation(each, lags) for each in pair.values()]
    result["stationary_distance"] = distance
    result["autocorrelation_error"] = float(np.abs(memory[0] - memory[1]).max())
    if level is not None:
        result["passage_time"] = {
            name: scores.mean_passage_time(each[..., 0], spacing, level) if finite else math.nan
            for name, each in pair.items()
        }
    return result
