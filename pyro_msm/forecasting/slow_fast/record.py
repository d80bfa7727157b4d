"""An observed path as training takes it: checked, in increments, and in cells."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from pyro_msm.data.increments import Increments, cells_of
from pyro_msm.errors import InputError
from pyro_msm.models.slow_fast import PathBatch
from pyro_msm.nn.flows import base_points

#: Without a validation split, every so many-th segment of the record is held out.
SEGMENTS, EVERY = 40, 5


@dataclass(frozen=True)
class Record:
    """Increments, and their sums over cells.

    Attributes:
        increments: one row each.
        cell: (rows,) the cell of each.
        cells: the sums.
        samples: base points of each of two sets.
        fast: components of the fast variable.
    """

    increments: Increments
    cell: Tensor
    cells: Increments
    samples: int
    fast: int

    @classmethod
    def of(cls, increments: Increments, cells: int, samples: int, fast: int) -> Self:
        """With at most so many cells."""
        width = increments.place.std(0) + torch.finfo(torch.float64).tiny
        cell = torch.as_tensor(cells_of((increments.place / width).numpy(), cells))
        return cls(increments, cell, increments.summed(cell, int(cell.max()) + 1), samples, fast)

    @property
    def observed_numbers(self) -> float:
        """Time that is observed, all paths together."""
        return float(self.cells.duration.sum())

    def draw(self, count: int, generator: torch.Generator) -> PathBatch:
        """Rows whose likelihood is that of the whole record on average, and fresh base points.

        The sums over cells give almost all of it. That an increment does not start at the place of
        its cell is made good on ``count`` random increments: they count at their own place, as many
        times as there are increments for each, and are taken out of their cells.
        """
        rows = torch.randint(len(self.increments), (count,), generator=generator)
        return self.batch(rows, base_points(self.samples, self.fast, generator))

    def batch(self, rows: Tensor, base: tuple[Tensor, Tensor]) -> PathBatch:
        """What ``draw`` returns, for these rows (count,) and base points."""
        own = self.increments.rows(rows).scaled(len(self.increments) / len(rows))
        left = {
            name: getattr(self.cells, name).index_add(0, self.cell[rows], -getattr(own, name))
            for name in ("count", "duration", "displacement", "spread")
        }
        joined = replace(self.cells, **left).joined(own)
        return PathBatch(joined, base, 1 / self.observed_numbers)


def check_path(data: xr.Dataset, coupling_slow: int) -> None:
    """Checks that averaged dynamics can be learned from the path.

    Raises:
        InputError: another number of components than the coupling has, gaps, or times further apart
            than the path remembers.
    """
    if "path" not in data:
        raise InputError(
            "the slow–fast model learns from a variable `path` (trajectory, time, component); "
            "these data have none: choose another --model"
        )
    components = data.sizes["component"]
    if components != coupling_slow:
        raise InputError(
            f"the coupling has {coupling_slow} slow component(s) and the path has {components}: "
            "they must be the same variables"
        )
    increments = Increments.of(data)
    steps = np.diff(np.asarray(data["time"].values, float))
    typical, widest = float(np.median(steps)), int(steps.argmax())
    memory = slow_time_scale(increments, typical)
    if typical > memory:
        raise InputError(
            f"the path is observed every Δ = {typical:g} and forgets its past within {memory:.3g}: "
            "Euler–Maruyama needs Δ well below the slow time scale, so observe more often"
        )
    if steps[widest] > memory:
        at = float(data["time"][widest])
        raise InputError(
            f"the path has a gap of {steps[widest]:g} after t = {at:g}, longer than its memory of "
            f"{memory:.3g}: cut the record into trajectories there"
        )


def slow_time_scale(increments: Increments, step: float) -> float:
    """Time in which the autocorrelation of the path falls by e, from that over one step.

    Args:
        increments: of the path.
        step: its typical duration; others are left out.
    """
    usual = (increments.duration - step).abs() <= 0.5 * step
    before = increments.place[usual]
    after = before + increments.displacement[usual]
    before, after = before - before.mean(0), after - after.mean(0)
    kept = (before * after).mean(0) / (before.std(0) * after.std(0)).clamp(min=1e-300)
    weakest = float(kept.min())
    if weakest <= 0:
        return 0.0
    return math.inf if weakest >= 1 else -step / math.log(weakest)


def held_out(increments: Increments) -> tuple[Increments, Increments]:
    """Segments to fit, and others to judge by: for a record without a validation split."""
    segment = torch.arange(len(increments)) * SEGMENTS // len(increments)
    judged = segment % EVERY == EVERY - 1
    return increments.rows(~judged), increments.rows(judged)
