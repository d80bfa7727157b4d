"""Dynamic mode decomposition."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from pyro_msm.forecasting.baselines import arrays
from pyro_msm.forecasting.baselines.extra import required
from pyro_msm.forecasting.baselines.pod_forecaster import (
    Choice,
    Model,
    PodForecaster,
    delays,
    embedded,
    strides,
)

RANKS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
#: With which strides and delays are compared.
USUAL_RANKS = (8, 64, 128)
MAX_ROWS = 384
MAX_VALUES = 3_000_000

_Candidates = Iterator[tuple[Choice, Model]]


class Dmd(PodForecaster):
    """Dynamic mode decomposition (PyDMD) of all training trajectories at once.

    A snapshot is a sum of modes that grow, decay and turn at fixed rates: h(t) = Σ_j φ_j b_j e^{ω_j
    t}, with h the delay vector (Hankel DMD) of the snapshot's POD coordinates and a constant, which
    stands for what does not move. PyDMD gets the pairs h(t), h(t+s) of every trajectory side by
    side: its ``HankelDMD`` takes one time series only, so the delays are made here.

    Chosen on the validation split: first the stride s and the number of delays (up to ``warmup``),
    with three ranks; then the rank. With each it is tried whether the operator is better averaged
    with that of reversed time (which removes the bias that noise brings; S. Dawson et al., Exp.
    Fluids 57, 2016), and whether growing modes are better held at constant amplitude.
    """

    name: ClassVar[str] = "dmd"

    def _candidates(
        self, coordinates: np.ndarray, only: Choice | None
    ) -> Iterator[tuple[Choice, Model]]:
        pydmd = required("pydmd", self.name)
        constant = np.sqrt(np.square(coordinates[..., 0]).mean()) or 1.0
        pairs: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}

        def fitted(stride: int, count: int, rank: int, reverse: bool) -> _Candidates:
            limit = min(coordinates.shape[-1], MAX_ROWS // count)
            if (stride, count) not in pairs:
                given = coordinates[..., :limit], count, stride, constant
                pairs[stride, count] = _pairs(*given)
            rank = min(rank, len(pairs[stride, count][0]))
            model = _decomposed(pydmd, *pairs[stride, count], stride, rank, reverse)
            if model is None:
                return
            model |= {"constant": np.array([constant]), "limit": np.array([limit])}
            shape = {"rank": rank, "stride": stride, "delays": count, "reverse": reverse}
            for bounded in (False, True):
                yield shape | {"bounded": bounded}, model

        if only:
            place = only["stride"], only["delays"], only["rank"], only["reverse"]
            yield from ((choice, model) for choice, model in fitted(*place) if choice == only)
            return
        for stride in strides(coordinates.shape[1]):
            for count in delays(stride, self.warmup):
                for rank, reverse in itertools.product(USUAL_RANKS, (False, True)):
                    yield from fitted(stride, count, rank, reverse)
        best = self.choice.get("stride", 1), self.choice.get("delays", 1)
        for rank, reverse in itertools.product(RANKS, (False, True)):
            if rank not in USUAL_RANKS:
                yield from fitted(*best, rank, reverse)

    @staticmethod
    def _advance(
        choice: Choice, model: Model, history: np.ndarray, leads: np.ndarray
    ) -> np.ndarray:
        stride, count, limit = choice["stride"], choice["delays"], int(model["limit"][0])
        modes = model["modes_real"] + 1j * model["modes_imaginary"]
        rates = model["rates_real"] + 1j * model["rates_imaginary"]
        if choice["bounded"]:
            rates = np.minimum(rates.real, 0) + 1j * rates.imag
        start = embedded(history[..., :limit], count, stride)[:, -1]
        start = np.concatenate([start, np.full((len(start), 1), model["constant"][0])], axis=-1)
        amplitudes = np.linalg.lstsq(modes, start.T.astype(complex), rcond=1e-10)[0]
        with np.errstate(over="ignore", invalid="ignore"):
            growth = np.exp(rates[:, None] * leads)
            moving = amplitudes.T[:, :, None] * growth
            forecast = np.einsum("nrt,pr->ntp", moving, modes[:limit], optimize=True).real
        return arrays.bounded(forecast, model["bound"][0])


def _pairs(
    coordinates: np.ndarray, count: int, stride: int, constant: float
) -> tuple[np.ndarray, np.ndarray]:
    """Delay vectors (row, pair) of all trajectories, and those a stride later."""
    vectors = embedded(coordinates, count, stride)
    vectors = np.concatenate([vectors, np.full_like(vectors[..., :1], constant)], axis=-1)
    rows = vectors.shape[-1]
    before = vectors[:, :-stride].reshape(-1, rows)
    after = vectors[:, stride:].reshape(-1, rows)
    every = max(1, len(before) * rows // MAX_VALUES)
    both = np.concatenate([before[::every], after[::every]], axis=1)
    # The decomposition depends on inner products over the pairs alone: the triangular factor has
    # the same ones, in fewer columns.
    triangle = np.asarray(np.linalg.qr(both, mode="r"))
    return triangle[:, :rows].T, triangle[:, rows:].T


def _decomposed(
    pydmd: Any, before: np.ndarray, after: np.ndarray, stride: int, rank: int, reverse: bool
) -> Model | None:
    """Modes (row, rank) and their rates per frame; None where PyDMD finds none."""
    method = pydmd.DMD(svd_rank=rank, forward_backward=reverse)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            method.fit(before, after)
        except (np.linalg.LinAlgError, ValueError):
            return None
    modes, eigenvalues = np.asarray(method.modes), np.asarray(method.eigs)
    if not (np.isfinite(modes).all() and np.isfinite(eigenvalues).all()):
        return None
    # What decays at once, in a single stride, has no logarithm.
    size = np.maximum(np.abs(eigenvalues), 1e-12)
    return {
        "modes_real": modes.real.copy(),
        "modes_imaginary": modes.imag.copy(),
        "rates_real": np.log(size) / stride,
        "rates_imaginary": np.angle(eigenvalues) / stride,
    }
