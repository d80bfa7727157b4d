"""The averaged dynamics of a slow variable from its path: a double well whose width breathes."""

import argparse

import pyro_msm as msm
from pyro_msm.config import SlowFastConfig, TrainingConfig
from pyro_msm.forecasting.slow_fast.forecaster import SlowFastForecaster
from pyro_msm.scores import effective


def main(steps: int = 300, end_time: float = 50.0) -> dict[str, float]:
    """Learns from four paths; returns errors of the effective drift, and what bounds them."""
    system = msm.data.systems.get("slow-fast-b", end_time=end_time, frames=int(100 * end_time) + 1)
    data = system.simulate({"train": 4, "validation": 1, "test": 1}, seed=0)
    training = TrainingConfig(
        steps=steps, learning_rate=0.02, decay=0.5, decay_steps=max(1, steps // 4), ema=0.98
    )
    forecaster = SlowFastForecaster(SlowFastConfig(), training).fit(data)

    truth = system.effective
    x = truth.stationary_points(200)  # where the slow variable is found
    draws = forecaster.drift_draws(x)  # (draw, place, component)
    exact = truth.drift(x)
    return {
        "drift error": effective.coefficient_error(draws.mean(0), exact),
        "information bound at k = 1": effective.information_bound(
            exact, truth.diffusion(x), forecaster.duration
        ),
        "parameters that the path has told": forecaster.effective_parameters,
        "share of places in the 90 % band": effective.band_coverage(draws, exact),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--end-time", type=float, default=50.0)
    options = parser.parse_args()
    for name, value in main(options.steps, options.end_time).items():
        print(f"{name}: {value:.3g}")
