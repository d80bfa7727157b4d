"""One forecast that is scored, and a piece of it beside the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import xarray as xr

from pyro_msm.analysis.ensemble_file import ALL, COUNTING, Ensemble, members_of, rows_of
from pyro_msm.cluster import Run, serially
from pyro_msm.forecasting.layout import MEMORY, Layout, row_count, slices
from pyro_msm.forecasting.streams import observation_noise
from pyro_msm.scores import Block, Metric, ScoreTable, Sums, add_up

#: Which members are compared with which truth, see ``Seen``.
Comparison = Literal["signal", "noisy", "clean"]


@dataclass(frozen=True)
class Forecast:
    """What a forecaster said about the trajectories of an ensemble, at its stored times.

    Attributes:
        signal: noise-free members, ([chain, draw | member], trajectory, time, …).
        noisy: the same with observation noise; None where it must be drawn, or where there is only
            one member, whose absolute error is then scored as it stands.
        noise_std: standard deviation of that noise, to go with (channel, x[, y]), or a number.
        diverged_at: (member, trajectory), NaN where finite throughout.
    """

    signal: xr.DataArray
    noisy: xr.DataArray | None
    noise_std: np.ndarray | float
    diverged_at: np.ndarray

    @property
    def members(self) -> int:
        """Members of all chains together."""
        return int(np.prod([n for d, n in self.signal.sizes.items() if d in COUNTING]))

    def with_noise(
        self,
        signal: np.ndarray,
        shape: tuple[int, ...],
        trajectory: int,
        times: slice,
        draws: slice,
        rows: slice,
    ) -> np.ndarray:
        """Members as observed. Drawn noise is each member's own, whatever is cut out.

        Args:
            signal: the members without it.
            shape: (channel, x[, y]) of whole fields.
            trajectory: its number.
            times: stored times.
            draws: members of each chain.
            rows: points of the first space axis.
        """
        if self.members == 1:
            return signal
        if self.noisy is not None:
            return members_of(self.noisy, trajectory, times, draws, rows)
        first = draws.indices(self.members)[0]
        range_of = range(times.start, times.stop)
        noise = observation_noise(0, range(first, first + len(signal)), trajectory, range_of, shape)
        return signal + rows_of((self.noise_std * noise).astype(np.float32)[:, np.newaxis], 3, rows)


class Seen:
    """One trajectory at some times, or a part of it, as the scores see it.

    Args:
        ensemble: where the truth stands.
        forecast: whose members they are.
        trajectory: its number.
        times: stored times.
        draws: members of each chain.
        rows: points of the first space axis.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        forecast: Forecast,
        trajectory: int,
        times: slice,
        draws: slice = ALL,
        rows: slice = ALL,
    ) -> None:
        self._ensemble, self._forecast = ensemble, forecast
        self._place = trajectory, times
        self._part = draws, rows

    @cached_property
    def signal(self) -> Block:
        """Noise-free members against the noisy truth."""
        draws, rows = self._part
        members = members_of(self._forecast.signal, *self._place, draws, rows)
        return Block(members, *self._truth(self._ensemble.observed))

    @cached_property
    def noisy(self) -> Block:
        """Members with observation noise against the noisy truth."""
        shape, signal = self._ensemble.shape, self.signal.members
        truth, mask = self._truth(self._ensemble.observed)
        members = self._forecast.with_noise(
            signal.reshape(len(signal), *truth.shape), shape, *self._place, *self._part
        )
        return Block(members, truth, mask, self._uniform())

    @cached_property
    def clean(self) -> Block:
        """Noise-free members against the clean truth, where it is known."""
        assert self._ensemble.clean is not None
        return self.signal.against(*self._truth(self._ensemble.clean))

    def _truth(self, which: xr.DataArray) -> tuple[np.ndarray, np.ndarray | None]:
        return self._ensemble.truth_of(which, *self._place, self._part[1])

    def _uniform(self) -> np.ndarray:
        """Random numbers (1, time, …) for ranks, which depend on trajectory, time and point."""
        trajectory, times = self._place
        drawn = [
            np.random.default_rng([trajectory, time]).random(self._ensemble.shape)
            for time in range(times.start, times.stop)
        ]
        return rows_of(np.stack(drawn)[np.newaxis], 2, self._part[1])


