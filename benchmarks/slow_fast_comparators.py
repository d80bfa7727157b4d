"""Errors of the estimates that know no coupling, on simulated paths of the slow–fast systems.

    python benchmarks/slow_fast_comparators.py [a b c d] [--epsilon 0.005]

Published numbers of paths, seed 0. Each entry is the relative error of drift / diffusion in L²(p).
At ε = 0.005 the paths take two minutes of one core, half of it for C.
"""

import argparse

import pyro_msm as msm
from pyro_msm.data.increments import Increments
from pyro_msm.forecasting.slow_fast.scoring import (
    COMPARATORS,
    POINTS,
    coefficient_scores,
    fit_comparators,
)
from pyro_msm.scores.effective import information_bound


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("systems", nargs="*", default=list("abcd"), help="their letters")
    parser.add_argument("--epsilon", type=float, default=0.005)
    options = parser.parse_args()
    print(f"| system | duration | bound at k = 1 | {' | '.join(COMPARATORS)} |")
    print("|---" * (3 + len(COMPARATORS)) + "|")
    for letter in options.systems:
        system = msm.data.systems.get(f"slow-fast-{letter}", epsilon=options.epsilon)
        counts = system.trajectories | {"test": 0}
        data = system.simulate(counts, seed=0)
        train, held_out = (
            Increments.of(msm.data.select(data, split)) for split in ("train", "validation")
        )
        truth, duration = system.effective, float(train.duration.sum())
        x = truth.stationary_points(POINTS)
        bound = information_bound(truth.drift(x), truth.diffusion(x), duration)
        found = coefficient_scores(truth, truth, fit_comparators(train, held_out))["comparators"]
        entries = [
            f"{100 * each['drift_error']:.1f} / {100 * each['diffusion_error']:.1f}"
            for each in found.values()
        ]
        row = [f"`{system.name}`", f"{duration:.0f}", f"{100 * bound:.1f} %", *entries]
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
