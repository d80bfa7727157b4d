"""Learned effective dynamics of FitzHugh–Nagumo, and forecasts that alternate with the solver."""

import argparse

import pyro_msm as msm
from pyro_msm.config import resolve
from pyro_msm.forecasting import Alternation, Hybrid, LEDForecaster, initial_window
from pyro_msm.forecasting.solvers import SystemSolver
from pyro_msm.scores.normalised_difference import normalised_absolute_difference


def main(steps: int | None = None, frames: int = 451) -> dict:
    """Trains with the demo preset and compares latent and hybrid forecasts of the test split."""
    overrides = [] if steps is None else [
        f"training.steps={3 * steps}", f"led.autoencoder_steps={steps}",
        f"led.propagator_steps={steps}", "training.calibrate=false",
    ]  # fmt: skip
    config = resolve("fitzhugh-nagumo", preset="demo", model="led", overrides=overrides)
    system = msm.data.systems.get("fitzhugh-nagumo", frames=frames, end_time=frames - 1.0)
    data = system.simulate(seed=0)
    forecaster = LEDForecaster.of_config(config).fit(data, progress=True)
    test = msm.data.select(data, "test")
    initial = initial_window(test, forecaster.warmup)
    times = test["time"].values[forecaster.warmup :]
    solver = SystemSolver.for_data(system, test, copies=1, seed=0)
    hybrid = Hybrid(forecaster, solver, Alternation(solver_time=10.0, ratio=1.0), step=1.0)
    forecasts = {
        "latent": forecaster.forecast(initial, times),
        "hybrid": hybrid.forecast(initial, times),
    }
    truth = test["field"].sel(time=times).values
    return {
        name: normalised_absolute_difference(found["field"].values[0], truth).mean((0, 1))
        for name, found in forecasts.items()
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, help="of each stage; by default the demo preset's")
    for name, error in main(parser.parse_args().steps).items():
        print(f"{name}: MNAD u {error[0]:.2e}, v {error[1]:.2e}")
