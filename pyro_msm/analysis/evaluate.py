"""Scores of an ensemble and of the baselines beside it: the contents of scores.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pyro_msm.analysis.dressing import dressed
from pyro_msm.analysis.ensemble_file import Ensemble
from pyro_msm.analysis.intervals import INTERVAL_LEVEL, RESAMPLES
from pyro_msm.analysis.particle_scores import particle_scores
from pyro_msm.analysis.point_scores import point_scores
from pyro_msm.analysis.post_hoc import recalibrated
from pyro_msm.analysis.scored_forecast import Forecast
from pyro_msm.cluster import shown, workers
from pyro_msm.data.variables import along_labels
from pyro_msm.errors import InputError
from pyro_msm.files import write_text
from pyro_msm.forecasting.layout import MEMORY
from pyro_msm.progress import progress_bar


def evaluate(
    ensemble: xr.DataTree,
    *,
    baselines: Mapping[str, xr.Dataset] | None = None,
    validation: xr.DataTree | None = None,
    validation_baselines: Mapping[str, xr.Dataset] | None = None,
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
        baselines: noise-free forecasts of the variable ([member,] trajectory, time, …) by name, for
            the same trajectories, at all of the ensemble's times after the first.
        validation: an ensemble of the validation split by the same models at the same lead times:
            with it ``recalibrated`` says what recalibration after the fact would change.
        validation_baselines: the baselines' forecasts of its trajectories: with them each single
            forecast among the baselines is dressed with its validation errors, ``crps_dressed``.
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
        InputError: the ensemble or a baseline lacks what is scored, or the validation ensemble has
            other lead times.
    """
    view = Ensemble(ensemble)
    splits = view.splits()
    main = "test" if "test" in splits else next(iter(splits))
    forecasts = {
        name: _baseline(view, name, dataset) for name, dataset in (baselines or {}).items()
    }
    others = [name for name in splits if name != main]
    score = point_scores if view.kind.pointwise else particle_scores
    model = Forecast(view.signal, view.predictive, 0.0, view.diverged_at)
    with workers(scheduler) as run, progress_bar("scoring", enabled=progress) as update:
        scored = {
            name: score(view, model, splits[name], forecasts, seed, memory, shown(run, update))
            for name in (main, *others)
        }
    if validation is not None and view.kind.pointwise:
        held_out = Ensemble(validation)
        _dress(scored, view, forecasts, held_out, validation_baselines or {})
        if view.members > 1:
            scored[main]["recalibrated"] = recalibrated(view, held_out, splits[main], seed, memory)
    result = scored.pop(main)
    result["split"] = main
    result["splits"] = scored
    result["variable"] = view.kind.name
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


def _dress(
    scored: Mapping[str, Any],
    view: Ensemble,
    forecasts: Mapping[str, Forecast],
    held_out: Ensemble,
    validation_baselines: Mapping[str, xr.Dataset],
) -> None:
    """Adds ``crps_dressed`` to the rows of single forecasts whose validation errors are known."""
    single = [name for name, forecast in forecasts.items() if forecast.members == 1]
    for name in (name for name in single if name in validation_baselines):
        past = _baseline(held_out, name, validation_baselines[name])
        for split, trajectories in view.splits().items():
            row = scored[split]["baselines"][name]
            found = dressed(view, forecasts[name], trajectories, held_out, past)
            row["crps_dressed"] = found["crps"]
            row["by_lead_time"]["crps_dressed"] = found["by_lead_time"]


def _baseline(view: Ensemble, name: str, dataset: xr.Dataset) -> Forecast:
    """A baseline's forecast at the ensemble's trajectories and times; the first is not scored."""
    variable = view.kind.name
    if variable not in dataset:
        raise InputError(f"baseline {name!r} has no variable {variable!r}, which is what is scored")
    signal = dataset[variable]
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
        noise = along_labels(noise.values, view.observed.dims[2:])
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
