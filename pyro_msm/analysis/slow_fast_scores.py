"""Scores and report sections of averaged slow–fast dynamics: coefficients, law, comparators."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from pyro_msm import data as datasets
from pyro_msm.analysis.family_scores import Evaluated
from pyro_msm.analysis.plots import slow_fast as plots
from pyro_msm.analysis.sections import Section, Table
from pyro_msm.analysis.wording import percent
from pyro_msm.data import systems
from pyro_msm.data.increments import Increments
from pyro_msm.data.systems.slow_fast import SlowFast
from pyro_msm.errors import InputError
from pyro_msm.forecasting.slow_fast.effective import Tabulated
from pyro_msm.forecasting.slow_fast.forecaster import SlowFastForecaster
from pyro_msm.forecasting.slow_fast.record import held_out
from pyro_msm.forecasting.slow_fast.scoring import (
    Estimate,
    coefficient_scores,
    fit_comparators,
    law_scores,
)
from pyro_msm.models.fast_laws import GAIN, KINDS
from pyro_msm.scores import effective

#: Points of a curve over one slow component, or of a scatter over several.
CURVE, SCATTER = 81, 150

#: Share of the stationary law that the curves leave out at either end.
TAIL = 0.005

#: Places, as quantiles of the path, at which the law of the fast variable is shown, and its draws.
PLACES, DRAWS = (0.1, 0.5, 0.9), 400

NAMES = {"drift_error": "drift error", "diffusion_error": "diffusion error", "drift_mse": "MSE"}


def scores(run: Evaluated) -> dict[str, Any]:
    """How far the first chain's coefficients and law are from the exact and the observed ones.

    * ``drift_error``, ``diffusion_error``, ``drift_mse``, ``band_coverage``, ``comparators``: see
      ``coefficient_scores``; where the true coefficients are known, as of a simulated system.
    * ``information_bound``: the drift error that no estimate of as many parameters as the path has
      told, ``effective_parameters``, beats on average.
    * ``law``: see ``law_scores``, against the test paths; ``law_of``: that of each comparator.
    * ``fast_law``: the kind of fast law that was chosen, of those whose ``log_evidence`` stands
      beside it (see ``models.fast_laws``); ``conditional``: whether it depends on x.
    * ``penalty``: λ as held-out segments chose it.
    * ``slow_fast``: what the figures show.
    """
    forecaster: SlowFastForecaster = run.chains[0]
    train = Increments.of(datasets.select(run.data, "train"))
    comparators = fit_comparators(*_fit_and_judge(run.data, train))
    places = train.place.numpy()
    system = _system(run.data)
    result: dict[str, Any] = {
        "effective_parameters": forecaster.effective_parameters,
        "fast_law": forecaster.law,
        "log_evidence": forecaster.evidence,
        "conditional": forecaster.settings.conditional,
        "penalty": forecaster.model.penalty,
        "posterior": forecaster.settings.posterior,
    }
    if system is not None:
        truth = system.effective
        bands = None if forecaster.guide.kind == "map" else forecaster.drift_draws
        result |= coefficient_scores(truth, forecaster, comparators, drift_draws=bands)
        x = truth.stationary_points(SCATTER)
        result["information_bound"] = effective.information_bound(
            truth.drift(x), truth.diffusion(x), forecaster.duration, 1
        ) * np.sqrt(forecaster.effective_parameters)
    result |= _laws(run.data, forecaster, comparators)
    result["slow_fast"] = _shown(forecaster, comparators, system, places)
    return result


def _fit_and_judge(data: xr.Dataset, train: Increments) -> tuple[Increments, Increments]:
    try:
        return train, Increments.of(datasets.select(data, "validation"))
    except InputError:
        return held_out(train)


def _system(data: xr.Dataset) -> SlowFast | None:
    """The simulated system behind the data, where its averages are known."""
    name = data.attrs.get("system")
    if name not in systems.names():
        return None
    system = systems.get(name, **json.loads(data.attrs.get("options", "{}")))
    return system if isinstance(system, SlowFast) else None


def _laws(
    data: xr.Dataset, forecaster: SlowFastForecaster, comparators: Mapping[str, Estimate]
) -> dict[str, Any]:
    """Stationary law and memory against the test paths, if they are at equal times."""
    test = datasets.select(data, "test")
    steps = np.diff(np.asarray(test["time"].values, float))
    if np.ptp(steps) > 1e-6 * steps.mean():
        return {}
    paths, spacing = np.asarray(test["path"].values, float), float(steps.mean())
    points = paths.reshape(-1, paths.shape[-1])
    well = _well(forecaster, points) if paths.shape[-1] == 1 else None
    law = partial(law_scores, paths=paths, spacing=spacing, level=well)
    box = points.min(0), points.max(0)
    return {
        "law": law(Tabulated.of(forecaster, *box)),
        "law_of": {name: law(Tabulated.of(each, *box)) for name, each in comparators.items()},
    }


def _well(estimate: Estimate, points: np.ndarray) -> float | None:
    """Half the distance of the nearer well from 0, where the drift has wells on both sides."""
    grid = np.linspace(points.min(), points.max(), 401)
    drift = estimate.drift(grid[:, None])[:, 0]
    falls = (drift[:-1] > 0) & (drift[1:] <= 0)
    wells = 0.5 * (grid[:-1] + grid[1:])[falls]
    if not ((wells < 0).any() and (wells > 0).any()):
        return None
    return 0.5 * float(np.abs(wells).min())


def _shown(
    forecaster: SlowFastForecaster,
    comparators: Mapping[str, Estimate],
    system: SlowFast | None,
    places: np.ndarray,
) -> dict[str, Any]:
    """Coefficients over a curve or at points, with bands, and the law of the fast variable."""
    if places.shape[1] == 1:
        low, high = np.quantile(places, [TAIL, 1 - TAIL])
        x = np.linspace(low, high, CURVE)[:, None]
    else:
        x = places[np.linspace(0, len(places) - 1, SCATTER).astype(int)]
    drift, diffusion = forecaster.draws(x)
    diffusion = np.diagonal(diffusion, axis1=-2, axis2=-1)
    result: dict[str, Any] = {"x": x}
    for name, draws in (("drift", drift), ("diffusion", diffusion)):
        low, high = effective.central_band(draws)
        result[name] = {"mean": draws.mean(0), "low": low, "high": high, "others": {}}
    for name, each in comparators.items():
        result["drift"]["others"][name] = each.drift(x)
        found = np.diagonal(each.diffusion(x), axis1=-2, axis2=-1)
        result["diffusion"]["others"][name] = found
    if system is not None:
        exact = np.diagonal(system.averaged_diffusion(x), axis1=-2, axis2=-1)
        result["drift"]["exact"], result["diffusion"]["exact"] = system.averaged_drift(x), exact
    result["fast"] = _fast_laws(forecaster, system, places)
    return result


def _fast_laws(
    forecaster: SlowFastForecaster, system: SlowFast | None, places: np.ndarray
) -> list[dict[str, Any]]:
    """Draws of the first fast component at a few places along the first slow one."""
    order = np.argsort(places[:, 0])
    chosen = places[order[[int(share * (len(places) - 1)) for share in PLACES]]]
    draws = forecaster.fast_law(chosen, DRAWS)[..., 0]
    found = [{"x": x, "draws": np.sort(y)} for x, y in zip(chosen, draws.T, strict=True)]
    if system is not None:
        generator = np.random.default_rng(0)
        for entry, x in zip(found, chosen, strict=True):
            exact = system.fast_draws(np.tile(x, (DRAWS, 1)), generator)[:, 0]
            entry["exact"] = np.sort(exact)
    return found


def sections(result: Mapping[str, Any]) -> list[Section]:
    """Coefficients, fast law and comparators."""
    shown = result.get("slow_fast")
    if not shown:
        return []
    figures = [
        ("Effective drift", partial(plots.coefficient, shown, "drift")),
        ("Effective diffusion", partial(plots.coefficient, shown, "diffusion")),
        ("Law of the fast variable", partial(plots.fast_law, shown)),
    ]
    tables = [_table(result)] if "drift_error" in result else []
    tables.append(_kinds(result))
    return [Section("Averaged dynamics", figures, tables, _sentences(result))]


def _table(result: Mapping[str, Any]) -> Table:
    rows = {"slow-fast": result, **result.get("comparators", {})}
    cells = [[name, *(f"{row[key]:.3g}" for key in NAMES)] for name, row in rows.items()]
    return Table(
        "Coefficients against the exact averages",
        ["estimate", *NAMES.values()],
        cells,
        "Errors are relative, in the mean square over the stationary law; MSE is of the drift.",
    )


def _kinds(result: Mapping[str, Any]) -> Table:
    evidence = result["log_evidence"]
    most = max(evidence.values())
    cells = [
        [name, KINDS[name].described(result["conditional"]), f"{value - most:.1f}"]
        for name, value in sorted(evidence.items(), key=lambda item: -item[1])
    ]
    return Table(
        "Kinds of fast law",
        ["kind", "the fast variable has", "log evidence"],
        cells,
        f"Less the largest one. The first of {', '.join(KINDS)} within {GAIN:g} of it is taken.",
    )


def _sentences(result: Mapping[str, Any]) -> list[str]:
    chosen = KINDS[result["fast_law"]].described(result["conditional"])
    found = [
        "The simplest kind of fast law against which the path does not speak, of those that were "
        f"tried, is {chosen}."
    ]
    if "drift_error" not in result:
        return found
    told = (
        f"The effective drift is within {percent(result['drift_error'])} of the exact one; "
        f"unbiased estimates of {result['effective_parameters']:.2g} free parameters from this path"
        f" have {percent(result['information_bound'])} on average, and only what the"
        " coupling and the prior tell can do better."
    )
    return [told, *found]
