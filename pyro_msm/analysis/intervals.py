"""Bootstrap intervals of the scores of a forecast, over trajectories."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyro_msm import scores
from pyro_msm.analysis.scorecard import LEVELS, Scorecard

INTERVAL_LEVEL = 0.9
RESAMPLES = 2000


def intervals(card: Scorecard, seed: int) -> dict[str, Any]:
    """(low, high) under the keys of the scores; None with one trajectory.

    ``by_lead_time`` has the same for lists: the list of all low ends and that of all high ends.
    """
    number = len(card.trajectories)
    counts = scores.trajectory_counts(number, RESAMPLES, seed)

    def interval(
        table: scores.ScoreTable | None, name: str, by_time: bool = False
    ) -> np.ndarray | None:
        if table is None or number < 2:
            return None
        resampled = table.resampled_by_time if by_time else table.resampled
        return scores.percentile_interval(resampled(name, counts), INTERVAL_LEVEL)

    def by_level(table: scores.ScoreTable | None) -> dict[str, Any]:
        found = interval(table, "coverage")
        return {str(q): found if found is None else found[:, i] for i, q in enumerate(LEVELS)}

    places = {
        "relative_error": (card.error, "relative_error"),
        "relative_error_clean": (card.clean, "relative_error"),
        "crps": (card.noisy, "crps"),
        "crps_clean": (card.clean, "crps"),
        "energy_score": (card.noisy, "energy_score"),
        "spread_skill": (card.spread_table, "spread_skill"),
    }
    lists = {name: interval(*place, by_time=True) for name, place in places.items() if place[0]}
    for name, table in [("coverage", card.noisy), ("coverage_clean", card.clean)]:
        if table is not None:
            found = interval(table, "coverage", by_time=True)
            lists[f"{name}_0.9"] = None if found is None else found[..., LEVELS.index(0.9)]
    valid = card.valid_times()
    return {
        **{name: interval(*place) for name, place in places.items()},
        "coverage": by_level(card.noisy),
        "coverage_clean": by_level(card.clean),
        "valid_prediction_time": None
        if number < 2
        else scores.percentile_interval(counts @ valid / number, INTERVAL_LEVEL),
        "by_lead_time": lists,
    }
