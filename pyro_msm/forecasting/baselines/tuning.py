"""What baselines learn from, and what judges their settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import xarray as xr

from pyro_msm.data.splits import select
from pyro_msm.errors import InputError
from pyro_msm.forecasting.baselines import arrays
from pyro_msm.forecasting.baselines.pod import Pod

JUDGED_TIMES = 101
HELD_OUT = 4
PREDICTABLE = 2


class Record(NamedTuple):
    """Values (trajectory, time, …) without gaps, to learn from and to judge by; the time step.

    ``borrowed``: there was no validation split, so the second is taken from the first.
    """

    learned: np.ndarray
    held_out: np.ndarray
    step: float
    borrowed: bool


def gathered(data: xr.Dataset, name: str, warmup: int) -> Record:
    """The training split, and the validation split that chooses the settings.

    Without a validation split every third training trajectory is held out to choose them; where
    there are fewer than three trajectories, the last quarter of the training times.

    Where the attribute ``lyapunov_time`` says that the data are chaotic, the second is cut into
    windows of two such times: over longer ones the best forecast is the mean of all states, which
    is none.

    Raises:
        InputError: particles, too few snapshots, or not at equal steps.
    """
    arrays.check_comparable(data, name)
    train = select(data, "train")
    step = arrays.uniform_step(train["time"].values, name)
    learned, borrowed = arrays.filled_in_time(*arrays.observed(train)), False
    if (data["split"] == "validation").any():
        held_out = arrays.filled_in_time(*arrays.observed(select(data, "validation")))
    elif len(learned) >= 3:
        chosen, borrowed = np.arange(len(learned)) % 3 == 2, True
        learned, held_out = learned[~chosen], learned[chosen]
    else:
        last, borrowed = learned.shape[1] // HELD_OUT, True
        learned, held_out = learned[:, : learned.shape[1] - last], learned[:, -last:]
    if learned.shape[1] < warmup + 2 or held_out.shape[1] < warmup + 1:
        raise InputError(
            f"{name} from {warmup} snapshots needs {warmup + 2} snapshots to learn from and "
            f"{warmup + 1} to choose its settings by: the data have {learned.shape[1]} and "
            f"{held_out.shape[1]}"
        )
    if "lyapunov_time" in data.attrs:
        frames = round(PREDICTABLE * data.attrs["lyapunov_time"] / step)
        held_out = _windows(held_out, max(frames, 2) + warmup)
    return Record(learned, held_out, step, borrowed)


def _windows(values: np.ndarray, frames: int) -> np.ndarray:
    """(trajectory · window, frames, …), one after the other; the whole where it is shorter."""
    count = values.shape[1] // frames
    if count < 2:
        return values
    cut = values[:, : count * frames]
    return cut.reshape(len(cut) * count, frames, *cut.shape[2:])


def judged(count: int, warmup: int) -> np.ndarray:
    """About a hundred frames from the first after the warm-up to the last."""
    return np.unique(np.linspace(warmup, count - 1, JUDGED_TIMES).astype(int))


@dataclass(frozen=True)
class Judge:
    """Relative error of free-running forecasts, computed in POD coordinates.

    ``history`` (trajectory, warmup, rank) is where forecasts start, ``leads`` (time) when they are
    judged, in frames after it; ``truth`` (trajectory, time, rank) are the coordinates then,
    ``outside`` and ``size`` (trajectory, time) the squared norms of what no forecast can reach and
    of the snapshot.
    """

    history: np.ndarray
    leads: np.ndarray
    truth: np.ndarray
    outside: np.ndarray
    size: np.ndarray

    @classmethod
    def of(cls, pod: Pod, values: np.ndarray, warmup: int) -> Self:
        """Judges by ``values`` (trajectory, time, …), from their first ``warmup`` snapshots on."""
        frames = judged(values.shape[1], warmup)
        truth = pod.coordinates(values[:, frames])
        return cls(
            pod.coordinates(values[:, :warmup]),
            (frames - (warmup - 1)).astype(float),
            truth,
            *pod.outside(values[:, frames], truth),
        )

    def error(self, forecast: np.ndarray) -> tuple[float, float]:
        """(share of values that are not finite, relative error of the others): less is better.

        ``forecast`` is (trajectory, time, rank or fewer).
        """
        rank = forecast.shape[-1]
        finite = np.isfinite(forecast).all(-1)
        missed = np.square(np.where(finite[..., None], forecast, 0) - self.truth[..., :rank]).sum(
            -1
        )
        missed += np.square(self.truth[..., rank:]).sum(-1) + self.outside
        errors = np.sqrt(missed / np.maximum(self.size, np.finfo(float).tiny))
        return float(1 - finite.mean()), float(errors[finite].mean()) if finite.any() else np.inf
