"""How often the 90 % bands of the averaged drift hold the true one, over repeated data sets.

    python benchmarks/slow_fast_coverage.py [--system b] [--sets 40] [--paths 30] [--duration 100]

Paths are drawn from the exact effective SDE, so that the averaging error is out of it. Prints a
line a data set (share of the stationary law whose band holds, relative drift error), then the hits
at nine quantiles of the stationary law.
"""

import argparse

import numpy as np
import xarray as xr

from pyro_msm.config import SlowFastConfig, TrainingConfig
from pyro_msm.data import systems
from pyro_msm.forecasting.slow_fast.forecaster import SlowFastForecaster
from pyro_msm.scores.effective import central_band

STEP, FIRST_SEED = 0.01, 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--system", default="b", choices="abcd")
    parser.add_argument("--sets", type=int, default=40)
    parser.add_argument("--paths", type=int, default=30)
    parser.add_argument("--duration", type=float, default=100.0)
    parser.add_argument("--steps", type=int, default=50)
    options = parser.parse_args()
    name = f"slow-fast-{options.system}"
    truth = systems.get(name).effective
    everywhere, quantiles = truth.stationary_points(200), truth.stationary_points(9)
    training = TrainingConfig(
        steps=options.steps, learning_rate=0.02, decay=0.5, decay_steps=max(1, options.steps // 3),
        ema=0.98,
    )  # fmt: skip
    hits = np.zeros(truth.drift(quantiles).shape, int)
    for index in range(options.sets):
        data = simulated(truth, name, options.paths, options.duration, FIRST_SEED + index)
        forecaster = SlowFastForecaster(SlowFastConfig(), training).fit(data, seed=index)
        share, error = held(forecaster, truth, everywhere)
        hits += held(forecaster, truth, quantiles, each=True)
        print(f"{index:3d} held {share:.2f} error {error:.3f}", flush=True)
    print("hits at the quantiles:", *hits.ravel(), "of", options.sets)


def simulated(truth, name, paths, duration, seed):
    times = STEP * np.arange(round(duration / STEP) + 1)
    values = truth.paths(truth.stationary_points(paths), times, np.random.default_rng(seed))
    return xr.Dataset(
        {"path": (("trajectory", "time", "component"), values)},
        {"time": times, "split": ("trajectory", ["train"] * paths)},
        {"system": name},
    )


def held(forecaster, truth, x, each=False):
    draws, exact = forecaster.draws(x, 100)[0], truth.drift(x)
    low, high = central_band(draws)
    inside = (low <= exact) & (exact <= high)
    if each:
        return inside
    return inside.mean(), np.linalg.norm(draws.mean(0) - exact) / np.linalg.norm(exact)


if __name__ == "__main__":
    main()
