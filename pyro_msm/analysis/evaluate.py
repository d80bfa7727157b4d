"""Scores of an ensemble and of the baselines beside it: the contents of scores.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

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
from pyro_msm.analysis.intervals import INTERVAL_LEVEL, RESAMPLES, intervals
from pyro_msm.analysis.scorecard import Scorecard
from pyro_msm.analysis.scored_forecast import Diagnostic, Forecast
from pyro_msm.cluster import Run, shown, workers
from pyro_msm.errors import InputError
from pyro_msm.files import write_text
from pyro_msm.forecasting.layout import MEMORY
from pyro_msm.progress import progress_bar

# What a baseline's row keeps of a whole scorecard.
BASELINE_KEYS = (
    "relative_error",
    "relative_error_clean",
    "crps",
    "crps_clean",
    "energy_score",
    "spread_skill",
    "spread_skill_against",
    "coverage",
    "members",
    "diverged",
    "diverged_first_at",
    "by_lead_time",
)
EVENT_KEYS = ("brier", "skill")


def evaluate(
    ensemble: xr.DataTree,
    *,
    baselines: Mapping[str, xr.Dataset] | None = None,
    seconds: Mapping[str, float | None] | None = None,
    seed: int = 0,
    memory: int = MEMORY,
    scheduler: str | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Scores an ensemble at all stored times after the initial snapshot.

    The test split stands at the top (the first split of the ensemble if it has no test split),
    other splits under ``splits``. A diverged member makes every score that it touches null;
    ``diverged`` counts such members and ``by_lead_time`` shows the scores until then.

    Args:
        ensemble: the DataTree of a rollout.
        baselines: noise-free forecasts ``field([member,] trajectory, time, …)`` of the same
            trajectories, by name, at all of the ensemble's times after the first.
        seconds: wall-clock times, e.g. of ``train`` and ``rollout``.
        seed: of the bootstrap behind ``intervals``.
        memory: bytes to work with; members are read, or decoded, in pieces of a sixteenth of it.
        scheduler: of a Dask cluster that scores the pieces, see ``cluster.workers``.
        progress: show a progress bar.

    Returns:
        What JSON can hold: numbers, lists, dicts and None. ``crps``, ``energy_score`` and
        ``coverage`` compare members with observation noise to the noisy truth, names that end in
        ``_clean`` compare noise-free members to the clean truth, and ``spread_skill_against`` says
        which of the two the spread was compared with. The CRPS of a one-member forecast is its
        mean absolute error.

    Raises:
        InputError: the ensemble or a baseline lacks what is scored.
    """
    view = Ensemble(ensemble)
    splits = view.splits()
    main = "test" if "test" in splits else next(iter(splits))
    forecasts = {
        name: _baseline(view, name, dataset) for name, dataset in (baselines or {}).items()
    }
    others = [name for name in splits if name != main]
    with workers(scheduler) as run, progress_bar("scoring", enabled=progress) as update:
        scored = {
            name: _split_scores(view, splits[name], forecasts, seed, memory, shown(run, update))
            for name in (main, *others)
        }
    result = scored.pop(main)
    result["split"] = main
    result["splits"] = scored
    result["model"] = view.attrs.get("model", "model")
    result["chains"] = view.signal.sizes["chain"]
    rollout = view.attrs.get("seconds_rollout")
    result["seconds"] = {"train": None, "rollout": rollout, **(seconds or {})}
    result["interval_method"] = {
        "level": INTERVAL_LEVEL,
        "method": "percentile bootstrap over trajectories",
        "resamples": RESAMPLES,
        "seed": seed,
    }
    return plain(result)


def _split_scores(
    view: Ensemble,
    trajectories: np.ndarray,
    baselines: Mapping[str, Forecast],
    seed: int,
    memory: int,
    run: Run,
) -> dict[str, Any]:
    model = Forecast(view.signal, view.predictive, 0.0, view.diverged_at)
    count, times = len(trajectories), len(view.time) - 1
    diagnostics: dict[str, Diagnostic] = {
        "variance_parts": VarianceSplit(view, count),
        "pit": Uniformity(view.members, count, times),
        "exceedance": Exceedance(view, trajectories),
        "spectrum": MemberSpectra(view, count),
    }
    card = Scorecard(view, model, trajectories, tuple(diagnostics.values()), memory, run)
    result = card.summary()
    result |= {name: diagnostic.summary() for name, diagnostic in diagnostics.items()}
    result["scales"] = scales(view, trajectories, memory)
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


def _baseline(view: Ensemble, name: str, dataset: xr.Dataset) -> Forecast:
    """A baseline's forecast at the ensemble's trajectories and times; the first is not scored."""
    if "field" not in dataset:
        raise InputError(f"baseline {name!r} has no variable 'field'")
    signal = dataset["field"]
    if "member" not in signal.dims:
        signal = signal.expand_dims("member")
    trajectories = view.signal.sizes["trajectory"]
    if signal.sizes["trajectory"] != trajectories:
        raise InputError(
            f"baseline {name!r} has {signal.sizes['trajectory']} trajectories, "
            f"the ensemble {trajectories}: forecast the same ones"
        )
    spacing = float(np.diff(view.time).min())
    have = np.asarray(signal["time"].values, float)
    nearest = np.abs(have[:, np.newaxis] - view.time).argmin(0)
    far = np.abs(have[nearest] - view.time) > 1e-3 * spacing
    if far[1:].any():
        missing = view.time[1:][far[1:]]
        raise InputError(
            f"baseline {name!r} lacks {len(missing)} of the ensemble's times, the first "
            f"t={missing[0]:g}: forecast all stored times"
        )
    noise: Any = dataset.get("observation_std", view.attrs.get("noise_std", 0.0))
    if isinstance(noise, xr.DataArray):
        noise = noise.values.reshape(-1, *[1] * (view.observed.ndim - 3))
    diverged = dataset.get("diverged_at")
    shape = (signal.sizes["member"], trajectories)
    at = np.full(shape, np.nan) if diverged is None else diverged.transpose("member", ...).values
    return Forecast(signal.isel(time=nearest), None, noise, at)


def plain(value: Any) -> Any:
    """The same in JSON's terms: arrays become lists, NaN and infinity None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, np.integer):
        return int(value)
    number = float(value)
    return number if np.isfinite(number) else None


def write_scores(path: Path | str, result: Mapping[str, Any]) -> Path:
    """Writes scores.json under a temporary name and renames it: never half a file."""
    write_text(path, json.dumps(result, indent=2, allow_nan=False) + "\n")
    return Path(path)
