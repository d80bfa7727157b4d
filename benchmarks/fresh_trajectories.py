"""Spread and coverage of trained runs over many fresh trajectories of their systems.

    python benchmarks/fresh_trajectories.py RUN [RUN ...] [--trajectories 60] [--seed 1000]

Errors of forecasts differ by factors of ten from trajectory to trajectory, so that a spread–skill
ratio over the few of a test split is mostly luck. RUNs are trained runs of simulated systems. Each
line: relative error to the noise-free field, spread–skill ratio with its 90 % interval over
trajectories, and the share of observations within the 50, 80 and 90 % bands.
"""

import argparse

from pyro_msm import analysis
from pyro_msm.cli.hybrid import known_system
from pyro_msm.forecasting import load_forecaster, rollout
from pyro_msm.runs import RunDirectory


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--trajectories", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1000)
    options = parser.parse_args()
    for folder in options.runs:
        run, forecaster = RunDirectory.open(folder), load_forecaster(folder)
        data = known_system(run.config).simulate(
            {"train": 1, "validation": 1, "test": options.trajectories},
            seed=options.seed, noise_std=run.config.data.noise_std,
        )  # fmt: skip
        tree = rollout(forecaster, data, run.config.rollout.members, 0, splits=("test",), times=26)
        scores = analysis.evaluate(tree)
        held = [100 * scores["coverage"][level]["observed"] for level in ("0.5", "0.8", "0.9")]
        low, high = scores["intervals"]["spread_skill"]
        print(
            f"{folder}: error {scores['relative_error_clean']['mean']:.4f}, spread-skill "
            f"{scores['spread_skill']:.2f} [{low:.2f}, {high:.2f}], bands hold "
            + ", ".join(f"{share:.0f} %" for share in held),
            flush=True,
        )


if __name__ == "__main__":
    main()
