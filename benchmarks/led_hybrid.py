"""Error of hybrid forecasts against how much they use the solver: fixed ratios and error budgets.

    python benchmarks/led_hybrid.py RUN [--members 8] [--until 450] [--solver-time 10]
        [--figure FILE.png]

RUN is a trained run of a field whose system can be simulated, of any family with latent dynamics.
For each ratio and each error budget: the share of time that is the solver's, the MNAD against the
test split, and seconds. Gating pays where its curve lies below that of the ratios.
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np

from pyro_msm import data as datasets
from pyro_msm.cli.hybrid import known_system
from pyro_msm.cli.sources import dataset_of
from pyro_msm.forecasting import Alternation, Hybrid, initial_window, load_forecaster
from pyro_msm.forecasting.hybrid import data_range
from pyro_msm.forecasting.solvers import SystemSolver
from pyro_msm.runs import RunDirectory
from pyro_msm.scores.normalised_difference import normalised_absolute_difference

RATIOS = (0.5, 1, 2, 4, 8, 16)
BUDGETS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--until", type=float, default=np.inf)
    parser.add_argument("--solver-time", type=float)
    parser.add_argument("--figure", default="")
    options = parser.parse_args()
    run = RunDirectory.open(options.run)
    data, forecaster = dataset_of(run), load_forecaster(options.run)
    test = datasets.select(data, "test")
    initial = initial_window(test, forecaster.warmup)
    times = test["time"].values[forecaster.warmup :]
    times = times[times <= options.until]
    truth = test["field"].sel(time=times).values
    step = float(test["time"][1] - test["time"][0])
    solver_time = options.solver_time or 10 * step
    system, scale = known_system(run.config), data_range(data)
    latent = forecaster.forecast(initial, times, options.members, 0)["field"].mean("member").values
    curves = {"latent": [(0.0, report("latent", 0.0, latent, truth, 0.0))]}
    ways = [{"ratio": float(ratio)} for ratio in RATIOS]
    ways += [{"error_budget": budget} for budget in BUDGETS]
    for way in ways:
        members = 1 if "ratio" in way else options.members
        solver = SystemSolver.for_data(system, initial, 1, 0)
        hybrid = Hybrid(forecaster, solver, Alternation(solver_time, **way), step, scale)
        found = hybrid.forecast(initial, times, members, 0)
        name = " ".join(f"{key} {value:g}" for key, value in way.items())
        seconds = sum(hybrid.clock.seconds.values())
        mean = found["field"].mean("member").values
        share = found.attrs["solver_share"]
        point = share, report(name, share, mean, truth, seconds)
        curves.setdefault(next(iter(way)), []).append(point)
    if options.figure:
        draw(options.figure, curves, list(map(str, test["channel"].values)))


def report(name, share, forecast, truth, seconds):
    each = normalised_absolute_difference(forecast, truth).mean((0, 1))
    values = ", ".join(f"{value:.2e}" for value in each)
    print(f"{name:20} solver {100 * share:5.1f} %   MNAD {values}   {seconds:.1f} s", flush=True)
    return each


def draw(path, curves, channels):
    """MNAD of each channel against the solver's share of the time."""
    size = 3.4 * len(channels), 3.0
    figure, axes = plt.subplots(1, len(channels), figsize=size, layout="constrained", squeeze=False)
    looks = {"latent": "kD", "ratio": "k--s", "error_budget": "k-o"}
    names = {
        "latent": "latent dynamics alone",
        "ratio": "fixed ratio",
        "error_budget": "error budget",
    }
    for number, (channel, ax) in enumerate(zip(channels, axes[0], strict=True)):
        for name, points in curves.items():
            share, errors = zip(*sorted(points, key=lambda point: point[0]), strict=True)
            error = [each[number] for each in errors]
            ax.plot(100 * np.array(share), error, looks[name], markersize=4, label=names[name])
        ax.set(title=channel, xlabel="time of the solver [%]", yscale="log")
    axes[0, 0].set_ylabel("MNAD")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
