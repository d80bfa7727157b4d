"""Probabilities of exceeding a threshold: Brier score and reliability."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyro_msm import scores
from pyro_msm.analysis.ensemble_file import Ensemble
from pyro_msm.analysis.scored_forecast import Comparison

QUANTILE = 0.9
LEVEL = 0.9


def thresholds(ensemble: Ensemble, trajectories: np.ndarray, quantile: float) -> np.ndarray:
    """The quantile of the noisy truth of each channel over the scored times, (channel,)."""
    parts = []
    for trajectory in trajectories:
        times = slice(1, len(ensemble.time))
        truth, mask = ensemble.truth_of(ensemble.observed, int(trajectory), times)
        seen = np.isfinite(truth) if mask is None else np.isfinite(truth) & mask
        parts.append(np.where(seen, truth, np.nan))
    # (trajectory, time, channel, …) -> (channel, everything)
    values = np.moveaxis(np.concatenate(parts), 2, 0)
    values = values.reshape(len(values), -1)
    known = np.isfinite(values).any(1)
    result = np.full(len(values), np.nan)
    result[known] = np.nanquantile(values[known], quantile, axis=1)
    return result


class Exceedance:
    """How good the probabilities of exceeding a threshold are.

    Members with observation noise against the noisy truth.

    Args:
        ensemble: whose truth sets the threshold.
        trajectories: numbers of those that are scored.
        quantile: of the truth, which is the threshold, channel by channel.
    """

    sees: Comparison = "noisy"

    def __init__(
        self, ensemble: Ensemble, trajectories: np.ndarray, quantile: float = QUANTILE
    ) -> None:
        self.quantile = quantile
        self.threshold = thresholds(ensemble, trajectories, quantile)
        metrics = {
            "brier": scores.Brier(self.threshold),
            "reliability": scores.Reliability(self.threshold),
        }
        self.table = scores.ScoreTable(metrics, len(trajectories), len(ensemble.time) - 1)

    def summary(self) -> dict[str, Any]:
        """``skill`` is 1 − Brier/(p(1 − p)): the gain over always saying the base rate p."""
        chance, observed, share = self.table.overall("reliability")
        base = float(np.nansum(observed * share))
        brier = self.table.overall("brier")
        counts = scores.trajectory_counts(self.table.shape[0])
        low = high = None
        if self.table.shape[0] > 1:
            resampled = self.table.resampled("reliability", counts)[:, 1]
            low, high = _present_quantiles(resampled)
        return {
            "threshold": self.threshold,
            "quantile": self.quantile,
            "base_rate": base,
            "brier": brier,
            "skill": 1 - brier / (base * (1 - base)) if 0 < base < 1 else None,
            "reliability": {
                "forecast": chance,
                "observed": observed,
                "low": low,
                "high": high,
                "share": share,
            },
            "by_lead_time": {"brier": self.table.by_time("brier")},
        }


def _present_quantiles(resampled: np.ndarray) -> np.ndarray:
    """(2, bin): of the resamples in which a bin is not empty."""
    bounds = np.full((2, resampled.shape[1]), np.nan)
    for number, column in enumerate(resampled.T):
        present = column[np.isfinite(column)]
        if present.size:
            bounds[:, number] = np.quantile(present, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return bounds
