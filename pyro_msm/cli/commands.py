"""The commands of ``pyro-msm``: they parse their options and call the stages.

Nothing heavy is imported before a command needs it, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pyro_msm import __version__
from pyro_msm.cli import options as opt
from pyro_msm.cli.benchmark import WithLists, benchmark
from pyro_msm.cli.shell import Commands, leads, set_up_logging, show
from pyro_msm.errors import InputError

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _version(asked: bool) -> None:
    if asked:
        show(f"pyro-msm {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="The version, and stop."),
    ] = False,
) -> None:
    """Learn stochastic multiscale models from data, roll them out as ensembles, score them."""


@app.command()
def systems() -> None:
    """Lists what can be simulated, with sizes and presets.

    Examples:

    - `pyro-msm systems`
    """
    from pyro_msm.cli.tables import systems_table

    show(systems_table())


@app.command("config")
def show_config(
    source: Annotated[str | None, typer.Argument(help="A system's name or a data file.")] = None,
    preset: opt.Preset = None,
    model: opt.Model = None,
    overrides: opt.Set = None,
    file: opt.ConfigFile = None,
) -> None:
    """Lists every configuration key with its value and meaning.

    Examples:

    - `pyro-msm config kdv-1d --preset demo`
    """
    from pyro_msm.cli.tables import config_table
    from pyro_msm.config import Config, resolve

    layers: dict[str, Any] = {
        "preset": preset,
        "model": model,
        "overrides": overrides,
        "file": file,
    }
    if source is None and any(layers.values()):
        raise InputError("name a SOURCE too, as in `pyro-msm config kdv-1d --preset demo`")
    show(config_table(Config() if source is None else resolve(source, **layers)))


@app.command()
def simulate(
    system: Annotated[str, typer.Argument(help="A system's name (see `pyro-msm systems`).")],
    output: opt.File,
    preset: opt.Preset = None,
    overrides: opt.Set = None,
    file: opt.ConfigFile = None,
    seed: opt.Seed = None,
    force: opt.Force = False,
    quiet: opt.Quiet = False,
) -> None:
    """Simulates a dataset and writes it to a file, a few trajectories at a time.

    What an interruption leaves is deleted, never taken for a dataset.

    Examples:

    - `pyro-msm simulate kdv-1d -o kdv.nc`
    - `pyro-msm simulate kdv-1d -o big.zarr --set data.train=100 --seed 3`
    """
    from pyro_msm.cli import sources
    from pyro_msm.config import resolve
    from pyro_msm.presets import is_system

    set_up_logging(quiet)
    if not is_system(system):
        raise InputError(f"{system} is a file and not a system: see `pyro-msm systems`")
    config = resolve(system, preset=preset, overrides=overrides, file=file, flags={"seed": seed})
    sources.check_output(output, force)
    sources.simulate(config, output, quiet)
    show(str(output))


@app.command()
def train(
    source: opt.Source,
    out: opt.Out,
    preset: opt.Preset = None,
    model: opt.Model = None,
    overrides: opt.Set = None,
    file: opt.ConfigFile = None,
    seed: opt.Seed = None,
    chains: opt.Chains = None,
    device: opt.Device = None,
    smaller: opt.From = None,
    resume: opt.Resume = False,
    force: opt.Force = False,
    quiet: opt.Quiet = False,
) -> None:
    """Trains a model on a system or on your own data.

    Ctrl-C saves the state; `--resume` goes on from there as if nothing had happened. Started by
    `torchrun`, several processes share the windows of every batch.

    Examples:

    - `pyro-msm train kdv-1d --out runs/kdv`
    - `pyro-msm train my.nc --out runs/mine --set model.macro=32`
    - `pyro-msm train kdv-1d --out runs/kdv --resume`
    - `torchrun --nproc-per-node 2 -m pyro_msm.cli train kdv-1d --out runs/kdv`
    - `pyro-msm train kdv-1d --out runs/kdv-6 --from runs/kdv --set model.micro=6`
    """
    flags = {"seed": seed, "chains": chains, "device": device} | _start_flag(smaller)
    layers: dict[str, Any] = {
        "preset": preset,
        "model": model,
        "overrides": overrides,
        "file": file,
    }
    _train(source, out, resume, force, quiet, scored=False, flags=flags, **layers)
    show(str(out))


@app.command()
def rollout(
    run: opt.Run,
    members: opt.Members = None,
    times: opt.Times = None,
    seed: opt.Seed = None,
    device: opt.Device = None,
    store: opt.Store = None,
    memory: opt.Memory = 1.0,
    scheduler: opt.Scheduler = None,
    force: opt.Force = False,
    quiet: opt.Quiet = False,
) -> None:
    """Draws the posterior-predictive ensemble of the test data into RUN/ensemble.nc or .zarr.

    A rollout into a Zarr store that was interrupted goes on if it is given again.

    Examples:

    - `pyro-msm rollout runs/kdv --members 79`
    - `pyro-msm rollout runs/kdv --members 10000 --times 1001 --store latents`
    - `pyro-msm rollout runs/kdv --members 2000 --store zarr --scheduler local:4 --force`
    """
    from pyro_msm.cli import stages
    from pyro_msm.runs import RunDirectory

    set_up_logging(quiet)
    flags = _rollout_flags(members, times) | {"seed": seed, "device": device}
    written = stages.rollout(
        RunDirectory.open(run), quiet=quiet, flags=flags, store=store, memory=memory,
        scheduler=scheduler, force=force,
    )  # fmt: skip
    show(str(written))


@app.command()
def forecast(
    run: opt.Run,
    output: Annotated[Path, typer.Option("--output", "-o", help="The forecast's file: .nc.")],
    initial: Annotated[
        Path | None,
        typer.Option(
            "--initial",
            help="A file with the last snapshots; a hybrid forecast takes the test split without.",
            show_default=False,
        ),
    ] = None,
    until: Annotated[
        float | None, typer.Option("--until", help="Time of the last forecast.")
    ] = None,
    hybrid: opt.Hybrid = False,
    ratio: opt.Ratio = None,
    error_budget: opt.ErrorBudget = None,
    solver_time: opt.SolverTime = None,
    times: opt.Times = None,
    members: opt.Members = None,
    seed: opt.Seed = None,
    device: opt.Device = None,
    force: opt.Force = False,
    quiet: opt.Quiet = False,
) -> None:
    """Forecasts from new initial conditions, as far ahead as the training data reach by default.

    With `--hybrid`, latent dynamics and the true solver of the run's system take turns: by a fixed
    ratio of their times, or whenever the ensemble's spread passes an error budget.

    Examples:

    - `pyro-msm forecast runs/kdv --initial now.nc -o forecast.nc --until 2.0`
    - `pyro-msm forecast runs/fhn -o forecast.nc --hybrid --ratio 5 --members 1`
    - `pyro-msm forecast runs/fhn -o forecast.nc --hybrid --error-budget 0.01 --members 8`
    """
    from pyro_msm import data
    from pyro_msm.cli import sources, stages
    from pyro_msm.config import resolve
    from pyro_msm.runs import RunDirectory

    set_up_logging(quiet)
    given = {"ratio": ratio, "error_budget": error_budget, "solver_time": solver_time}
    if not hybrid and any(value is not None for value in given.values()):
        raise InputError("--ratio, --error-budget and --solver-time time a hybrid forecast: add "
                         "--hybrid")  # fmt: skip
    opened = RunDirectory.open(run)
    flags = _rollout_flags(members, times) | {"seed": seed, "device": device}
    flags |= {f"hybrid.{name}": value for name, value in given.items()}
    config = resolve(opened.config.data.source, base=opened.config, flags=flags)
    sources.check_output(output, force, (".nc",))
    last = None if initial is None else data.open(initial)
    if hybrid:
        result = stages.hybrid(opened, last, config, until)
    elif last is None:
        raise InputError("name the file of the last snapshots: --initial FILE")
    else:
        result = stages.forecast(opened, last, config, until)
    sources.write_forecast(result, output)
    show(str(output))


@app.command()
def evaluate(
    run: opt.Run,
    memory: opt.Memory = 1.0,
    scheduler: opt.Scheduler = None,
    quiet: opt.Quiet = False,
) -> None:
    """Scores the ensemble of a run beside the baselines: RUN/scores.json and a table.

    It is read piece by piece, once, whatever its size.

    Examples:

    - `pyro-msm evaluate runs/kdv`
    - `pyro-msm evaluate runs/kdv --memory 0.5 --scheduler local:4`
    """
    from pyro_msm.cli import stages
    from pyro_msm.runs import RunDirectory

    set_up_logging(quiet)
    opened = RunDirectory.open(run)
    scores = stages.evaluate(opened, quiet=quiet, memory=memory, scheduler=scheduler)

    from pyro_msm import analysis

    show(analysis.table(scores))


@app.command()
def report(
    run: opt.Run,
    pdf: Annotated[bool, typer.Option("--pdf", help="Write RUN/report.pdf too.")] = False,
    animate: Annotated[
        bool,
        typer.Option("--animate", help="Write RUN/animation.gif too, and .mp4 if ffmpeg is there."),
    ] = False,
    quiet: opt.Quiet = False,
) -> None:
    """Writes RUN/report.html, a self-contained page with figures.

    Examples:

    - `pyro-msm report runs/kdv`
    - `pyro-msm report runs/kdv --pdf --animate`
    """
    from pyro_msm.cli import stages
    from pyro_msm.runs import RunDirectory

    set_up_logging(quiet)
    for path in stages.report(RunDirectory.open(run), pdf=pdf, animate=animate):
        show(str(path))


@app.command("run")
def run_all(
    source: opt.Source,
    out: opt.Out,
    preset: opt.Preset = None,
    model: opt.Model = None,
    overrides: opt.Set = None,
    file: opt.ConfigFile = None,
    seed: opt.Seed = None,
    chains: opt.Chains = None,
    members: opt.Members = None,
    device: opt.Device = None,
    smaller: opt.From = None,
    resume: opt.Resume = False,
    force: opt.Force = False,
    quiet: opt.Quiet = False,
) -> None:
    """Does it all: train, roll out, evaluate, report.

    Examples:

    - `pyro-msm run kdv-1d --out runs/kdv`
    - `pyro-msm run burgers-1d --out runs/burgers --preset demo --model macro-only`
    """
    from pyro_msm.cli import stages

    flags = {"seed": seed, "chains": chains, "device": device} | _rollout_flags(members, None)
    flags |= _start_flag(smaller)
    layers: dict[str, Any] = {
        "preset": preset,
        "model": model,
        "overrides": overrides,
        "file": file,
    }
    opened = _train(source, out, resume, force, quiet, scored=True, flags=flags, **layers)
    if not leads():
        return
    stages.rollout(opened, quiet=quiet, force=True)
    scores = stages.evaluate(opened, quiet=quiet)

    from pyro_msm import analysis

    show(analysis.table(scores))
    show(f"Report: {stages.report(opened)[0]}")


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of evaluated runs.")],
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with curves over lead time too.")
    ] = None,
) -> None:
    """Shows the scores of several runs side by side.

    Examples:

    - `pyro-msm compare runs/kdv runs/kdv-macro-only`
    - `pyro-msm compare runs/kdv runs/kdv-macro-only --html compare.html`
    """
    from pyro_msm.cli.tables import comparison_table
    from pyro_msm.runs import RunDirectory

    scores: dict[str, dict[str, Any]] = {}
    for path in runs:
        run = RunDirectory.open(path)
        if not run.scores.exists():
            raise InputError(f"{path} has no scores yet: run `pyro-msm evaluate {path}` first")
        scores[str(path)] = json.loads(run.scores.read_text("utf-8"))
    show(comparison_table(scores))
    if html is not None:
        from pyro_msm import analysis

        show(str(analysis.comparison_page(scores, html)))


app.command(cls=WithLists)(benchmark)


def _train(
    source: str, out: Path, resume: bool, force: bool, quiet: bool, scored: bool, **layers: Any
) -> Any:
    from pyro_msm.cli import stages

    set_up_logging(quiet)
    if force and resume:
        raise InputError("--force starts anew and --resume continues: give one of them")

    def run() -> Any:
        if resume:
            return stages.reopen(source, out, **layers)
        return stages.start(source, out, force=force, quiet=quiet, scored=scored, **layers)

    return stages.train(run, resume=resume, quiet=quiet)


def _layers(
    preset: str | None, model: str | None, overrides: list[str] | None, file: Path | None
) -> dict[str, Any]:
    return {"preset": preset, "model": model, "overrides": overrides, "file": file}


def _start_flag(smaller: Path | None) -> dict[str, Any]:
    return {"model.warm_start": None if smaller is None else str(smaller)}


def _rollout_flags(members: int | None, times: int | None) -> dict[str, Any]:
    return {"rollout.members": members, "rollout.times": times}
