"""All scores of one forecast on one set of trajectories, in one pass over its blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from pyro_msm import scores
from pyro_msm.analysis.ensemble_file import Ensemble, blocks, members_of

LEVELS = (0.5, 0.8, 0.9, 0.95)
INTERVAL_LEVEL = 0.9
RESAMPLES = 2000


@dataclass(frozen=True)
class Forecast:
    """What a forecaster said about the trajectories of an ensemble, at its stored times.

    Attributes:
        signal: noise-free members, ([chain, draw | member], trajectory, time, …).
        noisy: the same with observation noise; None where it must be drawn, or where there is only
            one member, whose absolute error is then scored as it stands.
        noise_std: standard deviation of that noise, (channel, 1[, 1]) or a number.
        diverged_at: (member, trajectory), NaN where finite throughout.
    """

    signal: xr.DataArray
    noisy: xr.DataArray | None
    noise_std: np.ndarray | float
    diverged_at: np.ndarray

    @property
    def members(self) -> int:
        """Members of all chains together."""
        counting = {"chain", "draw", "member"}
        return int(np.prod([n for d, n in self.signal.sizes.items() if d in counting]))

    def with_noise(self, signal: np.ndarray, trajectory: int, times: slice) -> np.ndarray:
        """Members as observed. Drawn noise depends on trajectory and time, not on blocks."""
        if self.members == 1:
            return signal
        if self.noisy is not None:
            return members_of(self.noisy, trajectory, times)
        noisy = np.empty_like(signal)
        for place, time in enumerate(range(times.start, times.stop)):
            generator = np.random.default_rng([trajectory, time])
            noise = generator.standard_normal(signal[:, :, place].shape)
            noisy[:, :, place] = signal[:, :, place] + self.noise_std * noise
        return noisy


def _probabilistic() -> dict[str, scores.Metric]:
    return {
        "crps": scores.FairCRPS(),
        "spread": scores.Spread(),
        "rmse": scores.RootMeanSquareError(),
        "spread_skill": scores.SpreadSkill(),
        "coverage": scores.Coverage(LEVELS),
    }


def _joint() -> dict[str, scores.Metric]:
    return {
        "energy_score": scores.FairEnergyScore(),
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
    """

    def __init__(self, ensemble: Ensemble, forecast: Forecast, trajectories: np.ndarray) -> None:
        self.ensemble = ensemble
        self.forecast = forecast
        self.trajectories = trajectories
        self.finite = np.ones((forecast.members, len(trajectories)), bool)
        shape = (len(trajectories), len(ensemble.time) - 1)
        self.error = scores.ScoreTable(_error(), *shape)
        self.noisy = scores.ScoreTable({**_probabilistic(), **_joint()}, *shape)
        self.clean: scores.ScoreTable | None = None
        if ensemble.clean is not None:
            self.clean = scores.ScoreTable({**_error(), **_probabilistic()}, *shape)
        for row, trajectory in enumerate(trajectories):
            for times in blocks(ensemble, forecast.members):
                self._add(row, int(trajectory), times)

    def _add(self, row: int, trajectory: int, times: slice) -> None:
        place = (slice(row, row + 1), slice(times.start - 1, times.stop - 1))
        signal = members_of(self.forecast.signal, trajectory, times)
        self.finite[:, row] &= np.isfinite(signal.reshape(len(signal), -1)).all(1)
        truth, mask = self.ensemble.truth_of(self.ensemble.observed, trajectory, times)
        self.error.add(scores.Block(signal, truth, mask), *place)
        noisy = self.forecast.with_noise(signal, trajectory, times)
        self.noisy.add(scores.Block(noisy, truth, mask), *place)
        if self.clean is not None and self.ensemble.clean is not None:
            truth, _ = self.ensemble.truth_of(self.ensemble.clean, trajectory, times)
            self.clean.add(scores.Block(signal, truth), *place)

    @property
    def against(self) -> str:
        """Which truth the spread is compared with: the clean one where it is known."""
        return "noisy" if self.clean is None else "clean"

    @property
    def _spread(self) -> scores.ScoreTable:
        return self.noisy if self.clean is None else self.clean

    def summary(self) -> dict[str, Any]:
        """The scores over all trajectories and times, as arrays and dicts."""
        return {
            "relative_error": self._relative_error(self.error),
            "relative_error_clean": self.clean and self._relative_error(self.clean),
            "crps": self.noisy.overall("crps"),
            "crps_clean": self.clean and self.clean.overall("crps"),
            "energy_score": self.noisy.overall("energy_score"),
            "spread_skill": self._spread.overall("spread_skill"),
            "spread_skill_against": self.against,
            "coverage": self._coverage(self.noisy),
            "coverage_clean": self.clean and self._coverage(self.clean),
            "rank_histogram": self._ranks(),
            "valid_prediction_time": self._valid_time(),
            "members": self.forecast.members,
            "trajectories": len(self.trajectories),
            **self._divergence(),
            "by_lead_time": self.by_lead_time(),
        }

    def by_lead_time(self) -> dict[str, Any]:
        """Lists over the scored times."""
        widest = LEVELS.index(0.9)
        lists = {
            "lead_time": self.ensemble.lead_time[1:],
            "relative_error": self.error.by_time("relative_error"),
            "crps": self.noisy.by_time("crps"),
            "spread": self._spread.by_time("spread"),
            "rmse": self._spread.by_time("rmse"),
            "spread_skill": self._spread.by_time("spread_skill"),
            "coverage_0.9": self.noisy.by_time("coverage")[:, widest],
        }
        if self.clean is not None:
            lists["relative_error_clean"] = self.clean.by_time("relative_error")
            lists["crps_clean"] = self.clean.by_time("crps")
            lists["coverage_clean_0.9"] = self.clean.by_time("coverage")[:, widest]
        return lists

    def intervals(self, seed: int) -> dict[str, Any]:
        """Bootstrap intervals by trajectory, (low, high); NaN where there is one trajectory."""
        counts = scores.trajectory_counts(len(self.trajectories), RESAMPLES, seed)

        def interval(table: scores.ScoreTable | None, name: str) -> np.ndarray | None:
            if table is None or len(self.trajectories) < 2:
                return None
            return scores.percentile_interval(table.resampled(name, counts), INTERVAL_LEVEL)

        def by_level(table: scores.ScoreTable | None) -> dict[str, Any]:
            found = interval(table, "coverage")
            return {str(q): found if found is None else found[:, i] for i, q in enumerate(LEVELS)}

        return {
            "relative_error": interval(self.error, "relative_error"),
            "relative_error_clean": interval(self.clean, "relative_error"),
            "crps": interval(self.noisy, "crps"),
            "crps_clean": interval(self.clean, "crps"),
            "energy_score": interval(self.noisy, "energy_score"),
            "spread_skill": interval(self._spread, "spread_skill"),
            "coverage": by_level(self.noisy),
            "coverage_clean": by_level(self.clean),
        }

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

    def _valid_time(self, threshold: float = 0.5) -> dict[str, Any]:
        times, lasted = scores.valid_prediction_time(
            self.error.samples("relative_error"), self.ensemble.lead_time[1:], threshold
        )
        return {
            "threshold": threshold,
            "mean": times.mean(),
            "per_trajectory": times,
            "reached_horizon": int(lasted.sum()),
        }

    def _divergence(self) -> dict[str, Any]:
        times = self.forecast.diverged_at[:, self.trajectories]
        known = np.isfinite(times)
        return {
            "diverged": int((known | ~self.finite).sum()),
            "diverged_first_at": float(times[known].min()) if known.any() else None,
        }
