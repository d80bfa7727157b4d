"""What the step of the observation alone changes in the squared increments of a slow path.

    python benchmarks/slow_fast_observation_step.py [--step 0.01]

Relative error in L²(p), in per cent, of E(ΔX - b̄Δ)²/Δ against Σ̄ and of E ΔX/Δ against b̄, for paths
of the exact averaged SDE: its backward equation on a grid, so without sampling error. Seconds.
"""

import argparse

import numpy as np
from scipy.sparse import diags_array
from scipy.sparse.linalg import expm_multiply

from pyro_msm.data import systems
from pyro_msm.scores.effective import coefficient_error

GRID = np.linspace(-4, 4, 1601)


def moments(drift, diffusion, step):
    """Mean and variance of the increment over a step, from each point of the grid."""
    spacing = GRID[1] - GRID[0]
    up, down = (diffusion / (2 * spacing**2) + sign * drift / (2 * spacing) for sign in (1, -1))
    up[[0, -1]] = down[[0, -1]] = 0.0  # the ends, which no path reaches, stay where they are
    generator = diags_array([down[1:], -(up + down), up[:-1]], offsets=[-1, 0, 1]).tocsc()
    first, second = expm_multiply(step * generator, np.stack([GRID, GRID**2], 1)).T
    return first - GRID, second - first**2


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--step", type=float, default=0.01)
    step = parser.parse_args().step
    print("| system | diffusion | drift |\n|---|---|---|")
    for letter in "abc":
        name = f"slow-fast-{letter}"
        truth = systems.get(name).effective
        drift = truth.drift(GRID[:, None])[:, 0]
        mean, variance = moments(drift, truth.diffusion(GRID[:, None])[:, 0, 0], step)
        squares = variance + (mean - drift * step) ** 2
        x = truth.stationary_points(400)
        seen = [np.interp(x, GRID, values / step) for values in (squares, mean)]
        errors = (
            coefficient_error(seen[0][..., None], truth.diffusion(x)),
            coefficient_error(seen[1], truth.drift(x)),
        )
        print(f"| `{name}` | {100 * errors[0]:.1f} | {100 * errors[1]:.1f} |")


if __name__ == "__main__":
    main()
