"""A reservoir computer on POD coordinates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from scipy import sparse

from pyro_msm.forecasting.baselines import arrays
from pyro_msm.forecasting.baselines.pod_forecaster import Choice, Model, PodForecaster

RANKS = (4, 8, 16, 32, 64)
RIDGES = (1e-8, 1e-6, 1e-4, 1e-2)
DEGREE = 9
RADIUS = 0.9
INPUT = 1.0
SPIN_UP = 50
SHORTEST_RECORD = 20


class Reservoir(PodForecaster):
    """h' = tanh(A h + W a), a' = V h̃: a fixed random recurrent network with a linear readout.

    A is sparse, of degree 9 and spectral radius 0.9; each unit reads one coordinate, with a weight
    in ±1; h̃ is h with every other unit squared (J. Pathak et al., Phys. Rev. Lett. 120, 2018; P.
    Vlachas et al., Neural Networks 126, 2020). The coordinates are scaled to unit standard
    deviation and the readout gives their increments, by ridge regression. The rank and the ridge
    are chosen on validation.

    A forecast first sees its first snapshot fifty times, then its warm-up. One snapshot says
    nothing of the direction in which a reservoir has to move: give it some tens.

    Args:
        warmup: number of snapshots that a forecast starts from.
        units: of the reservoir.
        seed: of its connections.
    """

    name: ClassVar[str] = "reservoir"

    def __init__(self, warmup: int = 1, units: int = 500, seed: int = 0) -> None:
        super().__init__(warmup)
        self.units, self.seed = units, seed

    def _candidates(
        self, coordinates: np.ndarray, only: Choice | None
    ) -> Iterator[tuple[Choice, Model]]:
        scale = coordinates.std((0, 1)) + np.finfo(float).tiny
        ranks = sorted({min(rank, coordinates.shape[-1]) for rank in RANKS})
        if only:
            ranks = [only["rank"]]
        connected = self._connected()
        for rank in ranks:
            given = coordinates[..., :rank] / scale[:rank]
            model = connected | {"scale": scale[:rank]}
            products, targets = _regression(model, given)
            for ridge in [only["ridge"]] if only else RIDGES:
                penalty = ridge * np.trace(products) / len(products) * np.eye(len(products))
                readout = np.linalg.solve(products + penalty, targets)
                choice = {"warmup": self.warmup, "rank": rank, "ridge": ridge}
                yield choice, model | {"readout": readout}

    def _connected(self) -> Model:
        """Random connections: ``sources`` (unit, degree), ``links`` and ``inputs`` (unit)."""
        rng, degree = np.random.default_rng(self.seed), min(DEGREE, self.units)
        sources = np.stack([rng.permutation(self.units)[:degree] for _ in range(self.units)])
        links = rng.uniform(-1, 1, sources.shape)
        largest = np.abs(np.linalg.eigvals(_matrix(sources, links).toarray())).max()
        return {
            "sources": sources,
            "links": links * (RADIUS / largest),
            "inputs": rng.uniform(-INPUT, INPUT, self.units),
        }

    @staticmethod
    def _advance(
        choice: Choice, model: Model, history: np.ndarray, leads: np.ndarray
    ) -> np.ndarray:
        scale, bound = model["scale"], float(model["bound"][0])
        unit = _Units(model)
        given = history[..., : len(scale)] / scale
        state = unit.spun_up(given)
        path = [given[:, -1]]
        for _ in range(int(np.ceil(leads.max(initial=0))) + 1):
            now = np.clip(path[-1] + unit.features(state) @ model["readout"], -1e6, 1e6)
            state = unit.step(state, now)
            path.append(now)
        return arrays.between(np.stack(path, axis=1) * scale, leads, bound)


class _Units:
    """The recurrent part, of states (trajectory, unit): unit i reads coordinate i mod rank."""

    def __init__(self, model: Model) -> None:
        self.matrix = _matrix(model["sources"], model["links"])
        self.inputs = model["inputs"]
        self.read = np.arange(len(self.inputs)) % len(model["scale"])

    def step(self, state: np.ndarray, given: np.ndarray) -> np.ndarray:
        """The next state, given coordinates (trajectory, rank)."""
        return np.tanh((self.matrix @ state.T).T + self.inputs * given[:, self.read])

    def spun_up(self, given: np.ndarray) -> np.ndarray:
        """The state after all of ``given`` (trajectory, time, rank), the first one many times."""
        state = np.zeros((len(given), len(self.inputs)))
        for _ in range(SPIN_UP):
            state = self.step(state, given[:, 0])
        for index in range(1, given.shape[1]):
            state = self.step(state, given[:, index])
        return state

    @staticmethod
    def features(state: np.ndarray) -> np.ndarray:
        """The state with every other unit squared, and a constant."""
        found = np.concatenate([state, np.ones_like(state[:, :1])], axis=1)
        found[:, :-1:2] **= 2
        return found


def _matrix(sources: np.ndarray, links: np.ndarray) -> Any:
    count, degree = sources.shape
    starts = degree * np.arange(count + 1)
    return sparse.csr_array((links.ravel(), sources.ravel(), starts), shape=(count, count))


def _regression(model: Model, given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inner products of the features with themselves and with the next increments.

    The first snapshots of each trajectory, in which the reservoir still remembers its start, are
    left out where the record is long enough.
    """
    unit = _Units(model)
    state = unit.spun_up(given[:, :1])
    frames = given.shape[1] - 1
    first = min(SPIN_UP, frames // SHORTEST_RECORD)
    size = len(model["inputs"]) + 1
    rows: list[np.ndarray] = []
    for index in range(frames):
        if index >= first:
            rows.append(unit.features(state))
        state = unit.step(state, given[:, index + 1])
    features = np.stack(rows, axis=1).reshape(-1, size)
    increments = np.diff(given[:, first:], axis=1).reshape(len(features), -1)
    return features.T @ features, features.T @ increments
