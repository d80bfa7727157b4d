"""Trains our models into the results folder, chains of growing ones link by link."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import xarray as xr

from pyro_msm import forecasting
from pyro_msm.benchmark.plan import Job, Plan
from pyro_msm.benchmark.records import Results
from pyro_msm.config import Config
from pyro_msm.runs import RunDirectory

logger = logging.getLogger("pyro_msm")


@dataclass(frozen=True)
class Trainings:
    """The trainings of one benchmark; each goes on where it was interrupted.

    Attributes:
        plan: says which model is grown from which.
        results: the folder that they are kept in.
        overrides: texts of ``--set``.
        progress: show progress bars.
    """

    plan: Plan
    results: Results
    overrides: tuple[str, ...] = ()
    progress: bool = False

    def trained(
        self, job: Job, data: xr.Dataset, force: bool = False
    ) -> tuple[forecasting.Forecaster, float | None]:
        """The model of a job, and its seconds, with those of the smaller ones it was grown from.

        Args:
            job: of a model of ours.
            data: of its system.
            force: train it again from the start; not those it is grown from.
        """
        config = self._configuration(job, data)
        run = self.results.run_of(job)
        there = run.config_file.exists()
        if force or not there or run.config != config:
            run = run.create(run.path, config, force=there)
        forecaster = forecasting.build(config, data)
        forecaster.fit(
            data,
            run=run,
            resume=run.has_checkpoint,
            seed=config.seed,
            device=config.device,
            progress=self.progress,
        )
        return forecaster, _seconds(run)

    def _configuration(self, job: Job, data: xr.Dataset) -> Config:
        """That of the plan, with the run that the job starts from, which is trained if need be."""
        config = self.plan.configuration(job, self.overrides)
        smaller = self.plan.smaller(job, self.overrides)
        if smaller is None:
            return config
        start = self.results.run_of(smaller)
        if not (self.results.has(smaller) and start.has_checkpoint):
            logger.info("%s: %s first, from which it grows", job.system, smaller)
            self.trained(smaller, data)
        model = config.model.model_copy(update={"warm_start": str(start.path.resolve())})
        return config.model_copy(update={"model": model})


def _seconds(run: RunDirectory) -> float | None:
    """Seconds of training of a run and of those that it started from."""
    own, start = run.training_seconds(), run.config.model.warm_start
    before = _seconds(RunDirectory(start)) if start else 0.0
    return None if own is None or before is None else own + before
