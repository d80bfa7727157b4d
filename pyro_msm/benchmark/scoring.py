"""From a fitted forecaster to the numbers of a record."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr

from pyro_msm import analysis
from pyro_msm import data as datasets
from pyro_msm.analysis.dressing import dressed
from pyro_msm.analysis.ensemble_file import Ensemble
from pyro_msm.analysis.evaluate import plain
from pyro_msm.analysis.family_scores import Evaluated, family_scores
from pyro_msm.analysis.scored_forecast import Forecast
from pyro_msm.config import Config
from pyro_msm.forecasting import Forecaster, MultiscaleForecaster, rollout

SPLITS = ("test", "extrapolation")
#: Scores of single families that a record keeps, where they are numbers or hold some.
OWN = (
    "drift_error",
    "diffusion_error",
    "drift_mse",
    "band_coverage",
    "information_bound",
    "comparators",
    "mnad",
    "mnad_long",
    "nad_lyapunov_times",
    "wasserstein",
    "speedup",
    "solver_share",
)
#: A longer list of numbers is a curve, not one of channels.
CHANNELS = 4
INTERVALS = ("relative_error", "relative_error_clean", "crps", "spread_skill")


def splits_of(data: xr.Dataset) -> list[str]:
    """The splits that are scored, of those that the data have."""
    return [split for split in SPLITS if (data["split"] == split).any()]


def scored(
    forecaster: Forecaster,
    data: xr.Dataset,
    split: str,
    members: int,
    times: int,
    seed: int,
    budget: int,
    config: Config | None = None,
) -> dict[str, Any]:
    """The scores of one split, keys as in a record.

    Args:
        forecaster: fitted.
        data: the dataset with all its splits.
        split: the one to forecast, from its first snapshots.
        members: of a stochastic forecaster; fewer where the ensemble would be too large.
        times: at which the field is scored, at most.
        seed: root of the ensemble's random streams.
        budget: bytes that the noise-free ensemble may take.
        config: of a model whose family has scores of its own, which are asked for.
    """
    part = datasets.select(data, split)
    drawn = affordable(part, members, times, budget) if forecaster.stochastic else 1
    tree = rollout(forecaster, data, drawn, seed, splits=(split,), times=times)
    scores = analysis.evaluate(tree)
    error, clean = scores.get("relative_error"), scores.get("relative_error_clean")
    found: dict[str, Any] = {
        "split": split,
        "relative_error": error and error["mean"],
        "relative_error_std": error and error["std"],
        "relative_error_clean": clean and clean["mean"],
        "crps": scores.get("crps"),
        "spread_skill": scores.get("spread_skill"),
        "rollout_seconds": scores["seconds"]["rollout"],
        "drift_evaluations": drift_evaluations(forecaster, part["time"].values),
        "diverged_at": scores["diverged_first_at"],
        "intervals": _intervals(scores["intervals"]),
    }
    if not forecaster.stochastic:
        found["crps_dressed"] = crps_dressed(forecaster, data, tree, times)
    if config is not None:
        run = Evaluated(config, [forecaster], data, tree, scores)
        own = plain(family_scores(run))
        found["own"] = dict(numbers({key: own[key] for key in OWN if key in own}))
    if forecaster.stochastic and drawn < members:
        found["note"] = f"{drawn} members, not {members}, to save memory"
    return found


def crps_dressed(
    forecaster: Forecaster, data: xr.Dataset, tree: xr.DataTree, times: int
) -> float | None:
    """The CRPS of single forecasts with their errors on the validation split around them.

    None where there is no such split, its stored times are others, or the variable has no
    pointwise scores.
    """
    view = Ensemble(tree)
    if not (data["split"] == "validation").any() or not view.kind.pointwise:
        return None
    past = Ensemble(rollout(forecaster, data, 1, 0, splits=("validation",), times=times))
    if not past.begins_like(view):
        return None
    here, there = (Forecast(v.signal, None, 0.0, v.diverged_at) for v in (view, past))
    every = np.arange(view.signal.sizes["trajectory"])
    crps = dressed(view, here, every, past, there)["crps"]
    return float(crps) if np.isfinite(crps) else None


def numbers(scores: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, float]]:
    """The numbers among nested scores by dotted names, those of channels among them, no curves.

    >>> dict(numbers({"mnad": [0.1, 0.2], "curve": list(range(9)), "posterior": "map"}))
    {'mnad.0': 0.1, 'mnad.1': 0.2}
    """
    for key, value in scores.items():
        if isinstance(value, list) and len(value) <= CHANNELS:
            value = {str(number): each for number, each in enumerate(value)}
        if isinstance(value, Mapping):
            yield from numbers(value, f"{under}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{under}{key}", value


def noise_floor(data: xr.Dataset, split: str, reference: Forecaster, times: int) -> dict[str, Any]:
    """The error of the clean truth itself, at the times of any forecast from ``reference``."""
    scores = analysis.evaluate(rollout(reference, data, 1, 0, splits=(split,), times=times))
    floor = scores.get("noise_floor")
    if floor is None:
        return {"split": split, "note": "the data hold no field without noise"}
    return {
        "split": split,
        "relative_error": floor["relative_error"]["mean"],
        "relative_error_std": floor["relative_error"]["std"],
        "relative_error_clean": 0.0,
        "crps": floor["crps"],
    }


def affordable(part: xr.Dataset, members: int, times: int, budget: int) -> int:
    """The number of members, at least 2, whose fields fit into ``budget`` bytes."""
    stored = dict(part[datasets.variable(part)].sizes) | {"time": min(times, part.sizes["time"])}
    return max(2, min(members, budget // (4 * math.prod(stored.values()))))


def drift_evaluations(forecaster: Forecaster, times: np.ndarray) -> int | None:
    """Evaluations of the drift for one path along ``times``; None for what has no drift.

    Two a step of Heun's scheme, which starts a path over two node distances, then one a node of the
    three-step scheme (see ``forecasting.integrator``).
    """
    if not isinstance(forecaster, MultiscaleForecaster):
        return None
    length = float(times[-1] - times[forecaster.warmup - 1])
    steps = math.ceil(length / forecaster.rollout_step - 1e-4)
    heun = min(steps, 2 * forecaster.rollout_every)
    return 2 * heun + math.ceil((steps - heun) / forecaster.rollout_every)


def _intervals(intervals: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the record's scores, without the ones that are unknown."""
    kept = {key: intervals.get(key) for key in INTERVALS}
    return {key: ends for key, ends in kept.items() if ends and None not in ends}
