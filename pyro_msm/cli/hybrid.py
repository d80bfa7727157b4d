"""The stage behind ``pyro-msm forecast --hybrid``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyro_msm.cli.shell import say
from pyro_msm.cli.sources import dataset_of
from pyro_msm.config import Config
from pyro_msm.errors import InputError
from pyro_msm.presets import is_system
from pyro_msm.runs import RunDirectory

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr

    from pyro_msm.data.systems import System
    from pyro_msm.forecasting import LatentForecaster

#: Snapshots of a solver phase where none is given.
SNAPSHOTS = 10


def known_system(config: Config) -> System:
    """The system that a run's data come from.

    Raises:
        InputError: they come from a file, whose equations nobody has told.
    """
    from pyro_msm.data import systems

    if not is_system(config.data.source):
        raise InputError(
            f"a hybrid forecast needs a solver, and {config.data.source} is a file: in Python "
            "forecasting.Hybrid takes any function (state, t, duration)"
        )
    return systems.get(config.data.source, **config.data.options)


def hybrid_forecast(
    run: RunDirectory,
    forecaster: LatentForecaster,
    initial: xr.Dataset | None,
    config: Config,
    until: float | None,
) -> xr.Dataset:
    """A forecast that alternates between latent dynamics and the true solver.

    Args:
        run: a trained run.
        forecaster: its first chain.
        initial: a validated dataset; None: the first snapshots of the test split.
        config: its ``hybrid`` section times the phases.
        until: absolute time of the last forecast; None: the end of the data, or, of initial data,
            as far ahead as those reach.

    Returns:
        What ``Hybrid.forecast`` returns; of fields of the test split also ``nad(truth_time,
        channel)``, averaged over trajectories.

    Raises:
        InputError: no solver, or a forecaster without latent dynamics.
    """
    from pyro_msm import data as datasets
    from pyro_msm.forecasting import LatentForecaster
    from pyro_msm.forecasting.contract import initial_window
    from pyro_msm.forecasting.hybrid import Alternation, Hybrid, data_range
    from pyro_msm.forecasting.solvers import SystemSolver

    system = known_system(config)
    if not isinstance(forecaster, LatentForecaster):
        raise InputError(
            f"family {config.model.family} has no latent dynamics to alternate with: a hybrid "
            "forecast needs --model led or multiscale"
        )
    dataset = dataset_of(run)
    step = float(dataset["time"][1] - dataset["time"][0])
    hybrid = config.hybrid
    alternation = Alternation(
        hybrid.solver_time or SNAPSHOTS * step, hybrid.ratio, hybrid.error_budget
    )
    source = datasets.select(dataset, "test") if initial is None else initial
    last = forecaster.warmup - 1 if initial is None else -1
    window = initial_window(source, forecaster.warmup, last)
    times = _times(dataset, source, float(window["time"][-1]), step, until, initial is None)
    members = config.rollout.members
    copies = members if alternation.ratio is not None else 1
    solver = SystemSolver.for_data(system, window, copies, config.seed)
    runner = Hybrid(forecaster, solver, alternation, step, data_range(dataset))
    result = runner.forecast(window, times, members, config.seed)
    if initial is None:
        result = _compared(result, source)
    _tell(result, window.sizes["trajectory"], members)
    return result


def _times(
    dataset: xr.Dataset,
    source: xr.Dataset,
    start: float,
    step: float,
    until: float | None,
    known: bool,
) -> np.ndarray:
    import numpy as np

    if until is None:
        span = dataset["time"].values
        until = float(source["time"][-1]) if known else start + float(span[-1] - span[0])
    if not until > start + step / 2:
        raise InputError(f"--until {until:g} is not after the last initial snapshot, t={start:g}")
    return start + step * np.arange(1, round((until - start) / step) + 1)


def _compared(result: xr.Dataset, source: xr.Dataset) -> xr.Dataset:
    """With the error of the ensemble mean, as far as the truth reaches; NaN with a lost path."""
    if "field" not in source:
        return result
    reached = result["time"].values <= float(source["time"][-1]) + 1e-9
    truth = source["field"].sel(time=result["time"].values[reached], method="nearest")
    mean = result["field"].isel(time=reached).mean("member", skipna=False)
    space = [dim for dim in truth.dims if dim not in ("trajectory", "time", "channel")]
    span = truth.max(["time", *space]) - truth.min(["time", *space])
    gap: xr.DataArray = abs(mean.drop_vars(mean.coords) - truth.drop_vars(truth.coords))
    share = gap.mean(space, skipna=False) / span.drop_vars(span.coords)
    nad = share.mean("trajectory", skipna=False)
    times = result["time"].values[reached]
    return result.assign(nad=(("truth_time", "channel"), nad.values)).assign_coords(
        truth_time=times
    )


def _tell(result: xr.Dataset, trajectories: int, members: int) -> None:
    """Solver use and costs, errors, and how many paths diverged, a line each."""
    attrs: dict[str, Any] = result.attrs
    spent = {name: attrs.get(f"seconds_{name}", 0.0) for name in ("latent", "decode", "solver")}
    say(
        f"The solver had {100 * attrs['solver_share']:.1f} % of the time of {trajectories} "
        f"trajectories × {members} members: {spent['solver']:.2f} s, beside {spent['latent']:.2f} "
        f"s of latent dynamics and {spent['decode']:.2f} s of decoding."
    )
    since = result["diverged_at"]
    if count := int(since.notnull().sum()):
        say(
            f"{count} of {since.size} paths diverged, the first at t = {float(since.min()):g}: "
            "from there on their values are NaN."
        )
    if "nad" in result:
        labels = [str(name) for name in result["channel"].values]
        means = result["nad"].mean("truth_time", skipna=False).values
        each = ", ".join(f"{name} {value:.2e}" for name, value in zip(labels, means, strict=True))
        say(f"MNAD against the test split: {each}.")
