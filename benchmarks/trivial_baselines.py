"""What needs no model scores on every system: run it before a target is set.

    python benchmarks/trivial_baselines.py [SYSTEM …]

prints a row of Markdown a system: relative error to the noisy truth, mean over all times after the
first and over 20 trajectories, on the split ``test`` and in brackets on ``extrapolation``. Training
and validation trajectories as by default, 101 frames, seed 0. ``cylinder-2d`` is one record that is
split in time: all of its frames, each split forecast from the snapshot before it.
"""

from __future__ import annotations

import sys

import numpy as np
import xarray as xr

from pyro_msm import data
from pyro_msm.data import systems
from pyro_msm.errors import InputError
from pyro_msm.forecasting.baselines import InitialRegression, MeanTrajectory, Persistence
from pyro_msm.scores import relative_error

TRIVIAL = (Persistence, MeanTrajectory, InitialRegression)
FRAMES = 101
HELD_OUT = 20


def simulated(name: str) -> tuple[xr.Dataset, list[tuple[xr.Dataset, xr.Dataset]]]:
    """A dataset, and for both splits what stands before a forecast with what is to be forecast."""
    in_time = name == "cylinder-2d"
    system = systems.get(name) if in_time else systems.get(name, frames=FRAMES)
    counts = system.trajectories | {"test": HELD_OUT, "extrapolation": HELD_OUT}
    dataset = system.simulate(counts)
    parts = []
    for split in ("test", "extrapolation"):
        part = data.select(dataset, split)
        before, truth = part.isel(time=[0]), part.isel(time=slice(1, None))
        if in_time:
            last = int(np.argmax(dataset["split"].values == split)) - 1
            before, truth = dataset.isel(time=[last]), part
        parts.append((before, truth))
    return dataset, parts


def score(forecast: np.ndarray, truth: xr.Dataset) -> float:
    """Mean relative error of (member, trajectory, time, …)."""
    return float(np.nanmean(relative_error(forecast, truth["field"].values)))


def row(name: str) -> str:
    """One line of the table."""
    dataset, parts = simulated(name)
    cells = [name]
    for baseline in TRIVIAL:
        try:
            fitted = baseline().fit(dataset)
        except InputError:
            # Regression from initial conditions needs several trajectories.
            cells.append("–")
            continue
        errors = [
            score(fitted.forecast(before, truth["time"].values)["field"].values, truth)
            for before, truth in parts
        ]
        cells.append(f"{errors[0]:.3f} ({errors[1]:.3f})")
    floor = [score(truth["clean"].values[None], truth) for _, truth in parts]
    cells.append(f"{floor[0]:.3f} ({floor[1]:.3f})")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    names = sys.argv[1:] or systems.names()
    headings = ["system", *(baseline.name for baseline in TRIVIAL), "noise floor"]
    print(f"| {' | '.join(headings)} |\n|{'---|' * len(headings)}")
    for name in names:
        print(row(name), flush=True)


if __name__ == "__main__":
    main()
