"""What recalibration after the fact would change: fitted on validation, compared on test."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pyro_msm import scores
from pyro_msm.analysis.ensemble_file import Ensemble, members_of
from pyro_msm.analysis.intervals import INTERVAL_LEVEL, RESAMPLES
from pyro_msm.analysis.recalibration import (
    conformal_band,
    conformal_factors,
    factors_of,
    rescale_spread,
    spread_squares,
)
from pyro_msm.analysis.scorecard import LEVELS
from pyro_msm.errors import InputError
from pyro_msm.forecasting.layout import MEMORY, SHARE, slices

#: Members of each chain that are recalibrated: bands are of as many in both splits.
DRAWS = 79

#: Spread factors are averaged over such a share of the horizon.
WINDOW = 0.1

#: The conformal level that is wished for; with few trajectories it is a lower one of ``LEVELS``.
LEVEL = 0.9

NOTE = (
    "post hoc: it changes what the forecast claims, not the model. The validation trajectories "
    "also chose the weights and calibrated the dispersion, so that their errors are a little too "
    "small and the conformal guarantee, which asks for trajectories that nothing has seen, holds "
    "approximately"
)


class _Fitted(NamedTuple):
    """What validation says: each of the first two (time,); a reason instead of the widths."""

    factors: np.ndarray
    widths: np.ndarray | None
    level: float | None
    reason: str | None


def recalibrated(
    view: Ensemble,
    held_out: Ensemble,
    trajectories: np.ndarray,
    seed: int = 0,
    memory: int = MEMORY,
) -> dict[str, Any]:
    """Raw, rescaled and conformal bands side by side, members with noise against noisy truth.

    Args:
        view: the ensemble that is scored.
        held_out: an ensemble of the validation split by the same models, at the same lead times.
        trajectories: numbers of those of ``view`` that are scored.
        seed: of the bootstrap.
        memory: bytes to work with.

    Returns:
        ``raw`` and ``scaled`` with ``crps``, ``spread_skill`` and ``coverage``, ``conformal`` with
        its ``level``, ``coverage``, ``interval`` and ``width`` relative to that of the raw band of
        that level (None with a ``reason`` where there are too few trajectories), lists
        ``by_lead_time``, and how it was fitted.

    Raises:
        InputError: one member, other lead times, or no pointwise variable.
    """
    draws = min(DRAWS, view.signal.sizes["draw"], held_out.signal.sizes["draw"])
    _check(view, held_out, draws)
    fitted = _fit(held_out, len(view.time), slice(0, draws), memory)
    compared = _Compared(view, fitted, trajectories, slice(0, draws), memory)
    return {
        "split": "validation",
        "trajectories": held_out.signal.sizes["trajectory"],
        "members": draws * view.signal.sizes["chain"],
        "note": NOTE,
        **compared.summary(seed),
    }


def _check(view: Ensemble, held_out: Ensemble, draws: int) -> None:
    if not view.kind.pointwise:
        raise InputError(f"the spread of {view.kind.name} is not defined point by point")
    if draws * view.signal.sizes["chain"] < 2:
        raise InputError("a forecast of one member has no spread")
    if not held_out.begins_like(view):
        raise InputError(
            f"the validation forecast reaches lead time {held_out.lead_time[-1]:g} in "
            f"{len(held_out.time) - 1} stored times, the test forecast {view.lead_time[-1]:g} in "
            f"{len(view.time) - 1}: factors by lead time need the same"
        )


def _truth(view: Ensemble, trajectory: int, times: slice) -> np.ndarray:
    """(1, time, …) of the noisy truth, NaN where it was not observed."""
    values, mask = view.truth_of(view.observed, trajectory, times)
    return values if mask is None else np.where(mask, values, np.nan)


def _fit(held_out: Ensemble, count: int, draws: slice, memory: int) -> _Fitted:
    """Of all trajectories of an ensemble, at its first ``count`` stored times but the first."""
    number = held_out.signal.sizes["trajectory"]
    possible = [q for q in LEVELS if q <= LEVEL and number >= q / (1 - q) - 1e-9]
    level = max(possible, default=None)
    members = held_out.signal.sizes["chain"] * (draws.stop - draws.start)
    sample = 4 * members * number * int(np.prod(held_out.shape))
    squares, widths = [], []
    for times in slices(count, max(1, memory // SHARE // sample), first=1):
        parts = [members_of(held_out.predictive, i, times, draws) for i in range(number)]
        truth = np.concatenate([_truth(held_out, i, times) for i in range(number)])
        together = np.concatenate(parts, axis=1)
        squares.append(spread_squares(together, truth))
        if level is not None:
            widths.append(conformal_factors(together, truth, level))
    window = max(1, round(WINDOW * (count - 1)))
    errors, variances = (np.concatenate(part) for part in zip(*squares, strict=True))
    factors = factors_of(errors, variances, window + 1 - window % 2)
    if level is None:
        reason = f"{number} validation trajectory is too few for a band of any level"
        return _Fitted(factors, None, None, reason)
    fewer = f"{number} validation trajectories allow no band of {100 * LEVEL:.0f} %"
    return _Fitted(factors, np.concatenate(widths), level, None if level == LEVEL else fewer)


def _metrics() -> dict[str, scores.Metric]:
    return {
        "crps": scores.FairCRPS(),
        "spread_skill": scores.SpreadSkill(),
        "coverage": scores.Coverage(LEVELS),
    }


class _Compared:
    """Scores of raw and rescaled members, and what the conformal band holds, in one pass."""

    def __init__(
        self, view: Ensemble, fitted: _Fitted, trajectories: np.ndarray, draws: slice, memory: int
    ) -> None:
        self.view, self.fitted = view, fitted
        shape = len(trajectories), len(view.time) - 1
        self.tables = {name: scores.ScoreTable(_metrics(), *shape) for name in ("raw", "scaled")}
        self.held, self.seen, self.ratio = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        step = view.pieces(view.signal, memory).times
        for row, trajectory in enumerate(map(int, trajectories)):
            for times in slices(len(view.time), step, first=1):
                members = members_of(view.predictive, trajectory, times, draws)
                place = slice(row, row + 1), slice(times.start - 1, times.stop - 1)
                self._add(members, _truth(view, trajectory, times), place)

    def _add(self, members: np.ndarray, truth: np.ndarray, place: tuple[slice, slice]) -> None:
        raw = scores.Block(members, truth)
        self.tables["raw"].add(raw, *place)
        scaled = rescale_spread(members, self.fitted.factors[place[1]])
        self.tables["scaled"].add(scores.Block(scaled, truth), *place)
        if self.fitted.widths is None or self.fitted.level is None:
            return
        low, high = conformal_band(members, self.fitted.widths[place[1]])
        k, _ = scores.order_statistic_level(len(members), self.fitted.level)
        own = raw.deviation[..., -k] - raw.deviation[..., k - 1]
        wide = (high - low).reshape(own.shape)
        inside = ((low <= truth) & (truth <= high)).reshape(own.shape)
        known = raw.observed & ~raw.diverged
        self.held[place] = np.where(known, inside, 0).sum(-1)
        self.seen[place] = raw.observed.sum(-1)
        with np.errstate(invalid="ignore"):
            self.ratio[place] = wide.mean(-1) / own.mean(-1)

    def summary(self, seed: int) -> dict[str, Any]:
        """Entries of ``recalibrated`` in scores.json."""
        place = LEVELS.index(LEVEL)
        lists: dict[str, Any] = {
            "lead_time": self.view.lead_time[1:],
            "factor": self.fitted.factors,
        }
        for name, table in self.tables.items():
            lists[f"spread_skill_{name}"] = table.by_time("spread_skill")
            lists[f"coverage_{LEVEL}_{name}"] = table.by_time("coverage")[:, place]
        conformal = self._conformal(seed)
        if self.fitted.widths is not None:
            lists["conformal_factor"] = self.fitted.widths
            with np.errstate(invalid="ignore"):
                lists["conformal_coverage"] = self.held.sum(0) / self.seen.sum(0)
        members = self.tables["raw"]
        return {
            **{name: self._scores(table) for name, table in self.tables.items()},
            "improved": bool(self.tables["scaled"].overall("crps") < members.overall("crps")),
            "conformal": conformal,
            "reason": self.fitted.reason,
            "by_lead_time": lists,
        }

    def _scores(self, table: scores.ScoreTable) -> dict[str, Any]:
        held = table.overall("coverage")
        return {
            "crps": table.overall("crps"),
            "spread_skill": table.overall("spread_skill"),
            "coverage": {str(level): held[i] for i, level in enumerate(LEVELS)},
        }

    def _conformal(self, seed: int) -> dict[str, Any] | None:
        if self.fitted.level is None:
            return None
        held, seen = self.held.sum(1), self.seen.sum(1)
        interval = None
        if len(held) > 1:
            counts = scores.trajectory_counts(len(held), RESAMPLES, seed)
            with np.errstate(invalid="ignore"):
                drawn = (counts @ held) / (counts @ seen)
            interval = scores.percentile_interval(drawn, INTERVAL_LEVEL)
        place = LEVELS.index(self.fitted.level)
        with np.errstate(invalid="ignore"):
            coverage = held.sum() / seen.sum()
        return {
            "level": self.fitted.level,
            "coverage": coverage,
            "interval": interval,
            "coverage_raw": self.tables["raw"].overall("coverage")[place],
            "width": self.ratio.mean(),
        }
