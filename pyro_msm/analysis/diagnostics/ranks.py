"""Ranks and PIT with error bars that know how correlated the points are."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyro_msm import scores
from pyro_msm.analysis.scored_forecast import Comparison

LEVEL = 0.95


class Uniformity:
    """The distribution of the PIT with a simultaneous band, and the effective sample size.

    Args:
        members: of the forecast.
        trajectories: how many there are to add.
        times: how many scored times.
    """

    sees: Comparison = "noisy"

    def __init__(self, members: int, trajectories: int, times: int) -> None:
        self.members = members
        metrics = {"pit": scores.PitCurve(), "moments": scores.PitMoments()}
        self.table = scores.ScoreTable(metrics if members > 1 else {}, trajectories, times)

    def summary(self) -> dict[str, Any] | None:
        """None with one member, or where a member diverged."""
        if self.members < 2:
            return None
        curve = self.table.overall("pit")
        if not np.isfinite(curve).all():
            return None
        points = self.table.weight("pit")
        samples = scores.effective_samples(self.table.by_trajectory("moments"), points)
        known = np.isfinite(samples)
        width = scores.simultaneous_band(samples, LEVEL) if known else None
        place = np.arange(1, len(curve) + 1) / len(curve)
        largest = float(np.abs(curve - place).max())
        each = 1 / scores.rank_bins(self.members)
        return {
            "probability": place,
            "observed": curve,
            "band": width,
            "level": LEVEL,
            "method": "Dvoretzky–Kiefer–Wolfowitz at the effective number of samples",
            "largest_deviation": largest,
            "uniform": None if width is None else bool(largest <= width),
            "points": points,
            "effective_samples": samples,
            "rank_standard_error": np.sqrt(each * (1 - each) / samples) if known else None,
        }
