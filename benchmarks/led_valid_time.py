"""How long forecasts of a chaotic system hold, from many places of its test records.

    python benchmarks/led_valid_time.py RUN [RUN ...] [--starts 20]

RUNs are trained runs of the family led on a system with a Lyapunov time. Forecasts without noise
start from ``--starts`` places of every test record. Printed, in Lyapunov times: until their mean
NAD reaches .1, and median and lowest tenth of the same for single forecasts; and the mean NAD over
the first Lyapunov time.
"""

import argparse

import numpy as np

from pyro_msm import data as datasets
from pyro_msm.cli.hybrid import known_system
from pyro_msm.cli.sources import dataset_of
from pyro_msm.data.evenly import evenly
from pyro_msm.forecasting import initial_window, load_forecaster
from pyro_msm.forecasting.calibration import without_noise
from pyro_msm.runs import RunDirectory

LIMIT, HORIZON = 0.1, 6.0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--starts", type=int, default=20)
    options = parser.parse_args()
    for folder in options.runs:
        run, forecaster = RunDirectory.open(folder), load_forecaster(folder)
        unit = known_system(run.config).lyapunov_time
        test = datasets.select(dataset_of(run), "test")
        with without_noise(forecaster):
            curves = nad_curves(forecaster, test, options.starts, HORIZON * unit)
        report(folder, curves, forecaster.step / unit)


def nad_curves(forecaster, test, starts, horizon):
    """NAD (forecast, step) from places of all records, in ranges of the whole test split."""
    truth, times = test["field"].values, test["time"].values
    steps = round(horizon / forecaster.step)
    found = []
    for last in evenly(forecaster.warmup - 1, len(times) - 1 - steps, starts):
        initial = initial_window(test, forecaster.warmup, last)
        ahead = slice(last + 1, last + 1 + steps)
        forecast = forecaster.forecast(initial, times[ahead], 1, 0)["field"].values[0]
        gap = np.abs(forecast - truth[:, ahead])
        found.append(gap.reshape(*gap.shape[:2], -1).mean(-1))
    return np.concatenate(found) / np.ptp(truth)


def report(folder, curves, step):
    mean = curves.mean(0)
    each = np.array([held(curve, step) for curve in curves])
    print(
        f"{folder}: {len(each)} forecasts, Lyapunov times of a mean NAD below {LIMIT}: "
        f"{held(mean, step):.2f}, of single ones: median {np.median(each):.2f}, lowest tenth "
        f"{np.quantile(each, 0.1):.2f}; mean NAD of the first {mean[: round(1 / step)].mean():.4f}",
        flush=True,
    )


def held(curve, step):
    """Lyapunov times before a curve reaches the limit."""
    above = ~(curve < LIMIT)
    return step * (above.argmax() if above.any() else len(curve))


if __name__ == "__main__":
    main()
