"""How the latent states behave: their size, their spread, and whether they follow the truth."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyro_msm.analysis.ensemble_file import Ensemble

STATES = ("macro", "micro")


def latent_statistics(ensemble: Ensemble, trajectories: np.ndarray) -> dict[str, Any]:
    """Of each component of the micro state, and of the macro state averaged over its points.

    Args:
        ensemble: a rollout.
        trajectories: numbers of those to look at; one is in memory at a time.

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
    result = {}
    for name in STATES:
        if name not in posterior or 0 in posterior[name].shape:
            continue
        sums = _Sums()
        for trajectory in trajectories:
            one = posterior[name].isel(trajectory=int(trajectory))
            members = np.asarray(one.transpose("chain", "draw", "time_full", ...).values, float)
            members = members.reshape(-1, members.shape[2], int(np.prod(members.shape[3:])))
            encoded = None
            if f"encoded_{name}" in observed:
                encoded = observed[f"encoded_{name}"].isel(trajectory=int(trajectory)).values
                encoded = np.asarray(encoded, float).reshape(members.shape[1:])
            sums.add(members, encoded)
        time = np.asarray(posterior["time_full"].values, float)
        found: dict[str, Any] = dict(sums.result(time))
        size = len(found["std"])
        if name == "macro":
            found = {key: _mean(values) for key, values in found.items()}
        result[name] = {"components": size, **found}
    return result


class _Sums:
    """Collects paths of ensemble means and encodings, and second moments of members."""

    def __init__(self) -> None:
        self.means: list[np.ndarray] = []
        self.encoded: list[np.ndarray] = []
        self.squares: list[np.ndarray] = []
        self.variances: list[np.ndarray] = []

    def add(self, members: np.ndarray, encoded: np.ndarray | None) -> None:
        """Members (member, time, component), encoded (time, component)."""
        self.means.append(members.mean(0))
        self.squares.append((members**2).mean(0))
        several = len(members) > 1
        self.variances.append(members.var(0, ddof=1) if several else members[0] * np.nan)
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
        below = products / products[0] < 1 / np.e
    lag = time[: len(products)] - time[0]
    return np.where(below.any(0), lag[below.argmax(0)], np.nan)


def _mean(values: np.ndarray) -> float:
    seen = values[np.isfinite(values)]
    return float(seen.mean()) if seen.size else float("nan")
