"""Runs the jobs of a benchmark, each kept as soon as it is done."""

from __future__ import annotations

import inspect
import itertools
import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pyro_msm import forecasting
from pyro_msm.benchmark import figure, scoring, table
from pyro_msm.benchmark.plan import LED, NOISE_FLOOR, OURS, SLOW_FAST, Job, Plan, jobs, load_plan
from pyro_msm.benchmark.published import published
from pyro_msm.benchmark.records import Record, Results
from pyro_msm.benchmark.training import Trainings
from pyro_msm.benchmark.workers import computed
from pyro_msm.config import Config
from pyro_msm.data import systems as simulated
from pyro_msm.environment import available_device, describe_environment
from pyro_msm.errors import InputError, TrainingDiverged
from pyro_msm.files import write_text
from pyro_msm.forecasting.baselines import ALL_BASELINES, Persistence
from pyro_msm.progress import progress_bar

logger = logging.getLogger("pyro_msm")

#: What becomes a note in the record: input that does not fit, or numbers that ran away.
FAILURES = (InputError, TrainingDiverged, ArithmeticError, np.linalg.LinAlgError)


def run(
    systems: Sequence[str] | None = None,
    *,
    models: Sequence[str] | None = None,
    preset: str = "demo",
    seeds: Sequence[int] | None = None,
    out: Path | str = "results",
    overrides: Sequence[str] = (),
    force: bool = False,
    progress: bool = False,
    processes: int = 1,
) -> Results:
    """Computes what is missing of a benchmark, and writes its table and figure.

    Args:
        systems: names; None means all.
        models: names of ours and of baselines; None means all that suit a system.
        preset: demo or paper, see ``presets.toml``.
        seeds: of trainings, in place of the preset's.
        out: the results folder.
        overrides: texts "section.key=value" for every system's configuration.
        force: compute again what is asked for, whoever computed it.
        progress: show progress bars; of one process only.
        processes: so many systems are computed side by side.

    Raises:
        InputError: wrong names or overrides, or a folder that holds other results.
    """
    plan = load_plan(preset)
    wanted = jobs(plan, systems, models, seeds)
    # All configurations are resolved before anything is written or computed.
    configs = {job: plan.configuration(job, overrides) for job in wanted}
    device = available_device(configs[wanted[0]].device)
    results = Results.open(out, preset, overrides, force)
    if force:
        results.forget(wanted)
    left = [job for job in wanted if not results.has(job)]
    logger.info("%d of %d rows to compute into %s.", len(left), len(wanted), results.folder)
    write_text(results.environment, json.dumps(describe_environment(device), indent=2) + "\n")
    groups = [list(jobs) for _, jobs in itertools.groupby(left, lambda job: job.system)]
    alone = min(processes, len(groups)) < 2
    trainings = Trainings(plan, results, tuple(overrides), progress and alone)
    for job, records in computed(groups, Rows(trainings, force), processes):
        results.add(records)
        left.remove(job)
        table.write(results)
        if not any(other.system == job.system for other in left):
            figure.write(results)
    table.write(results)
    figure.write(results)
    return results


@dataclass(frozen=True)
class Rows:
    """Computes the rows of one system, from the same data.

    Attributes:
        trainings: of our models.
        force: train them again.
    """

    trainings: Trainings
    force: bool = False

    def __call__(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, list[Record]]]:
        """Each job with its records."""
        trainings, data = self.trainings, None
        for number, job in enumerate(jobs, 1):
            config = trainings.plan.configuration(job, trainings.overrides)
            if data is None:
                data = _simulated(config, trainings.progress)
            logger.info("%s, %d of %d: %s", job.system, number, len(jobs), job)
            records = _records(job, trainings, config, data, self.force)
            yield job, records
            if not trainings.results.has(job):  # in a process of its own, where nobody adds them
                trainings.results.records += records


def _simulated(config: Config, progress: bool) -> xr.Dataset:
    """The dataset of a system, the same for all of its jobs."""
    data = config.data
    counts = {split: getattr(data, split) for split in ("train", "validation", *scoring.SPLITS)}
    if not data.test:
        raise InputError("data.test=0 leaves the benchmark nothing to score: simulate at least 1")
    with progress_bar(f"simulating {data.source}", enabled=progress) as update:
        return simulated.get(data.source, **data.options).simulate(
            counts, seed=data.seed or 0, noise_std=data.noise_std, progress=update
        )


def _records(
    job: Job, trainings: Trainings, config: Config, data: xr.Dataset, force: bool
) -> list[Record]:
    """The records of a job, one a split; of one that fails, with the reason and no scores."""
    splits, plan = scoring.splits_of(data), trainings.plan
    row: Record = {"system": job.system, "preset": plan.preset, "model": job.model}
    row |= {"micro": job.micro, "seed": job.seed}
    known = published(job.system).errors.get((job.model, job.micro))
    rows = [row | {"split": s, "published": known if s == "test" else None} for s in splits]
    times = config.rollout.times
    if job.model == NOISE_FLOOR:
        reference = Persistence().fit(data)
        reference.warmup = config.model.snapshots
        return [r | scoring.noise_floor(data, r["split"], reference, times) for r in rows]
    try:
        if job.model in OURS:
            fitted, seconds = trainings.trained(job, data, force)
        else:
            fitted, seconds = _baseline(job.model, plan, config, data)
        more: Record = {"train_seconds": seconds, "note": _note(job, trainings, config)}
        members, seed = config.rollout.members, job.seed or 0
        budget = plan.ensemble_mib * 2**20
        scored = []
        for r in rows:
            own = config if job.model in (LED, SLOW_FAST) and r["split"] == "test" else None
            found = scoring.scored(fitted, data, r["split"], members, times, seed, budget, own)
            scored.append(_noted(r | more, found))
        return scored
    except FAILURES as error:
        reason = " ".join(str(error).split())
        logger.warning("%s: no %s: %s", job.system, job, reason)
        return [r | {"note": reason} for r in rows]


def _note(job: Job, trainings: Trainings, config: Config) -> str:
    """How one of our models differs from others of its row or table."""
    notes = []
    if job.model in OURS and config.model.frame != "fixed":
        notes.append(f"in the {config.model.frame} frame")
    if job.model in OURS and config.model.physics is not None:
        notes.append("the equation is known")
    smaller = trainings.plan.smaller(job, trainings.overrides)
    if smaller is not None:
        notes.append(f"seed {job.seed} is grown from n_η = {smaller.micro}")
    return "; ".join(notes)


def _noted(record: Record, scores: Record) -> Record:
    """Both, their notes joined."""
    notes = [found["note"] for found in (record, scores) if found.get("note")]
    return record | scores | {"note": "; ".join(notes)}


def _baseline(
    name: str, plan: Plan, config: Config, data: xr.Dataset
) -> tuple[forecasting.Forecaster, float]:
    """A baseline, fitted and tuned, started from as many snapshots as our models; its seconds."""
    kind = ALL_BASELINES[name]
    options: dict[str, Any] = {"warmup": config.model.snapshots, **plan.baselines}
    macro = config.model.macro
    if macro is not None:  # coarse DNS has the grid of the macroscale, its coarser axis
        options["points"] = min(macro) if isinstance(macro, list) else macro
    taken = inspect.signature(kind).parameters
    began = time.perf_counter()
    baseline = kind(**{key: value for key, value in options.items() if key in taken})
    baseline.warmup = options["warmup"]
    baseline.fit(data)
    return baseline, time.perf_counter() - began
