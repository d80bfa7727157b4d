"""Cost of an internal step of the slow–fast systems, and of the paths that it makes.

    python benchmarks/slow_fast_steps.py [--paths 40] [--seconds 2]

Seconds of one core (CPU time), so that what else the machine does changes little. The last column
is the time of paths of length 100 at ε = 0.005.
"""

import argparse
import time

import numpy as np

import pyro_msm as msm

EPSILON = 0.005
LENGTH = 100.0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paths", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    print("| system | steps a time ε | µs a step | paths of time 100 |")
    print("|---|---|---|---|")
    for letter in "abcd":
        system = msm.data.systems.get(f"slow-fast-{letter}", epsilon=EPSILON, burn_in=0.0)
        state = system.initial_condition(np.random.default_rng(0), options.paths)
        generators = [np.random.default_rng(seed) for seed in range(options.paths)]
        took, frames = 0.0, 0
        while took < options.seconds:
            began = time.process_time()
            state = system.step(state, 0.0, 0.01, generators)
            took, frames = took + time.process_time() - began, frames + 1
        steps = round(0.01 / EPSILON * system.steps_per_epsilon)
        per_step = took / (frames * steps)
        whole = per_step * steps * LENGTH / 0.01
        print(
            f"| `{system.name}` | {system.steps_per_epsilon} | {1e6 * per_step:.1f} | "
            f"{whole:.0f} s |"
        )


if __name__ == "__main__":
    main()
