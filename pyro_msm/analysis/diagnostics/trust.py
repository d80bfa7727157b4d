"""Up to which lead time the 90 % band can be taken at its word, and by how much it fails later."""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np

from pyro_msm import scores
from pyro_msm.analysis.intervals import INTERVAL_LEVEL, RESAMPLES
from pyro_msm.analysis.scorecard import LEVELS, Scorecard

Found = Callable[[slice], tuple[float, np.ndarray, bool]]

# A band that is off by less than this is not called wrong, however sure we are of it.
TOLERANCE = 0.05
# Lead times are judged in running windows of this share of the horizon.
WINDOW = 0.1


def band_holds(card: Scorecard, seed: int, level: float = 0.9) -> dict[str, Any] | None:
    """The longest lead time up to which the coverage agrees with the nominal one.

    Coverage is wrong where the nominal level lies outside its bootstrap interval over trajectories
    and is missed by more than 0.05. The band holds from the first running window (a tenth of the
    horizon) that is right until the next that is wrong, provided that all that follows, taken
    together, is wrong too. Against the truth with which the spread is compared, see
    ``spread_skill_against``.

    Args:
        card: the scores of a forecast.
        seed: of the bootstrap.
        level: which band, one of ``LEVELS``.

    Returns:
        ``from`` (0 as a rule) and ``until`` (None: wrong throughout), with the coverage
        ``observed`` between and its ``interval``; ``before`` and ``beyond``: the coverage outside,
        and the ``factor`` by which Gaussian errors make that band too narrow (below 1: too wide),
        None where there is no such part; wrong throughout is all ``beyond``. None instead of all
        this with one member or trajectory, or where members diverged.
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

    def failing(times: slice) -> dict[str, Any] | None:
        if not len(lead[times]):
            return None
        observed, interval, _ = found(times)
        factor = too_narrow(observed, nominal)
        return {"observed": observed, "interval": interval, "factor": factor}

    begin, end = _right(len(lead), found)
    result: dict[str, Any] = {"level": level, "nominal": nominal, "against": card.against}
    result |= {"from": None, "until": None, "observed": None, "interval": None}
    if begin < end:
        observed, interval, _ = found(slice(begin, end))
        result |= {"from": lead[begin] if begin else 0.0, "until": lead[end - 1]}
        result |= {"observed": observed, "interval": interval}
    result["before"] = failing(slice(0, begin))
    result["beyond"] = failing(slice(end, None))
    return result


def _right(times: int, found: Found) -> tuple[int, int]:
    """First time at which the band is right, and the first after it at which it fails for good."""
    width = max(1, round(WINDOW * times))
    windows = [found(slice(i, i + width))[2] for i in range(times - width + 1)]
    if all(windows):
        return 0, 0
    begin = windows.index(False)
    for start in range(begin, len(windows)):
        if windows[start] and found(slice(start, None))[2]:
            return begin, start
    return begin, times


def too_narrow(observed: float, nominal: float) -> float:
    """The factor that a central band of Gaussian errors must be widened by, to hold ``nominal``.

    Example:
        >>> round(too_narrow(0.76, 0.9), 2)
        1.4
    """
    normal = NormalDist()
    held = min(max(observed, 1e-6), 1 - 1e-6)
    return normal.inv_cdf((1 + nominal) / 2) / normal.inv_cdf((1 + held) / 2)
