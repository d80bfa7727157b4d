"""The stages of a run (train, roll out, evaluate, report), each from the folder that holds it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pyro_msm.cli.shell import INTERRUPTED, say
from pyro_msm.cli.sources import absolute, dataset_of, fingerprint, new_dataset
from pyro_msm.config import TRAINED_FAMILIES, Config, resolve
from pyro_msm.environment import available_device
from pyro_msm.errors import InputError
from pyro_msm.files import remove
from pyro_msm.presets import is_system
from pyro_msm.runs import RunDirectory, check_same_config, check_warm_start

if TYPE_CHECKING:
    import xarray as xr

    from pyro_msm.forecasting.contract import Forecaster


def start(
    source: str,
    out: Path,
    *,
    force: bool,
    quiet: bool,
    scored: bool,
    flags: dict[str, Any],
    **layers: Any,
) -> RunDirectory:
    """A new run: its folder, configuration and data, nothing trained yet.

    Whatever can be wrong with the input is found before the folder is touched.

    Args:
        source: a system's name or a data file.
        out: the folder.
        force: replace the run that is there.
        quiet: show no progress.
        scored: the run will be evaluated, so the data must have a test split.
        flags: as for ``resolve``; with ``model.warm_start`` what is not given is as in that run.
        layers: further arguments of ``resolve``.
    """
    source = absolute(source)
    smaller = flags.get("model.warm_start")
    base = RunDirectory.open(smaller).config if smaller else None
    flags = flags | {"data.fingerprint": fingerprint(source)}
    config = resolve(source, flags=flags, base=base, **layers)
    check_warm_start(config, out)
    _check_processes(config)
    device = available_device(config.device)
    RunDirectory(out).check_free(force)

    from pyro_msm import data
    from pyro_msm.forecasting import build

    simulated = out.resolve().with_name(f".{out.resolve().name}.data.nc")
    try:
        with new_dataset(config, simulated, quiet) as dataset:
            if scored:
                data.select(dataset, "test")
            build(config, dataset)
        run = RunDirectory.create(out, config, force)
        run.write_environment(device)
        if is_system(source):
            simulated.replace(run.data)
    finally:
        simulated.unlink(missing_ok=True)
    return run


def reopen(source: str, out: Path, *, flags: dict[str, Any], **layers: Any) -> RunDirectory:
    """The run that is to be resumed; options that were not given are those of its first training.

    Raises:
        InputError: there is none, or the options given change what is trained.
    """
    source = absolute(source)
    run = RunDirectory.open(out)
    saved = run.config
    flags = flags | {"data.fingerprint": fingerprint(source)}
    config = resolve(source, flags=flags, base=saved, **layers)
    check_same_config(saved, config, out)
    _check_processes(config)
    available_device(config.device)
    config.save(run.config_file)
    return run


def train(prepare: Callable[[], RunDirectory], *, resume: bool, quiet: bool) -> RunDirectory:
    """Trains every chain of a run, or what is left of them.

    Args:
        prepare: makes or reopens the run; of several processes the leading one alone does so.
        resume: go on from the last checkpoints.
        quiet: show no progress.
    """
    from pyro_msm.inference import process_group

    with process_group() as processes:
        run = processes.by_leader(prepare)
        dataset = dataset_of(run)
        for index in range(run.config.chains):
            chain = processes.by_leader(partial(_prepare_chain, run, index))
            config = run.chain_config(index)
            say(f"Training {config.model.family} into {chain.path} (seed {config.seed}).")
            try:
                _fit(config, dataset, chain, resume=resume and chain.has_checkpoint, quiet=quiet)
            except KeyboardInterrupt:
                if processes.leads:
                    typer.echo(_how_to_continue(run, chain), err=True)
                raise typer.Exit(INTERRUPTED) from None
    return run


def _prepare_chain(run: RunDirectory, index: int) -> RunDirectory:
    chain, own = run.chain(index), run.chain_config(index)
    if not chain.config_file.exists():
        RunDirectory.create(chain.path, own)
    elif index:
        own.save(chain.config_file)
    return chain


def _check_processes(config: Config) -> None:
    """Raises ``InputError`` where the processes of ``torchrun`` cannot train this together."""
    from pyro_msm.inference import Processes

    processes, family = Processes(), config.model.family
    if processes.count > 1 and family != "multiscale":
        raise InputError(
            f"{processes.count} processes were started and {family} trains in one: start it alone, "
            "or choose --model multiscale"
        )
    processes.share(config.training.windows)


def _fit(
    config: Config, dataset: xr.Dataset, run: RunDirectory, *, resume: bool, quiet: bool
) -> None:
    from pyro_msm.forecasting import build

    forecaster = build(config, dataset)
    if config.model.family in TRAINED_FAMILIES:
        forecaster.fit(
            dataset,
            run=run,
            resume=resume,
            seed=config.seed,
            device=config.device,
            progress=not quiet,
        )
    else:
        forecaster.fit(dataset).save(run.checkpoints)


def _how_to_continue(run: RunDirectory, chain: RunDirectory) -> str:
    command = f"pyro-msm train {run.config.data.source} --out {run.path} --resume"
    if chain.has_checkpoint:
        return f"Interrupted; saved in {chain.checkpoints}. Continue with: {command}"
    return f"Interrupted before the first checkpoint in {chain.path}. Start again with: {command}"


def load_chains(run: RunDirectory, device: str) -> list[Forecaster]:
    """The fitted forecaster of each chain."""
    from pyro_msm.forecasting import load_forecaster

    device = available_device(device)
    return [load_forecaster(run.chain(i).path, device) for i in range(run.config.chains)]


def rollout(
    run: RunDirectory,
    *,
    quiet: bool,
    flags: dict[str, Any] | None = None,
    store: str | None = None,
    memory: float = 1.0,
    scheduler: str | None = None,
    force: bool = False,
) -> Path:
    """Draws the posterior-predictive ensemble of the test splits.

    Args:
        run: a trained run.
        quiet: show no progress.
        flags: as for ``resolve``.
        store: "nc", "zarr" or "latents"; None: nc, or zarr where that takes more than ``memory``.
        memory: GiB to work with.
        scheduler: of a Dask cluster, as for ``cluster.workers``.
        force: replace the ensemble that is there, whose scores go with it.

    Returns:
        ``RUN/ensemble.nc`` or ``RUN/ensemble.zarr``.

    Raises:
        InputError: there is an ensemble already, or options do not go together.
    """
    config = run.config
    config = resolve(config.data.source, base=config, flags=flags)
    available_device(config.device)
    _check_rollout(run, store, memory, force)

    from pyro_msm.forecasting import rollout as draw
    from pyro_msm.forecasting import write_ensemble

    chains, dataset = load_chains(run, config.device), dataset_of(run)
    say(f"Rolling out {config.rollout.members} members of {len(chains)} chain(s).")
    kind = store or _fitting_store(run, chains, dataset, config, memory, scheduler)
    if scheduler is not None and kind == "nc":
        raise InputError("--scheduler writes to Zarr: leave out --store nc")
    how: dict[str, Any] = {
        "members": config.rollout.members,
        "generator": config.seed,
        "times": config.rollout.times,
        "memory": int(memory * 2**30),
        "progress": not quiet,
    }
    if kind == "nc":
        write_ensemble(draw(chains, dataset, **how), run.ensemble)
        written, other = run.ensemble, run.ensemble_store
    else:
        written, other = run.ensemble_store, run.ensemble
        how |= {"store": written, "fields": kind == "zarr", "scheduler": scheduler}
        try:
            draw(chains, dataset, force=force, **how).close()
        except KeyboardInterrupt:
            typer.echo(f"Interrupted; {run.unfinished_store} keeps what is done: give the same "
                       "command again to go on from there.", err=True)  # fmt: skip
            raise typer.Exit(INTERRUPTED) from None
    remove(other)
    remove(run.scores)  # they were those of the ensemble before
    return written


def _check_rollout(run: RunDirectory, store: str | None, memory: float, force: bool) -> None:
    if store not in {None, "nc", "zarr", "latents"}:
        raise InputError(f"--store {store}: expected nc, zarr or latents")
    if memory <= 0:
        raise InputError(f"--memory {memory:g}: expected a number of GiB above 0")
    for path in (run.ensemble, run.ensemble_store):
        if path.exists() and not force:
            raise InputError(f"{path} exists: replace it with --force")


def _fitting_store(
    run: RunDirectory,
    chains: list[Forecaster],
    dataset: xr.Dataset,
    config: Config,
    memory: float,
    scheduler: str | None,
) -> str:
    """The kind of file in which an ensemble is kept where nobody says: see ``rollout``."""
    from pyro_msm.forecasting.rollout import ensemble_bytes

    if scheduler is not None:
        return "zarr"
    size = ensemble_bytes(chains, dataset, config.rollout.members, config.rollout.times)
    if size <= memory * 2**30:
        return "nc"
    say(
        f"The ensemble takes {size / 2**30:.1f} GiB, more than --memory {memory:g}: it goes to "
        f"{run.ensemble_store} piece by piece (--store latents would keep no fields)."
    )
    return "zarr"


def evaluate(
    run: RunDirectory, *, quiet: bool, memory: float = 1.0, scheduler: str | None = None
) -> dict[str, Any]:
    """Scores the ensemble and the baselines beside it into ``RUN/scores.json``.

    Args:
        run: a run with an ensemble.
        quiet: show no progress.
        memory: GiB to work with.
        scheduler: of a Dask cluster, as for ``cluster.workers``.

    Raises:
        InputError: there is no ensemble, only a part of one, or one of other weights.
    """
    if memory <= 0:
        raise InputError(f"--memory {memory:g}: expected a number of GiB above 0")
    ensembles = (run.ensemble, run.ensemble_store, run.unfinished_store)
    if not any(path.exists() for path in ensembles):
        raise InputError(f"{run.path} has no ensemble yet: run `pyro-msm rollout {run.path}` first")

    from pyro_msm import analysis
    from pyro_msm.cli import beside
    from pyro_msm.forecasting import open_ensemble
    from pyro_msm.forecasting.ensemble import check_weights

    config = run.config
    with open_ensemble(run.path) as tree:
        seconds = {
            "train": _training_seconds(run),
            "rollout": tree["constant_data"].attrs.get("seconds_rollout"),
        }
        chains, dataset = load_chains(run, config.device), dataset_of(run)
        check_weights(tree, chains, run.path)
        validation = beside.validation_of(tree, chains, dataset, config.seed)
        trees = [tree] if validation is None else [tree, validation]
        forecasts = beside.baselines_of(trees, dataset, config.model.family, chains[0].warmup)
        scores = analysis.evaluate(
            tree, baselines=forecasts[0], validation=validation,
            validation_baselines=forecasts[-1], seconds=seconds, memory=int(memory * 2**30),
            scheduler=scheduler, progress=not quiet,
        )  # fmt: skip
        scores["family"] = config.model.family
        scores |= beside.own_scores(tree, chains, dataset, config, scores, not quiet)
    analysis.write_scores(run.scores, scores)
    return scores


def _training_seconds(run: RunDirectory) -> float | None:
    """Of all chains together; None if one of them has no record."""
    each = [run.chain(index).training_seconds() for index in range(run.config.chains)]
    known = [seconds for seconds in each if seconds is not None]
    return sum(known) if len(known) == len(each) else None


def report(run: RunDirectory, *, pdf: bool = False, animate: bool = False) -> list[Path]:
    """Writes ``RUN/report.html``, and what else is asked for; returns the paths, the page first.

    Raises:
        InputError: there are no scores, or no ensemble of the run's weights.
    """
    if not run.scores.exists():
        raise InputError(f"{run.path} has no scores yet: run `pyro-msm evaluate {run.path}` first")

    import json

    from pyro_msm import analysis
    from pyro_msm.forecasting import open_ensemble
    from pyro_msm.forecasting.ensemble import check_weights, drawn_with

    with open_ensemble(run.path) as tree:
        if run.has_checkpoint and drawn_with(tree) is not None:
            check_weights(tree, load_chains(run, "cpu"), run.path)
    paths = [analysis.report(run.path)]
    if pdf:
        paths.append(analysis.report_pdf(run.path))
    if animate:
        with open_ensemble(run.path) as tree:
            ensemble = analysis.Ensemble(tree)
            shown = analysis.typical(ensemble, json.loads(run.scores.read_text("utf-8")))
            paths += analysis.animate(ensemble, run.path, shown)
    return paths


def forecast(
    run: RunDirectory, initial: xr.Dataset, config: Config, until: float | None
) -> xr.Dataset:
    """A forecast of the first chain from the last snapshots of ``initial``.

    Args:
        run: a trained run.
        initial: a validated dataset with at least as many snapshots as the model's warm-up.
        config: members, times, seed and device; the times are evenly spaced and start with the
            last snapshot's.
        until: absolute time of the last one; None: as far ahead as the training data reach.

    Returns:
        What ``Forecaster.forecast`` returns, and ``unlike_training(trajectory)``, which is also
        said.

    Raises:
        InputError: too few snapshots, or ``until`` is not after them.
    """
    import numpy as np

    from pyro_msm.forecasting.contract import initial_window

    forecaster = load_chains(run, config.device)[0]
    if initial.sizes["time"] < forecaster.warmup:
        raise InputError(
            f"the initial file has {initial.sizes['time']} snapshot(s) and this model needs the "
            f"last {forecaster.warmup}"
        )
    start = float(initial["time"][-1])
    if until is None:
        span = dataset_of(run)["time"]
        until = start + float(span[-1] - span[0])
    if not until > start:
        raise InputError(f"--until {until:g} is not after the last initial snapshot, t={start:g}")
    window = initial_window(initial, forecaster.warmup, last=-1)
    times = np.linspace(start, until, config.rollout.times)
    unlike = forecaster.unlike(window)
    if unlike.any():
        say(
            f"{unlike.sum()} of {len(unlike)} initial snapshots show what no training snapshot "
            "did: the ensemble starts as wide as what the model misses of them, and its mean may "
            "be far off."
        )
    result = forecaster.forecast(window, times, config.rollout.members, config.seed)
    return result.assign(unlike_training=("trajectory", unlike))


def hybrid(
    run: RunDirectory, initial: xr.Dataset | None, config: Config, until: float | None
) -> xr.Dataset:
    """A hybrid forecast of the first chain: see ``cli.hybrid.hybrid_forecast``."""
    from pyro_msm.cli.hybrid import hybrid_forecast

    forecaster: Any = load_chains(run, config.device)[0]
    return hybrid_forecast(run, forecaster, initial, config, until)