class Sample(NamedTuple):
    """A block of work: a trajectory by its row in the tables and its number, and stored times."""

    row: int
    trajectory: int
    first: int
    stop: int

    @property
    def place(self) -> tuple[slice, slice]:
        """Rows and columns of a ``ScoreTable``; the first stored time is not scored."""
        return slice(self.row, self.row + 1), slice(self.first - 1, self.stop - 1)


@dataclass(frozen=True)
class Scoring:
    """Scores blocks of a forecast, each on its own, so that any process may do it.

    Attributes:
        ensemble: where the truth stands.
        forecast: what is scored.
        metrics: for each table, what is compared and the metrics by name.
        pieces: how much is at hand at once.
    """

    ensemble: Ensemble
    forecast: Forecast
    metrics: Sequence[tuple[Comparison, Mapping[str, Metric]]]
    pieces: Layout

    def __call__(self, sample: Sample) -> tuple[np.ndarray, list[dict[str, Sums]]]:
        """Which members are finite, (member,), and for each table the sums of its metrics."""
        times = slice(sample.first, sample.stop)
        finite = np.ones(self.forecast.members, bool)
        found: list[list[dict[str, Sums]]] = [[] for _ in self.metrics]
        for draws, rows, kinds in self._parts():
            seen = Seen(self.ensemble, self.forecast, sample.trajectory, times, draws, rows)
            if draws == ALL:
                finite &= seen.signal.finite
            for (comparison, metrics), sums in zip(self.metrics, found, strict=True):
                chosen = {n: m for n, m in metrics.items() if m.whole_fields in kinds}
                sums.append({n: m.sums(getattr(seen, comparison)) for n, m in chosen.items()})
        return finite, [_joined(parts) for parts in found]

    def _parts(self) -> list[tuple[slice, slice, tuple[bool, ...]]]:
        """Draws, rows, and which metrics may see such a part: those of whole fields or others."""
        rows = row_count(self.ensemble.shape)
        if self.pieces.rows == rows:
            return [(ALL, ALL, (False, True))]
        ahead = [n for dim, n in self.forecast.signal.sizes.items() if dim in COUNTING]
        return [
            *((ALL, part, (False,)) for part in slices(rows, self.pieces.rows)),
            *((part, ALL, (True,)) for part in slices(ahead[-1], self.pieces.draws)),
        ]


def one_pass(
    ensemble: Ensemble,
    forecast: Forecast,
    trajectories: np.ndarray,
    tables: Sequence[tuple[Comparison, ScoreTable]],
    memory: int = MEMORY,
    run: Run = serially,
) -> np.ndarray:
    """Fills tables with the scores of a forecast, reading it once.

    Args:
        ensemble: where the truth stands.
        forecast: what is scored.
        trajectories: numbers of those that are scored: the rows of the tables.
        tables: each with what it compares.
        memory: bytes to work with.
        run: where blocks are scored.

    Returns:
        Which members are finite throughout, (member, trajectory).
    """
    finite = np.ones((forecast.members, len(trajectories)), bool)
    pieces = ensemble.pieces(forecast.signal, memory)
    metrics = [(comparison, table.metrics) for comparison, table in tables]
    samples = [
        Sample(row, int(trajectory), times.start, times.stop)
        for row, trajectory in enumerate(trajectories)
        for times in slices(len(ensemble.time), pieces.times, first=1)
    ]
    for sample, (known, found) in run(Scoring(ensemble, forecast, metrics, pieces), samples):
        finite[:, sample.row] &= known
        for (_, table), sums in zip(tables, found, strict=True):
            table.put(sums, *sample.place)
    return finite


def divergence(forecast: Forecast, trajectories: np.ndarray, finite: np.ndarray) -> dict[str, Any]:
    """How many forecasts diverged, and when the first did; ``finite`` is from ``one_pass``."""
    times = forecast.diverged_at[:, trajectories]
    known = np.isfinite(times)
    return {
        "diverged": int((known | ~finite).sum()),
        "diverged_first_at": float(times[known].min()) if known.any() else None,
    }


def _joined(parts: list[dict[str, Sums]]) -> dict[str, Sums]:
    """Sums of each metric over the parts that it has seen."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: add_up(part[name] for part in parts if name in part) for name in names}


class Diagnostic(Protocol):
    """More that is found out in the pass over an ensemble.

    Attributes:
        sees: which comparison it is about.
        table: collects its metrics.
    """

    sees: Comparison
    table: ScoreTable

    def summary(self) -> dict[str, Any] | None:
        """Its entry in scores.json; None where the forecast has no such thing."""
