"""Scores of particles, whose order means nothing: distances of distributions, and moments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pyro_msm import scores
from pyro_msm.analysis.ensemble_file import Ensemble
from pyro_msm.analysis.intervals import INTERVAL_LEVEL, RESAMPLES
from pyro_msm.analysis.scorecard import POINTWISE
from pyro_msm.analysis.scored_forecast import Comparison, Forecast, divergence, one_pass
from pyro_msm.cluster import Run, serially
from pyro_msm.forecasting.layout import MEMORY

#: What is scored, as ``particles`` of scores.json has it.
NAMES = ("wasserstein", "m1_error", "m2_error")

#: Scores that compare values at the same place, of a model: particles have none.
ABSENT = (
    *POINTWISE,
    "coverage_clean",
    "rank_histogram",
    "valid_prediction_time",
    "variance_parts",
    "pit",
    "exceedance",
    "spectrum",
    "scales",
    "band_holds",
    "noise_floor",
)


class _Card:
    """The tables of one forecast; noise-free against the clean truth where it is known."""

    def __init__(
        self,
        ensemble: Ensemble,
        forecast: Forecast,
        trajectories: np.ndarray,
        memory: int,
        run: Run,
    ) -> None:
        self.ensemble, self.forecast, self.trajectories = ensemble, forecast, trajectories
        self.sees: Comparison = "noisy" if ensemble.clean is None else "clean"
        metrics = {
            "wasserstein": scores.ParticleWasserstein(ensemble.labels),
            "moments": scores.MomentErrors(ensemble.labels),
        }
        self.table = scores.ScoreTable(metrics, len(trajectories), len(ensemble.time) - 1)
        tables = [(self.sees, self.table)]
        self.finite = one_pass(ensemble, forecast, trajectories, tables, memory, run)

    def summary(self) -> dict[str, Any]:
        """Entries of scores.json."""
        each = _each(self.table.overall("wasserstein"), self.table.overall("moments"))
        labels = self.ensemble.observed[self.ensemble.kind.label].values
        found: dict[str, Any] = {name: values.mean() for name, values in each.items()}
        by_component = {
            str(label): {name: values[number] for name, values in each.items()}
            for number, label in enumerate(labels)
        }
        over_time = _each(self.table.by_time("wasserstein"), self.table.by_time("moments"))
        lists = {name: values.mean(-1) for name, values in over_time.items()}
        return {
            **dict.fromkeys(ABSENT),
            "particles": {**found, "by_component": by_component, "against": self.sees},
            "members": self.forecast.members,
            "trajectories": len(self.trajectories),
            **divergence(self.forecast, self.trajectories, self.finite),
            "by_lead_time": {"lead_time": self.ensemble.lead_time[1:], **lists},
            "by_trajectory": {"wasserstein": self.table.by_trajectory("wasserstein").mean(-1)},
        }

    def intervals(self, seed: int) -> dict[str, Any]:
        """(low, high) of each score; None with one trajectory."""
        number = len(self.trajectories)
        if number < 2:
            return dict.fromkeys(NAMES)
        counts = scores.trajectory_counts(number, RESAMPLES, seed)
        drawn = [self.table.resampled(name, counts) for name in self.table.metrics]
        return {
            name: scores.percentile_interval(values.mean(-1), INTERVAL_LEVEL)
            for name, values in _each(*drawn).items()
        }


def particle_scores(
    ensemble: Ensemble,
    model: Forecast,
    trajectories: np.ndarray,
    baselines: Mapping[str, Forecast],
    seed: int,
    memory: int = MEMORY,
    run: Run = serially,
) -> dict[str, Any]:
    """What scores.json says of a forecast of particles, on some trajectories.

    ``particles`` holds ``wasserstein``, the mean over members of the Wasserstein-1 distance between
    the values of a component in a member and in the truth; ``m1_error`` and ``m2_error``, the error
    of the mean and the variance over particles, averaged over members; all averaged over times,
    trajectories and components, and ``by_component``. Scores of points are None.

    Arguments are those of ``point_scores``.
    """
    card = _Card(ensemble, model, trajectories, memory, run)
    result = card.summary()
    result["intervals"] = {"particles": card.intervals(seed)}
    result["baselines"] = {
        name: _Card(ensemble, forecast, trajectories, memory, run).summary()
        for name, forecast in baselines.items()
    }
    return result


def _each(distance: np.ndarray, moments: np.ndarray) -> dict[str, np.ndarray]:
    """By name, (…, component): of (…, component) and (…, 2, component)."""
    return dict(zip(NAMES, (distance, moments[..., 0, :], moments[..., 1, :]), strict=True))
