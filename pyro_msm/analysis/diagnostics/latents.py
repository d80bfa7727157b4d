"""How the latent states behave: their size, their spread, and whether they follow the truth."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from pyro_msm.analysis.ensemble_file import Ensemble
from pyro_msm.forecasting.layout import MEMORY, SHARE, slices

STATES = ("macro", "micro")


def latent_statistics(
    ensemble: Ensemble, trajectories: np.ndarray, memory: int = MEMORY
) -> dict[str, Any]:
    """Of each component of the micro state, and of the macro state averaged over its points.

    Args:
        ensemble: a rollout.
        trajectories: numbers of those to look at.
        memory: bytes to work with.

    Returns:
        For each state that the ensemble holds: ``components``; ``std`` over members, times and
        trajectories; ``spread``, the standard deviation of the members about their mean, averaged
        over times; ``memory``, the time after which the autocorrelation of the ensemble mean's
        path falls below 1/e (None: not within it); and, where the encoder's reading of the truth
        is there, ``encoded_std`` and the ``correlation`` of the ensemble mean with it. For micro
        these are lists over components.
    """
    posterior = ensemble.tree["posterior"].to_dataset()
    observed = ensemble.tree["observed_data"].to_dataset()
    time = np.asarray(posterior["time_full"].values, float) if "time_full" in posterior else None
    result = {}
    for name in STATES:
        if name not in posterior or 0 in posterior[name].shape or time is None:
            continue
        sums = _Sums()
        for trajectory in trajectories:
            one = posterior[name].isel(trajectory=int(trajectory))
            encoded = None
            if f"encoded_{name}" in observed:
                encoded = observed[f"encoded_{name}"].isel(trajectory=int(trajectory)).values
                encoded = np.asarray(encoded, float).reshape(len(time), -1)
            sums.add(_moments(one, memory), encoded)
        found: dict[str, Any] = dict(sums.result(time))
        size = len(found["std"])
        if name == "macro":
            found = {key: _mean(values) for key, values in found.items()}
        result[name] = {"components": size, **found}
    return result


class _Moments(NamedTuple):
    """Over members, each (time, component)."""

    mean: np.ndarray
    square: np.ndarray
    variance: np.ndarray


def _moments(state: xr.DataArray, memory: int) -> _Moments:
    """Of one trajectory (chain, draw, time_full, …), some times after the other."""
    count = state.sizes["time_full"]
    step = max(1, memory // SHARE * count // (8 * state.size))
    parts = []
    for times in slices(count, step):
        cut = state.isel(time_full=times).load().transpose("chain", "draw", "time_full", ...)
        shape = cut.sizes["chain"] * cut.sizes["draw"], cut.sizes["time_full"], -1
        members = np.asarray(cut.values, float).reshape(shape)
        several = len(members) > 1
        variance = members.var(0, ddof=1) if several else members[0] * np.nan
        parts.append((members.mean(0), (members**2).mean(0), variance))
    return _Moments(*(np.concatenate(each) for each in zip(*parts, strict=True)))


class _Sums:
    """Collects paths of ensemble means and encodings, and second moments of members."""

    def __init__(self) -> None:
        self.means: list[np.ndarray] = []
        self.encoded: list[np.ndarray] = []
        self.squares: list[np.ndarray] = []
        self.variances: list[np.ndarray] = []

    def add(self, members: _Moments, encoded: np.ndarray | None) -> None:
        """One trajectory: moments of its members, and encoded (time, component)."""
        self.means.append(members.mean)
        self.squares.append(members.square)
        self.variances.append(members.variance)
        if encoded is not None:
            self.encoded.append(encoded)

    def result(self, time: np.ndarray) -> dict[str, np.ndarray]:
        """Each (component,)."""
        means = np.stack(self.means)
        centre = means.mean((0, 1))
        variance = np.stack(self.squares).mean((0, 1)) - centre**2
        found = {
            "std": np.sqrt(np.maximum(variance, 0)),
            "spread": np.sqrt(np.stack(self.variances).mean((0, 1))),
            "memory": _memory(means, time),
        }
        if self.encoded:
            encoded = np.stack(self.encoded)
            first, second = means - centre, encoded - encoded.mean((0, 1))
            size = np.sqrt((first**2).mean((0, 1)) * (second**2).mean((0, 1)))
            with np.errstate(invalid="ignore", divide="ignore"):
                found["correlation"] = (first * second).mean((0, 1)) / size
            found["encoded_std"] = np.sqrt((second**2).mean((0, 1)))
        return found


def _memory(paths: np.ndarray, time: np.ndarray) -> np.ndarray:
    """(component,) of paths (trajectory, time, component); NaN where it is longer than half."""
    centred = paths - paths.mean((0, 1))
    count = paths.shape[1]
    padded = np.fft.rfft(centred, 2 * count, axis=1)
    products = np.fft.irfft(np.abs(padded) ** 2, 2 * count, axis=1)[:, : count // 2 + 1].mean(0)
    products /= (count - np.arange(len(products)))[:, np.newaxis]
    with np.errstate(invalid="ignore", divide="ignore"):
        below = products / products[0] < 1 / math.e
    lag = time[: len(products)] - time[0]
    return np.where(below.any(0), lag[below.argmax(0)], np.nan)


def _mean(values: np.ndarray) -> float:
    seen = values[np.isfinite(values)]
    return float(seen.mean()) if seen.size else float("nan")
