"""Seconds to roll out and decode 64 members × 1001 steps × 10 trajectories of 1000 points.

    python benchmarks/rollout.py [--threads 2] [--device cpu]

Noise-free decoding, nothing written; the peak memory of the process is printed too.
"""

import argparse
import resource
import statistics
import time

import torch

import pyro_msm as msm


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--members", type=int, default=64)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = msm.data.systems.get("kdv-1d").simulate({"train": 10, "test": 10}, seed=0)
    model = msm.models.MultiscaleSDE.for_data(data, macro=20, micro=5)
    guide = msm.guides.AmortizedPathGuide(model)
    forecaster = msm.forecasting.MultiscaleForecaster.of(model, guide, data).to(options.device)
    test = msm.data.select(data, "test")
    initial = msm.forecasting.initial_window(test, 1)
    found = []
    for _ in range(6):
        began = time.perf_counter()
        for _ in forecaster.forecast_blocks(initial, test.time.values, options.members, 0):
            pass
        found.append(time.perf_counter() - began)
    found = found[1:]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{options.members} members, {options.device}, {options.threads} thread(s): "
        f"median {statistics.median(found):.2f} s (min {min(found):.2f}, max {max(found):.2f}), "
        f"peak memory {memory:.2f} GiB"
    )


if __name__ == "__main__":
    main()
