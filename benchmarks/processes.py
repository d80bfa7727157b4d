"""Milliseconds of a training step of ``kdv-1d`` on one process and on several.

    python benchmarks/processes.py
    torchrun --nproc-per-node 2 benchmarks/processes.py

On a machine with a free core for every process. ``--windows`` is the global batch, ``--system`` any
system; the leading process prints wall time a step, and the processor time of one process.
"""

from __future__ import annotations

import argparse
import time

import pyro_msm as msm
from pyro_msm import data as datasets
from pyro_msm.config import resolve
from pyro_msm.data.windows import Windows
from pyro_msm.forecasting import build
from pyro_msm.inference import Trainer, process_group


def main(system: str, windows: int, steps: int) -> None:
    config = resolve(system, preset="demo", overrides=[f"training.windows={windows}"])
    counts = {"train": 4, "validation": 1, "test": 1}
    data = msm.data.systems.get(system).simulate(counts, seed=0)
    with process_group() as processes:
        forecaster = build(config, data)
        forecaster.build(data)
        settings = config.training
        train = Windows(datasets.select(data, "train"), settings.window_length, settings.stride)
        trainer = Trainer(
            forecaster.model, forecaster.guide, train, settings.model_copy(update={"steps": 10})
        )
        trainer.run()
        trainer.settings = settings.model_copy(update={"steps": 10 + steps})
        wall, own = time.perf_counter(), time.process_time()
        trainer.run()
        wall, own = time.perf_counter() - wall, time.process_time() - own
        if processes.leads:
            print(
                f"{system}, {windows} windows, {processes.count} process(es): "
                f"{1000 * wall / steps:.1f} ms a step, {1000 * own / steps:.1f} ms of the processor"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--system", default="kdv-1d")
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--steps", type=int, default=100)
    chosen = parser.parse_args()
    main(chosen.system, chosen.windows, chosen.steps)
