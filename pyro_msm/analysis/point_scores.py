"""Scores of what can be compared point by point, a field or a path, and the baselines beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pyro_msm import scores
from pyro_msm.analysis.diagnostics import (
    Exceedance,
    MemberSpectra,
    Uniformity,
    VarianceSplit,
    band_holds,
    scales,
)
from pyro_msm.analysis.ensemble_file import Ensemble
from pyro_msm.analysis.intervals import intervals
from pyro_msm.analysis.scorecard import POINTWISE, Scorecard
from pyro_msm.analysis.scored_forecast import Diagnostic, Forecast
from pyro_msm.cluster import Run, serially
from pyro_msm.forecasting.layout import MEMORY

# What a baseline's row keeps of a whole scorecard.
BASELINE_KEYS = (*POINTWISE, "members", "diverged", "diverged_first_at", "by_lead_time")
EVENT_KEYS = ("brier", "skill")


def point_scores(
    view: Ensemble,
    model: Forecast,
    trajectories: np.ndarray,
    baselines: Mapping[str, Forecast],
    seed: int,
    memory: int = MEMORY,
    run: Run = serially,
) -> dict[str, Any]:
    """What scores.json says of a forecast of a field or a path, on some trajectories.

    What needs a grid (``spectrum``, ``scales``) is None for a path.

    Args:
        view: a rollout.
        model: its members.
        trajectories: numbers of those that are scored.
        baselines: what stands beside it.
        seed: of the bootstrap.
        memory: bytes to work with.
        run: where blocks are scored.
    """
    count, times = len(trajectories), len(view.time) - 1
    diagnostics: dict[str, Diagnostic] = {
        "variance_parts": VarianceSplit(view, count),
        "pit": Uniformity(view.members, count, times),
        "exceedance": Exceedance(view, trajectories),
    }
    if view.kind.spatial:
        diagnostics["spectrum"] = MemberSpectra(view, count)
    card = Scorecard(view, model, trajectories, tuple(diagnostics.values()), memory, run)
    result = {"spectrum": None, **card.summary()}
    result |= {name: diagnostic.summary() for name, diagnostic in diagnostics.items()}
    result["scales"] = scales(view, trajectories, memory) if view.kind.spatial else None
    result["band_holds"] = band_holds(card, seed)
    result["intervals"] = intervals(card, seed)
    result["noise_floor"], floor = _noise_floor(view, trajectories)
    if floor is not None:
        result["by_lead_time"]["noise_floor"] = floor
    result["baselines"] = {}
    for name, forecast in baselines.items():
        exceedance = Exceedance(view, trajectories)
        row = Scorecard(view, forecast, trajectories, [exceedance], memory, run).summary()
        result["baselines"][name] = {key: row[key] for key in BASELINE_KEYS}
        event = exceedance.summary()
        result["baselines"][name]["exceedance"] = {key: event[key] for key in EVENT_KEYS}
    return result


def _noise_floor(
    view: Ensemble, trajectories: np.ndarray
) -> tuple[dict[str, Any] | None, np.ndarray | None]:
    """The error of the clean truth itself: nothing can be told below it from noisy data."""
    if view.clean is None:
        return None, None
    metrics: dict[str, scores.Metric] = {
        "mean": scores.RelativeError(),
        "std": scores.RelativeErrorStd(),
    }
    table = scores.ScoreTable(metrics, len(trajectories), len(view.time) - 1)
    for row, trajectory in enumerate(trajectories):
        times = slice(1, len(view.time))
        clean, _ = view.truth_of(view.clean, int(trajectory), times)
        observed, mask = view.truth_of(view.observed, int(trajectory), times)
        table.add(scores.Block(clean[np.newaxis], observed, mask), slice(row, row + 1))
    floor = {"relative_error": {key: table.overall(key) for key in metrics}, "crps": None}
    noise = view.attrs.get("noise_std")
    if noise is not None:  # E|e − e′| − ½E|e′ − e″| of Gaussian noise
        floor["crps"] = float(np.mean(noise)) / np.sqrt(np.pi)
    return floor, table.by_time("mean")
