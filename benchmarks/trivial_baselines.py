"""What needs no model scores on every system: run it before a target is set.

    python benchmarks/trivial_baselines.py [SYSTEM …]

prints a row of Markdown a system: relative error to the noisy truth, mean over all times after the
first and over 20 trajectories, on the split ``test`` and in brackets on ``extrapolation``. Training
and validation trajectories as by default, 101 frames, seed 0.
"""

from __future__ import annotations

import sys

import numpy as np
import xarray as xr

from pyro_msm import data
from pyro_msm.data import systems
from pyro_msm.forecasting.baselines import BASELINES
from pyro_msm.scores import relative_error

FRAMES = 101
HELD_OUT = 20


def score(forecast: np.ndarray, part: xr.Dataset) -> float:
    """Mean relative error of (member, trajectory, time, …) over the times after the first."""
    return float(np.nanmean(relative_error(forecast, part["field"].values[:, 1:])))


def row(name: str) -> str:
    system = systems.get(name, frames=FRAMES)
    counts = system.trajectories | {"test": HELD_OUT, "extrapolation": HELD_OUT}
    simulated = system.simulate(counts)
    cells = [name]
    parts = [data.select(simulated, split) for split in ("test", "extrapolation")]
    floor = [score(part["clean"].values[None, :, 1:], part) for part in parts]
    for baseline in BASELINES.values():
        fitted = baseline().fit(simulated)
        errors = [
            score(
                fitted.forecast(part.isel(time=[0]), part["time"].values[1:])["field"].values, part
            )
            for part in parts
        ]
        cells.append(f"{errors[0]:.3f} ({errors[1]:.3f})")
    cells.append(f"{floor[0]:.3f} ({floor[1]:.3f})")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    # A record that is split in time has no trajectories to learn from.
    names = sys.argv[1:] or [name for name in systems.names() if name != "cylinder-2d"]
    headings = ["system", *BASELINES, "noise floor"]
    print(f"| {' | '.join(headings)} |\n|{'---|' * len(headings)}")
    for name in names:
        print(row(name), flush=True)


if __name__ == "__main__":
    main()
