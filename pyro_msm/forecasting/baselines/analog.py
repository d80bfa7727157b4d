"""The future of what looked alike."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from pyro_msm.forecasting.baselines import arrays
from pyro_msm.forecasting.baselines.pod_forecaster import (
    Choice,
    Model,
    PodForecaster,
    embedded,
)

RANKS = (2, 4, 8, 16, 32, 64)
NEIGHBOURS = (1, 2, 3, 5, 8, 12, 20, 32)
RIDGES = (1e-5, 1e-4, 1e-3, 1e-2)
STORED = 64
APART = 20


class Analog(PodForecaster):
    """Follows the training snapshots nearest to the present one.

    The ``neighbours`` nearest snapshots (of ``warmup`` snapshots together, in the leading POD
    coordinates) are found among all training trajectories and times; two of one trajectory lie at
    least a twentieth of the record apart. Their futures are combined with weights that either fall
    with distance, the difference at the start kept as an offset or not, or come closest to the
    present state (constructed analogs: H. van den Dool, Tellus A 46, 1994). Where a
    neighbour's record ends, the forecast is matched again; where nothing alike has a future, it
    stays where it is. Rank, neighbours, weights, ridge and offset are chosen on validation.
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
        ranks = sorted({min(rank, stored.shape[-1]) for rank in RANKS})
        most = len(stored) * max(1, min(APART, stored.shape[1] // 2))
        counts = sorted({min(count, most) for count in NEIGHBOURS})
        for rank, count in itertools.product(ranks, counts):
            base = {"rank": rank, "neighbours": count, "warmup": self.warmup}
            for offset in (False, True):
                yield base | {"ridge": None, "offset": offset}, model
            if count > 1:
                for ridge in RIDGES:
                    yield base | {"ridge": ridge, "offset": False}, model

    @staticmethod
    def _advance(
        choice: Choice, model: Model, history: np.ndarray, leads: np.ndarray
    ) -> np.ndarray:
        library, warmup = model["library"], choice["warmup"]
        vectors = embedded(library[..., : choice["rank"]], warmup, 1)
        squares = np.square(vectors).sum(-1)
        needed = int(np.ceil(leads.max(initial=0))) + 2
        paths = []
        for start in history[..., : library.shape[-1]]:
            path = start
            while len(path) < warmup + needed - 1:
                future = _followed(choice, library, vectors, squares, path[-warmup:])
                if not len(future):
                    rest = warmup + needed - 1 - len(path)
                    future = np.repeat(path[-1:], rest, axis=0)
                path = np.concatenate([path, future])
            paths.append(path[warmup - 1 :][:needed])
        return arrays.between(np.stack(paths), leads, model["bound"][0])


def _followed(
    choice: Choice,
    library: np.ndarray,
    vectors: np.ndarray,
    squares: np.ndarray,
    present: np.ndarray,
) -> np.ndarray:
    """Coordinates (time, rank) from the next frame on, until a neighbour's record ends."""
    warmup, frames = choice["warmup"], library.shape[1]
    sought = embedded(present[None, :, : choice["rank"]], warmup, 1)[0, -1]
    distances = squares - 2 * vectors @ sought
    found = _nearest(distances, choice["neighbours"], max(1, frames // APART))
    found = [(row, frame) for row, frame in found if frame + warmup < frames]
    if not found:
        return library[0, :0]
    near = np.stack([vectors[place] for place in found])
    shares = _shares(near, sought, choice["ridge"])
    length = min(frames - warmup - frame for _, frame in found)
    futures = np.stack([library[row, frame + warmup - 1 :][: length + 1] for row, frame in found])
    followed = np.tensordot(shares, futures, axes=1)
    if choice["offset"]:
        followed = followed + (present[-1] - followed[0])
    return followed[1:]


def _nearest(distances: np.ndarray, count: int, apart: int) -> list[tuple[int, int]]:
    """(trajectory, frame) of the nearest, those of one trajectory at least ``apart`` frames apart,
    the nearest first."""
    left = distances.copy()
    found: list[tuple[int, int]] = []
    while len(found) < count:
        row, frame = (int(part) for part in np.unravel_index(left.argmin(), left.shape))
        if not np.isfinite(left[row, frame]):
            break
        found.append((row, frame))
        left[row, max(0, frame - apart + 1) : frame + apart] = np.inf
    return found


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
