"""Cost and error of the solvers that learned effective dynamics are compared with.

    python benchmarks/led_solvers.py [--repeats 5]

One thread. For each setting: microseconds of processor time for a unit of time of one trajectory,
alone and in a batch; and the error against a finer setting of the same system, MNAD over 450 units
for FitzHugh–Nagumo and mean |difference| over the range after 20 units for Kuramoto–Sivashinsky.
The cheapest setting that is accurate enough is what speed-ups are to be given against.
"""

import argparse
import time

import numpy as np

from pyro_msm.data import systems
from pyro_msm.scores import normalised_absolute_difference

FITZHUGH_NAGUMO = (
    ("lattice-boltzmann", 0.005),
    ("lattice-boltzmann", 0.01),
    ("strang", 0.05),
    ("strang", 0.1),
    ("strang", 0.2),
)
KURAMOTO_SIVASHINSKY = (0.025, 0.05, 0.1, 0.25, 0.5)


def cost(system, state, duration, repeats):
    """Microseconds for a unit of time of one trajectory, the least of several."""
    streams = [np.random.default_rng(index) for index in range(len(state))]
    system.step(state, 0.0, duration, streams)
    found = []
    for _ in range(repeats):
        began = time.process_time()
        system.step(state, 0.0, duration, streams)
        found.append(time.process_time() - began)
    return min(found) / duration / len(state) * 1e6


def record(system, state, count):
    """What is observed at times 0, 1, …, (trajectory, time, channel, x)."""
    found = [system.observe(state)]
    for index in range(count):
        state = system.step(state, float(index), 1.0)
        found.append(system.observe(state))
    return np.stack(found, axis=1)


def row(name, setting, alone, together, error):
    print(f"| {name} | {setting} | {alone:.0f} | {together:.0f} | {error} |", flush=True)


def fitzhugh_nagumo(repeats):
    """Against Strang splitting in steps of 0.01; the lattice's own walls count as error."""

    def made(scheme, step):
        system = systems.get("fitzhugh-nagumo", scheme=scheme, time_step=step)
        parameters = system.parameters_of("test", 0, np.random.default_rng(0))
        return system, system.initial_state(parameters)

    truth = record(*made("strang", 0.01), 450)
    for scheme, step in FITZHUGH_NAGUMO:
        system, state = made(scheme, step)
        error = normalised_absolute_difference(record(system, state, 450), truth).mean((0, 1))
        alone = cost(system, state, 5.0, repeats)
        together = cost(system, np.repeat(state, 50, axis=0), 5.0, repeats)
        row(
            system.name, f"{scheme}, {step:g}", alone, together, "/".join(f"{e:.1e}" for e in error)
        )


def kuramoto_sivashinsky(repeats):
    """Against steps of 0.0025."""
    fine = systems.get("kuramoto-sivashinsky", time_step=0.0025)
    start = systems.get("kuramoto-sivashinsky").initial_condition(np.random.default_rng(0), 50)
    truth = fine.step(start[:10], 0.0, 20.0)
    for step in KURAMOTO_SIVASHINSKY:
        system = systems.get("kuramoto-sivashinsky", time_step=step)
        error = np.abs(system.step(start[:10], 0.0, 20.0) - truth).mean() / np.ptp(truth)
        alone = cost(system, start[:1], 5.0, repeats)
        row(system.name, f"{step:g}", alone, cost(system, start, 5.0, repeats), f"{error:.1e}")


def advection_diffusion(repeats):
    """1000 particles; their only error is chance, and that of the step (see ``fokker_planck``)."""
    for name in ("advection-diffusion-1d", "advection-diffusion-3d"):
        system = systems.get(name)
        state = system.initial_state(np.zeros((1, 1)))
        alone = cost(system, state, 0.5, repeats)
        row(name, f"{system.time_step:g}", alone, alone, "–")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    print(
        "| system | setting | µs a unit, alone | in a batch of 50 | error |\n|---|---|---|---|---|"
    )
    fitzhugh_nagumo(repeats)
    kuramoto_sivashinsky(repeats)
    advection_diffusion(repeats)


if __name__ == "__main__":
    main()
