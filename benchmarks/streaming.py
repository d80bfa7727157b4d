"""Seconds and peak memory of rolling out and scoring an ensemble that is larger than memory.

    python benchmarks/streaming.py [--members 1000] [--times 101] [--trajectories 1]
    python benchmarks/streaming.py --members 10000 --times 1001     # minutes; what the docs quote
    python benchmarks/streaming.py --fields --scheduler local:2

Untrained model of the size of `kdv-1d` (1000 points, 25 latent numbers, 1001 steps). By default
only the latent paths are kept, in a Zarr store, and fields are decoded as they are scored;
`--fields` writes them too. The peak is that of this process from its start: with a scheduler, the
workers have their own.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import torch

import pyro_msm as msm


def peak():
    """GiB of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def since(moment):
    """Seconds on the clock, and of processor, since then."""
    wall, processor = time.perf_counter() - moment[0], time.process_time() - moment[1]
    return f"{wall:.1f} s ({processor:.1f} s of processor)"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, default=1000)
    parser.add_argument("--times", type=int, default=101, help="at which fields are scored")
    parser.add_argument("--trajectories", type=int, default=1)
    parser.add_argument("--fields", action="store_true", help="write the fields to the store")
    parser.add_argument("--memory", type=float, default=1.0, help="GiB to work with")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--scheduler", help="local:N or the address of a Dask scheduler")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    counts = {"train": 2, "test": options.trajectories}
    data = msm.data.systems.get("kdv-1d").simulate(counts, seed=0)
    model = msm.models.MultiscaleSDE.for_data(data, macro=20, micro=5)
    guide = msm.guides.AmortizedPathGuide(model)
    forecaster = msm.forecasting.MultiscaleForecaster.of(model, guide, data)
    how = {"memory": int(options.memory * 2**30), "scheduler": options.scheduler}
    print(f"data and model: {peak():.2f} GiB")
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "ensemble.zarr"
        began = time.perf_counter(), time.process_time()
        tree = msm.forecasting.rollout(
            forecaster, data, options.members, 0, times=options.times, store=store,
            fields=options.fields, splits=("test",), **how,
        )  # fmt: skip
        rolled = time.perf_counter(), time.process_time()
        size = sum(file.stat().st_size for file in store.rglob("*") if file.is_file()) / 2**30
        print(f"rolled out: {since(began)}, {peak():.2f} GiB, store of {size:.2f} GiB")
        scores = msm.analysis.evaluate(tree, **how)
        print(f"scored:     {since(rolled)}, {peak():.2f} GiB")
    shape = dict(tree["posterior"]["signal"].sizes)
    values = tree["posterior"]["signal"].size
    print(f"{shape}: {values:.3g} numbers, {values * 4 / 2**30:.1f} GiB as float32")
    print(
        f"both:       {since(began)}, {(time.process_time() - began[1]) / values * 1e9:.0f} ns of "
        f"processor a number; CRPS {scores['crps']:.6g}, energy score {scores['energy_score']:.6g}"
    )


if __name__ == "__main__":
    main()
