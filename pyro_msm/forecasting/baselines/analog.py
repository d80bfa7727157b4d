"""The future of what looked alike."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

import numpy as np

from pyro_msm.forecasting.baselines.pod_forecaster import (
    Choice,
    Model,
    PodForecaster,
    embedded,
)

RANKS = (2, 4, 8, 16, 32, 64)
REACHES = (0.05, 0.25, 1.0)
NEIGHBOURS = (1, 2, 3, 5, 8, 12, 20, 32)
RIDGES = (None, 1e-5, 1e-4, 1e-3, 1e-2)
#: Neighbours and ridges with which ranks and reaches are compared first.
USUAL = ((3, None), (20, 1e-3))
STORED = 64
APART = 20


class Analog(PodForecaster):
    """Follows the training snapshots nearest to the present one.

    The ``neighbours`` nearest snapshots (of ``warmup`` snapshots together, in the leading POD
    coordinates) are found among all training trajectories and times; two of one trajectory lie at
    least a twentieth of the record apart. Their futures are combined with weights that either fall
    with distance, the difference at the start kept as an offset or not, or come closest to the
    present state (constructed analogs: H. van den Dool, Tellus A 46, 1994). Of the neighbours only
    those are followed that go on for ``reach`` (a share of the record, or to the end of the
    forecast), if there are any. Where one of those followed ends, the forecast is matched again;
    where nothing alike has a future, it stays where it is. Between frames it is linear.

    On validation rank and reach are chosen first, with two usual kinds of weights, then neighbours,
    ridge and offset, then rank and reach once more.
    """

    name: ClassVar[str] = "analog"

    def _candidates(
        self, coordinates: np.ndarray, only: Choice | None
    ) -> Iterator[tuple[Choice, Model]]:
        stored = coordinates[..., :STORED]
        model = {"library": np.ascontiguousarray(stored)}
        if only:
            yield only, model
            return
        most = len(stored) * max(1, min(APART, stored.shape[1] // 2))
        counts = sorted({min(count, most) for count in NEIGHBOURS})
        ranks = sorted({min(rank, stored.shape[-1]) for rank in RANKS})
        places = [{"rank": r, "reach": part} for r, part in itertools.product(ranks, REACHES)]
        for place, (count, ridge) in itertools.product(places, USUAL):
            weights = {"neighbours": min(count, most), "ridge": ridge, "offset": False}
            yield {"warmup": self.warmup, **place, **weights}, model
        chosen = self.choice
        for count, ridge in itertools.product(counts, RIDGES):
            for offset in (False, True) if ridge is None else (False,):
                yield chosen | {"neighbours": count, "ridge": ridge, "offset": offset}, model
        chosen = self.choice
        for place in places:
            yield chosen | place, model

    @staticmethod
    def _advance(
        choice: Choice, model: Model, history: np.ndarray, leads: np.ndarray
    ) -> np.ndarray:
        below, above = (part.astype(int) for part in (np.floor(leads), np.ceil(leads)))
        frames = np.union1d(below, above)
        paths = _paths(choice, model["library"], history, frames)
        before, after = (paths[:, np.searchsorted(frames, part)] for part in (below, above))
        share = (leads - below)[:, None]
        return (1 - share) * before + share * after


class _Followed(NamedTuple):
    """Snapshots of the library: their trajectories ``rows``, ``frames`` and weights ``shares``; an
    ``offset`` (rank); and for how many frames all of them go on."""

    rows: np.ndarray
    frames: np.ndarray
    shares: np.ndarray
    offset: np.ndarray
    length: int

    def after(self, library: np.ndarray, ahead: np.ndarray) -> np.ndarray:
        """Coordinates (time, rank) so many frames later."""
        futures = library[self.rows[:, None], self.frames[:, None] + ahead]
        return np.tensordot(self.shares, futures, axes=1) + self.offset


def _paths(
    choice: Choice, library: np.ndarray, history: np.ndarray, frames: np.ndarray
) -> np.ndarray:
    """Coordinates (trajectory, time, rank) at ``frames`` after the last of ``history``."""
    rank, warmup = choice["rank"], choice["warmup"]
    vectors = embedded(library[..., :rank], warmup, 1)
    searched = vectors.astype(np.float32)
    squares = np.square(searched).sum(-1)
    windows = history[..., : library.shape[-1]].copy()
    paths = np.empty((len(windows), len(frames), library.shape[-1]))
    paths[:, frames == 0] = windows[:, -1:]
    now, last = np.zeros(len(windows), dtype=int), frames.max(initial=0)
    while (going := np.flatnonzero(now < last)).size:
        sought = embedded(windows[going, :, :rank], warmup, 1)[:, -1]
        products = sought.astype(np.float32) @ searched.reshape(squares.size, -1).T
        distances = squares - 2 * products.reshape(-1, *squares.shape)
        for index, away, vector in zip(going, distances, sought, strict=True):
            window, began = windows[index], now[index]
            near = _nearest(choice, library, vectors, away, vector, window[-1], last - began)
            now[index] += near.length
            passed = (frames > began) & (frames <= now[index])
            paths[index, passed] = near.after(library, frames[passed] - began)
            newest = np.arange(max(0, near.length - warmup), near.length) + 1
            windows[index] = np.concatenate([window, near.after(library, newest)])[-warmup:]
    return paths


def _nearest(
    choice: Choice,
    library: np.ndarray,
    vectors: np.ndarray,
    distances: np.ndarray,
    sought: np.ndarray,
    present: np.ndarray,
    needed: int,
) -> _Followed:
    """What is followed from ``present`` (rank) on, for at most ``needed`` frames."""
    last = vectors.shape[1] - 1
    rows, frames = _apart(distances, choice["neighbours"], max(1, library.shape[1] // APART))
    ahead = last - frames
    reach = min(needed, max(1, round(choice["reach"] * last)))
    kept = ahead >= (reach if (ahead >= reach).any() else 1)
    if not kept.any():
        return _Followed(rows[:0], frames[:0], np.zeros(0), present, needed)
    rows, frames = rows[kept], frames[kept]
    shares = _shares(vectors[rows, frames], sought, choice["ridge"])
    frames = frames + choice["warmup"] - 1
    offset = present - shares @ library[rows, frames] if choice["offset"] else np.zeros(1)
    return _Followed(rows, frames, shares, offset, min(needed, int(ahead[kept].min())))


def _apart(distances: np.ndarray, count: int, apart: int) -> tuple[np.ndarray, np.ndarray]:
    """Trajectories and frames of the nearest, the nearest first; those of one trajectory at least
    ``apart`` frames apart. Fewer than ``count`` where there is no room for more."""
    left = distances.copy()
    frames = left.argmin(1)
    least = left[np.arange(len(left)), frames]
    found: list[tuple[int, int]] = []
    while len(found) < count and np.isfinite(least).any():
        row = int(least.argmin())
        frame = int(frames[row])
        found.append((row, frame))
        left[row, max(0, frame - apart + 1) : frame + apart] = np.inf
        frames[row] = left[row].argmin()
        least[row] = left[row, frames[row]]
    rows, columns = np.array(found).T
    return rows, columns


def _shares(near: np.ndarray, sought: np.ndarray, ridge: float | None) -> np.ndarray:
    """Weights of the neighbours, which sum to one."""
    if ridge is None:
        distances = np.sqrt(np.square(near - sought).sum(-1))
        weights = 1 / np.maximum(distances, 1e-9 * (1 + distances.max()))
        return weights / weights.sum()
    centre = near.mean(0)
    parts = near - centre
    products = parts @ parts.T
    penalty = ridge * max(np.trace(products) / len(near), 1e-30)
    change = np.linalg.solve(products + penalty * np.eye(len(near)), parts @ (sought - centre))
    return change - change.mean() + 1 / len(near)
