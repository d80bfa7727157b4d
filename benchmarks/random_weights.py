"""``kdv-1d`` with one value for each weight, and with random weights: scores and processor time.

    python benchmarks/random_weights.py --steps 6000

Four training trajectories, three for the test, 39 members; one seed. See ``docs/bayesian.md``.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import pyro_msm as msm
from pyro_msm.config import ModelConfig, TrainingConfig
from pyro_msm.forecasting import MultiscaleForecaster, rollout


def settings(steps: int) -> TrainingConfig:
    """Schedules in proportion to the steps."""
    return TrainingConfig(
        steps=steps, decay=0.6, decay_steps=max(1, steps // 6), ramp_steps=steps // 6,
        validate_every=max(1, steps // 4),
    )  # fmt: skip


def measured(posterior: Any, data: Any, steps: int) -> str:
    """One line of results."""
    model = ModelConfig(macro=20, micro=5, bayesian=posterior)
    forecaster = MultiscaleForecaster(model, settings(steps))
    began = time.process_time()
    forecaster.fit(data, seed=1, device="cpu")
    trained = time.process_time()
    ensemble = rollout(forecaster, data, members=39)
    drawn = time.process_time()
    scores = msm.analysis.evaluate(ensemble)
    line = (
        f"{posterior:8s} error {scores['relative_error']['mean']:.4f}, "
        f"spread/skill {scores['spread_skill']:.2f}, "
        f"90 % band {scores['coverage']['0.9']['observed']:.2f}, CRPS {scores['crps']:.4f}; "
        f"training {trained - began:.0f} s, rollout {drawn - trained:.0f} s of the processor"
    )
    if posterior != "none":
        found = msm.analysis.loo(ensemble)
        line += f"; elpd {found.elpd if hasattr(found, 'elpd') else found.elpd_loo:.0f}"
    return line


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--posteriors", default="none,normal,lowrank")
    chosen = parser.parse_args()
    counts = {"train": 4, "validation": 2, "test": 3}
    dataset = msm.data.systems.get("kdv-1d").simulate(counts, seed=1)
    for name in chosen.posteriors.split(","):
        print(measured(name, dataset, chosen.steps), flush=True)
