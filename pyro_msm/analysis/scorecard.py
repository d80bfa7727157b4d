"""All scores of one forecast on one set of trajectories, in one pass over its blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pyro_msm import scores
from pyro_msm.analysis.ensemble_file import Ensemble
from pyro_msm.analysis.scored_forecast import (
    Comparison,
    Diagnostic,
    Forecast,
    divergence,
    one_pass,
)
from pyro_msm.cluster import Run, serially
from pyro_msm.forecasting.layout import MEMORY

LEVELS = (0.5, 0.8, 0.9, 0.95)
VALID_ERROR = 0.5

#: Scores that compare values at the same place, of every forecast.
POINTWISE = (
    "relative_error",
    "relative_error_clean",
    "crps",
    "crps_clean",
    "energy_score",
    "spread_skill",
    "spread_skill_against",
    "coverage",
)


def _probabilistic() -> dict[str, scores.Metric]:
    return {
        "crps": scores.FairCRPS(),
        "spread": scores.Spread(),
        "rmse": scores.RootMeanSquareError(),
        "spread_skill": scores.SpreadSkill(),
        "coverage": scores.Coverage(LEVELS),
    }


def _joint(chains: int) -> dict[str, scores.Metric]:
    return {
        "energy_score": scores.FairEnergyScore(chains),
        "rank_histogram": scores.RankHistogram(),
    }


def _error() -> dict[str, scores.Metric]:
    return {
        "relative_error": scores.RelativeError(),
        "std": scores.RelativeErrorStd(),
        "undefined": scores.ZeroTruth(),
    }


class Scorecard:
    """The statistics of one forecast on some trajectories.

    Three comparisons, each in a table of its own: ``error``, the noise-free members against the
    noisy truth (only their mean counts: the published error); ``noisy``, members with observation
    noise against the noisy truth; ``clean``, noise-free members against the clean truth, where it
    is known.

    Args:
        ensemble: where the truth stands.
        forecast: what is scored.
        trajectories: numbers of those that are scored.
        diagnostics: what else sees the members as they go by.
        memory: bytes to work with.
        run: where blocks are scored.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        forecast: Forecast,
        trajectories: np.ndarray,
        diagnostics: Sequence[Diagnostic] = (),
        memory: int = MEMORY,
        run: Run = serially,
    ) -> None:
        self.ensemble = ensemble
        self.forecast = forecast
        self.trajectories = trajectories
        shape = (len(trajectories), len(ensemble.time) - 1)
        self.error = scores.ScoreTable(_error(), *shape)
        chains = forecast.signal.sizes.get("chain", 1)
        self.noisy = scores.ScoreTable({**_probabilistic(), **_joint(chains)}, *shape)
        self.clean: scores.ScoreTable | None = None
        if ensemble.clean is not None:
            self.clean = scores.ScoreTable({**_error(), **_probabilistic()}, *shape)
        tables: list[tuple[Comparison, scores.ScoreTable]]
        tables = [("signal", self.error), ("noisy", self.noisy)]
        if self.clean is not None:
            tables.append(("clean", self.clean))
        tables += [(diagnostic.sees, diagnostic.table) for diagnostic in diagnostics]
        self.finite = one_pass(ensemble, forecast, trajectories, tables, memory, run)

    @property
    def against(self) -> str:
        """Which truth the spread is compared with: the clean one where it is known."""
        return "noisy" if self.clean is None else "clean"

    @property
    def spread_table(self) -> scores.ScoreTable:
        """The comparison in which the spread is judged."""
        return self.noisy if self.clean is None else self.clean

    def summary(self) -> dict[str, Any]:
        """The scores over all trajectories and times, as arrays and dicts."""
        return {
            "relative_error": self._relative_error(self.error),
            "relative_error_clean": self.clean and self._relative_error(self.clean),
            "crps": self.noisy.overall("crps"),
            "crps_clean": self.clean and self.clean.overall("crps"),
            "energy_score": self.noisy.overall("energy_score"),
            "spread_skill": self.spread_table.overall("spread_skill"),
            "spread_skill_against": self.against,
            "coverage": self._coverage(self.noisy),
            "coverage_clean": self.clean and self._coverage(self.clean),
            "rank_histogram": self._ranks(),
            "valid_prediction_time": self._valid_time(),
            "members": self.forecast.members,
            "trajectories": len(self.trajectories),
            **divergence(self.forecast, self.trajectories, self.finite),
            "by_lead_time": self.by_lead_time(),
            "by_trajectory": {
                "crps": self.noisy.by_trajectory("crps"),
                "energy_score": self.noisy.by_trajectory("energy_score"),
                "spread_skill": self.spread_table.by_trajectory("spread_skill"),
                "coverage_0.9": self.noisy.by_trajectory("coverage")[:, LEVELS.index(0.9)],
            },
        }

    def by_lead_time(self) -> dict[str, Any]:
        """Lists over the scored times."""
        widest = LEVELS.index(0.9)
        held = self.noisy.by_time("coverage")
        lists = {
            "lead_time": self.ensemble.lead_time[1:],
            "relative_error": self.error.by_time("relative_error"),
            "crps": self.noisy.by_time("crps"),
            "spread": self.spread_table.by_time("spread"),
            "rmse": self.spread_table.by_time("rmse"),
            "spread_skill": self.spread_table.by_time("spread_skill"),
            "energy_score": self.noisy.by_time("energy_score"),
            **{f"coverage_{level}": held[:, i] for i, level in enumerate(LEVELS)},
        }
        if self.clean is not None:
            lists["relative_error_clean"] = self.clean.by_time("relative_error")
            lists["crps_clean"] = self.clean.by_time("crps")
            lists["coverage_clean_0.9"] = self.clean.by_time("coverage")[:, widest]
        return lists

    def _relative_error(self, table: scores.ScoreTable) -> dict[str, Any]:
        return {
            "mean": table.overall("relative_error"),
            "std": table.overall("std"),
            "per_trajectory": table.by_trajectory("relative_error"),
            "undefined": table.overall("undefined"),
        }

    def _coverage(self, table: scores.ScoreTable) -> dict[str, Any]:
        observed = table.overall("coverage")
        if self.forecast.members < 2:
            return {str(level): {"nominal": None, "observed": None} for level in LEVELS}
        nominal = [scores.order_statistic_level(self.forecast.members, q)[1] for q in LEVELS]
        return {
            str(level): {"nominal": nominal[i], "observed": observed[i]}
            for i, level in enumerate(LEVELS)
        }

    def _ranks(self) -> np.ndarray | None:
        return self.noisy.overall("rank_histogram") if self.forecast.members > 1 else None

    def valid_times(self) -> np.ndarray:
        """The valid prediction time of each trajectory."""
        return self._lasting()[0]

    def _lasting(self) -> tuple[np.ndarray, np.ndarray]:
        error, lead = self.error.samples("relative_error"), self.ensemble.lead_time[1:]
        return scores.valid_prediction_time(error, lead, VALID_ERROR)

    def _valid_time(self) -> dict[str, Any]:
        times, lasted = self._lasting()
        return {
            "threshold": VALID_ERROR,
            "mean": times.mean(),
            "per_trajectory": times,
            "reached_horizon": int(lasted.sum()),
        }
