"""How the error of the averaged drift falls with the observed time, for several separations ε.

    python benchmarks/slow_fast_curve.py [--system b] [--seeds 5] [--network] [--figure FILE.png]

Up to 30 paths of time 100 each are simulated at ε = 0.02 and 0.005, and drawn from the averaged SDE
itself ("0"), where nothing but the length of the record limits the estimate. Prints, for each ε and
observed time, the root mean square over seeds of the relative drift error in L²(p), that of a
network fitted to the same increments (with --network), and the information bound at one parameter
and at the effective ones.
"""

import argparse

import numpy as np
import xarray as xr

from pyro_msm.config import SlowFastConfig, TrainingConfig
from pyro_msm.data import select, systems
from pyro_msm.data.increments import Increments
from pyro_msm.forecasting.slow_fast.forecaster import SlowFastForecaster
from pyro_msm.forecasting.slow_fast.scoring import fit_comparators
from pyro_msm.scores import effective

STEP, LENGTH, PATHS = 0.01, 100.0, (1, 2, 6, 15, 30)
SEPARATIONS = (0.02, 0.005, 0.0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--system", default="b", choices="abcd")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--network", action="store_true")
    parser.add_argument("--figure", default="")
    options = parser.parse_args()
    name = f"slow-fast-{options.system}"
    truth = systems.get(name).effective
    x = truth.stationary_points(400)
    training = TrainingConfig(
        steps=options.steps, learning_rate=0.02, decay=0.5, decay_steps=max(1, options.steps // 3),
        ema=0.98,
    )  # fmt: skip
    curves = {}
    print("ε      time   error %  network %  bound %, k = 1   at k =")
    for epsilon in SEPARATIONS:
        errors, networks = (np.zeros((options.seeds, len(PATHS))) for _ in range(2))
        parameters = np.zeros((options.seeds, len(PATHS)))
        for seed in range(options.seeds):
            whole = observed(name, truth, epsilon, seed)
            for index, count in enumerate(PATHS):
                data = whole.isel(trajectory=[*range(count), *range(max(PATHS), len(whole.split))])
                made = SlowFastForecaster(SlowFastConfig(), training).fit(data, seed=seed)
                errors[seed, index] = distance(made.drift(x), truth.drift(x))
                parameters[seed, index] = made.effective_parameters
                if options.network:
                    parts = (Increments.of(select(data, s)) for s in ("train", "validation"))
                    network = fit_comparators(*parts, ["neural-drift"])["neural-drift"]
                    networks[seed, index] = distance(network.drift(x), truth.drift(x))
        curves[epsilon] = np.sqrt((errors**2).mean(0))
        rivals, known = np.sqrt((networks**2).mean(0)), parameters.mean(0)
        for index, count in enumerate(PATHS):
            bounds = [
                effective.information_bound(truth.drift(x), truth.diffusion(x), LENGTH * count, k)
                for k in (1, known[index])
            ]
            print(
                f"{epsilon:<6g} {LENGTH * count:<6g} {100 * curves[epsilon][index]:<8.1f} "
                f"{100 * rivals[index]:<10.1f} {100 * bounds[0]:<16.1f} "
                f"{100 * bounds[1]:.1f} at {known[index]:.1f}",
                flush=True,
            )
    if options.figure:
        draw(options.figure, name, truth, x, curves)


def observed(name, truth, epsilon, seed):
    """Paths of the slow–fast system, or of the averaged one, and five to validate on."""
    count, frames = max(PATHS) + 5, round(LENGTH / STEP) + 1
    if epsilon:
        system = systems.get(name, epsilon=epsilon, frames=frames, end_time=LENGTH)
        return system.simulate({"train": max(PATHS), "validation": 5}, seed=seed)
    times = STEP * np.arange(frames)
    rng = np.random.default_rng(seed)
    start = rng.permutation(truth.stationary_points(count))
    split = ["train"] * max(PATHS) + ["validation"] * 5
    return xr.Dataset(
        {"path": (("trajectory", "time", "component"), truth.paths(start, times, rng))},
        {"time": times, "split": ("trajectory", split)},
        {"system": name},
    )


def distance(found, exact):
    return np.linalg.norm(found - exact) / np.linalg.norm(exact)


def draw(path, name, truth, x, curves):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    times = LENGTH * np.array(PATHS)
    figure, axes = plt.subplots(figsize=(4.8, 3.4), layout="constrained")
    for (epsilon, errors), style in zip(curves.items(), ("o-", "s--", "^:"), strict=True):
        label = f"ε = {epsilon:g}" if epsilon else "averaged SDE"
        axes.loglog(times, errors, style, color="black", label=label)
    bound = [
        effective.information_bound(truth.drift(x), truth.diffusion(x), time) for time in times
    ]
    axes.loglog(times, bound, color="0.6", label="information bound, k = 1")
    axes.set(xlabel="observed time", ylabel="relative drift error", title=name)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
