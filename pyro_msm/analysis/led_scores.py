"""Scores and report sections of learned effective dynamics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from pyro_msm import data as datasets
from pyro_msm.analysis.ensemble_file import Ensemble
from pyro_msm.analysis.family_scores import Evaluated
from pyro_msm.analysis.metastable import MetastableStates, metastable_states
from pyro_msm.analysis.plots.style import finish, new_figure, tidy
from pyro_msm.analysis.sections import Section, Table
from pyro_msm.data import systems
from pyro_msm.data.systems import System
from pyro_msm.data.systems.advection_diffusion import AdvectionDiffusion
from pyro_msm.data.systems.fokker_planck import exact_runs
from pyro_msm.errors import InputError
from pyro_msm.forecasting.calibration import without_noise
from pyro_msm.forecasting.contract import initial_window
from pyro_msm.forecasting.hybrid import Alternation, Hybrid, data_range
from pyro_msm.forecasting.solver_cost import cheapest_setting, latent_cost
from pyro_msm.forecasting.solvers import SystemSolver
from pyro_msm.presets import is_system
from pyro_msm.scores.effective_dynamics import effective_field_scores, effective_particle_scores
from pyro_msm.scores.normalised_difference import normalised_absolute_difference

#: Snapshots over which solvers are compared, and points of a latent portrait that are kept.
COMPARED, SHOWN = 41, 1000
DIVERGED = "the forecast diverged"


def scores(run: Evaluated) -> dict[str, Any]:
    """``mnad``, ``wasserstein`` and what else applies; see ``docs/led.md``.

    ``wasserstein_self_similar`` of particles whose exact law is known, which are compared with it;
    ``nad_lyapunov_times`` of chaotic systems; ``speedup`` where the solver of the data is known and
    deterministic; ``mnad_long`` and ``solver_share`` with ``hybrid.long_time``; ``latent_states``.
    """
    system = _system(run)
    found = _effective(run, system)
    forecaster = run.chains[0]
    if system is not None and forecaster.variable == "field":
        found["speedup"] = _speedup(run, system, float(np.mean(found["mnad"])))
        if run.config.hybrid.long_time is not None:
            found |= _long(run, system, run.config.hybrid.long_time)
    train = datasets.select(run.data, "train")
    states = metastable_states(forecaster.encoded(train), forecaster.step)
    found["latent_states"] = _kept(states, forecaster.step)
    return found


def _system(run: Evaluated) -> System | None:
    source = run.config.data.source
    return systems.get(source, **run.config.data.options) if is_system(source) else None


def _effective(run: Evaluated, system: System | None) -> dict[str, Any]:
    ensemble = Ensemble(run.ensemble)
    test = np.flatnonzero(ensemble.split == "test")
    signal = ensemble.signal.isel(trajectory=test).values
    members = signal.reshape(-1, *signal.shape[2:])[:, :, 1:]
    truth = ensemble.observed if ensemble.clean is None else ensemble.clean
    values = truth.isel(trajectory=test).values[:, 1:]
    if ensemble.kind.name == "particles":
        if isinstance(system, AdvectionDiffusion):
            known = datasets.select(run.data, "test")["initial_parameters"].values
            starts = system.start_times(known)
            return _against_exact(members, system, starts, ensemble.time[1:], run.config.seed)
        return effective_particle_scores(members, values)
    periodic = list(np.atleast_1d(run.data.attrs["boundary"])) == ["periodic"]
    found = effective_field_scores(
        members, values, ensemble.lead_time[1:],
        lyapunov_time=None if system is None else system.lyapunov_time,
        period=float(np.ravel(run.data.attrs["domain"])[0]) if periodic else None,
    )  # fmt: skip
    return found


def _against_exact(
    members: np.ndarray,
    system: AdvectionDiffusion,
    starts: np.ndarray,
    times: np.ndarray,
    seed: int,
) -> dict[str, Any]:
    """Distances from as many runs of the exact law, and those of two such ensembles.

    Args:
        members: (member, trajectory, time, particle, component).
        system: of the data.
        starts: (trajectory,) absolute times at which the data begin.
        times: (time,) since then.
        seed: of the exact runs.
    """
    generator = np.random.default_rng(seed)
    distances, floors = [], []
    for number, start in enumerate(starts):
        runs = exact_runs(system, float(start), times, 2 * len(members), generator)
        one, other = runs[::2, None], runs[1::2, None]
        distances.append(effective_particle_scores(members[:, [number]], one)["wasserstein"])
        floors.append(effective_particle_scores(other, one)["wasserstein"])
    return {"wasserstein": _averaged(distances), "wasserstein_self_similar": _averaged(floors)}


def _averaged(scores: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([each[name] for each in scores])) for name in scores[0]}


def _speedup(run: Evaluated, system: System, error: float) -> dict[str, Any] | None:
    """Costs of a unit of time of all test trajectories together, and their ratios."""
    forecaster, test = run.chains[0], datasets.select(run.data, "test")
    initial = initial_window(test, forecaster.warmup)
    start = initial["field"].values[:, -1].astype(float)
    times = float(initial["time"].values[-1]) + forecaster.step * np.arange(COMPARED)
    try:
        best, own = cheapest_setting(system, start, times, error)
    except InputError:
        return None
    cost = latent_cost(forecaster, initial, forecaster.step)
    return {
        "against_own_solver": own.seconds / cost.advance,
        "against_cheapest_solver": best.seconds / cost.advance,
        "cheapest_solver": {"options": best.options, "mnad": best.error},
        "with_decoding": best.seconds / (cost.advance + cost.decode),
        "batch": test.sizes["trajectory"],
        "seconds": {
            "latent": cost.advance, "decode": cost.decode, "own_solver": own.seconds,
            "cheapest_solver": best.seconds,
        },
    }  # fmt: skip


def _long(run: Evaluated, system: System, horizon: float) -> dict[str, Any]:
    """MNAD over a long time, of latent dynamics alone and of a hybrid forecast, without noise."""
    forecaster, hybrid = run.chains[0], run.config.hybrid
    initial = initial_window(datasets.select(run.data, "test"), forecaster.warmup)
    step = forecaster.step
    times = float(initial["time"].values[-1]) + step * np.arange(1, round(horizon / step) + 1)
    solver = SystemSolver.for_data(system, initial, 1, run.config.seed)
    state, path = solver.lift(initial["field"].values[:, -1]), []
    for when in times - step:
        state = solver.step(state, float(when), step)
        path.append(solver.observe(state).astype(np.float32))
    truth = np.stack(path, 1)
    alternation = Alternation(hybrid.solver_time or 10 * step, hybrid.ratio or 1.0)
    runner = Hybrid(forecaster, solver, alternation, step, data_range(run.data))
    with without_noise(forecaster):
        latent = forecaster.forecast(initial, times, 1, run.config.seed)["field"].values[0]
        mixed = runner.forecast(initial, times, 1, run.config.seed)
    return {
        "mnad_long": {
            "horizon": horizon,
            "latent": _mnad(latent, truth),
            "hybrid": _mnad(mixed["field"].values[0], truth),
            "ratio": alternation.ratio,
        },
        "solver_share": mixed.attrs["solver_share"],
    }


def _mnad(forecast: np.ndarray, truth: np.ndarray) -> list[float]:
    found: list[float] = normalised_absolute_difference(forecast, truth).mean((0, 1)).tolist()
    return found


def _kept(states: MetastableStates, step: float) -> dict[str, Any]:
    """What scores.json holds of an analysis of latents."""
    count = len(states.centres)
    flat = states.coordinates.reshape(-1, states.coordinates.shape[-1])[:, :2]
    every = max(1, len(flat) // SHOWN)
    shares = np.bincount(states.labels.ravel(), minlength=count) / states.labels.size
    passage = [[t if np.isfinite(t) else None for t in row] for row in states.passage.tolist()]
    return {
        "count": count,
        "variance": states.variance.tolist(),
        "share": shares.tolist(),
        "transition": states.transition.tolist(),
        "passage": passage,
        "step": step,
        "portrait": flat[::every].round(4).tolist(),
        "labels": states.labels.ravel()[::every].tolist(),
    }


def sections(result: Mapping[str, Any]) -> list[Section]:
    """Errors and costs of effective dynamics, and their metastable states."""
    found = []
    if rows := _rows(result):
        found.append(Section("Effective dynamics", tables=[Table("Scores", ("", "value"), rows)]))
    if states := result.get("latent_states"):
        figure = ("Latent states", partial(portrait, states))
        found.append(Section("Effective dynamics", [figure], [_passages(states)]))
    return found


def _rows(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    if "mnad" in result:
        rows.append(("MNAD", _listed(result["mnad"])))
    if found := result.get("mnad_long"):
        over = f"MNAD over {found['horizon']:g}"
        rows += [(f"{over}, {name}", _listed(found[name])) for name in ("latent", "hybrid")]
    if "nad_lyapunov_times" in result:
        rows.append(("NAD below 0.1, Lyapunov times", f"{result['nad_lyapunov_times']:.2f}"))
    for name, value in result.get("wasserstein", {}).items():
        text = DIVERGED if value is None else f"{np.mean(value):.2e}"
        rows.append((f"Wasserstein distance, {name}", text))
    for name, value in result.get("wasserstein_self_similar", {}).items():
        rows.append((f"of two true ensembles, {name}", f"{value:.2e}"))
    if found := result.get("speedup"):
        rows.append(("Speed-up over the data's solver", f"{found['against_own_solver']:.3g}"))
        setting = ", ".join(f"{k} = {v}" for k, v in found["cheapest_solver"]["options"].items())
        rows.append((
            f"over the cheapest as accurate ({setting or 'the same'})",
            f"{found['against_cheapest_solver']:.3g}; with decoding {found['with_decoding']:.3g}",
        ))  # fmt: skip
    return rows


def _listed(values: Sequence[float | None]) -> str:
    """Of each channel; None stands for NaN."""
    return ", ".join(DIVERGED if value is None else f"{value:.2e}" for value in values)


def _passages(states: Mapping[str, Any]) -> Table:
    rows = []
    for number, times in enumerate(states["passage"]):
        each = ["—" if t is None else f"{t:.3g}" for t in times]
        rows.append((f"state {number} ({100 * states['share'][number]:.0f} %)", *each))
    columns = ("from", *(f"to {number}" for number in range(states["count"])))
    return Table("Mean first-passage times", columns, rows, "— where there was no way.")


def portrait(states: Mapping[str, Any]) -> Figure:
    """The leading two principal coordinates of the training data's latents, by state."""
    figure = new_figure(3.6)
    axes = tidy(figure.add_subplot(), "first principal coordinate", "second")
    points, labels = np.asarray(states["portrait"]), np.asarray(states["labels"])
    markers = "osD^vP*X"
    if points.shape[1] == 1:
        points = np.column_stack([points, np.zeros(len(points))])
    for state in range(states["count"]):
        own = points[labels == state]
        marker = markers[state % len(markers)]
        axes.plot(own[:, 0], own[:, 1], marker, markersize=3, label=f"state {state}")
    axes.legend(fontsize=8, frameon=False)
    share = 100 * sum(states["variance"][:2])
    return finish(figure, f"Latents of the training data; {share:.0f} % of their variance.")


def decoded_states(forecaster: Any, states: MetastableStates) -> xr.Dataset:
    """What each metastable state looks like: the decoder's snapshot of its centre.

    Returns:
        The forecaster's variable with ``trajectory`` counting the states.
    """
    latents = states.centres[np.newaxis, np.newaxis].astype(np.float32)
    decoded: xr.Dataset = forecaster.decode(latents)
    return decoded.isel(member=0, time=0)
