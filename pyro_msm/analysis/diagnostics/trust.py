"""Up to which lead time the 90 % band can be taken at its word, and by how much it fails later."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np

from pyro_msm import scores
from pyro_msm.analysis.intervals import INTERVAL_LEVEL, RESAMPLES
from pyro_msm.analysis.scorecard import LEVELS, Scorecard

# A band that is off by less than this is not called wrong, however sure we are of it.
TOLERANCE = 0.05
# Lead times are judged in running windows of this share of the horizon.
WINDOW = 0.1


def band_holds(card: Scorecard, seed: int, level: float = 0.9) -> dict[str, Any] | None:
    """The longest lead time up to which the coverage agrees with the nominal one.

    Coverage is wrong where the nominal level lies outside its bootstrap interval over trajectories
    and is missed by more than 0.05. The band holds until the first running window (a tenth of the
    horizon) that is wrong, provided that all that follows, taken together, is wrong too. Against
    the truth with which the spread is compared, see ``spread_skill_against``.

    Args:
        card: the scores of a forecast.
        seed: of the bootstrap.
        level: which band, one of ``LEVELS``.

    Returns:
        ``until`` (None: wrong from the start), with the coverage ``observed`` up to there and its
        ``interval``; ``beyond``: the coverage after it, or from the start, and the ``factor`` by
        which Gaussian errors make that band too narrow (below 1: too wide), None where it holds
        throughout. None with one member or trajectory, or where members diverged.
    """
    table, lead = card.spread_table, card.ensemble.lead_time[1:]
    place = LEVELS.index(level)
    count = len(card.trajectories)
    if card.forecast.members < 2 or count < 2:
        return None
    if not np.isfinite(table.overall("coverage")[place]):
        return None
    nominal = scores.order_statistic_level(card.forecast.members, level)[1]
    counts = scores.trajectory_counts(count, RESAMPLES, seed)

    def found(times: slice) -> tuple[float, np.ndarray, bool]:
        part = table.between(times)
        observed = float(part.overall("coverage")[place])
        resampled = part.resampled("coverage", counts)[:, place]
        low, high = scores.percentile_interval(resampled, INTERVAL_LEVEL)
        wrong = abs(observed - nominal) > TOLERANCE and not low <= nominal <= high
        return observed, np.array([low, high]), wrong

    until = _first_wrong(len(lead), found)
    result: dict[str, Any] = {"level": level, "nominal": nominal, "against": card.against}
    held = found(slice(0, until)) if until else (None, None, False)
    result |= {"until": lead[until - 1] if until else None, "observed": held[0]}
    result |= {"interval": held[1], "beyond": None}
    if until < len(lead):
        observed, interval, _ = found(slice(until, None))
        factor = too_narrow(observed, nominal)
        result["beyond"] = {"observed": observed, "interval": interval, "factor": factor}
    return result


def _first_wrong(times: int, found: Any) -> int:
    """Number of times before the band fails for good; all of them if it does not."""
    width = max(1, round(WINDOW * times))
    for start in range(times - width + 1):
        if found(slice(start, start + width))[2] and found(slice(start, None))[2]:
            return start
    return times


def too_narrow(observed: float, nominal: float) -> float:
    """The factor that a central band of Gaussian errors must be widened by, to hold ``nominal``.

    Example:
        >>> round(too_narrow(0.76, 0.9), 2)
        1.4
    """
    normal = NormalDist()
    held = min(max(observed, 1e-6), 1 - 1e-6)
    return normal.inv_cdf((1 + nominal) / 2) / normal.inv_cdf((1 + held) / 2)
