"""Milliseconds of one training step: 16 windows of 8 snapshots of 1000 points, as `--preset paper`.

    python benchmarks/training_step.py [--threads 1] [--device cpu]

Prints the median and the range over repeated blocks of steps, for the multiscale model, the
macro-only model, and the multiscale model under plain `pyro.infer.SVI`.
"""

import argparse
import statistics
import time

import pyro
import torch

import pyro_msm as msm
from pyro_msm.config import TrainingConfig
from pyro_msm.data.windows import Windows
from pyro_msm.inference import Trainer


def blocks(step, sync, repeats=9, steps=50):
    """Milliseconds a step in each of ``repeats`` blocks, after a warm-up."""
    for _ in range(steps):
        step()
    found = []
    for _ in range(repeats):
        sync()
        began = time.perf_counter()
        for _ in range(steps):
            step()
        sync()
        found.append((time.perf_counter() - began) / steps * 1e3)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sync = torch.cuda.synchronize if options.device == "cuda" else lambda: None
    data = msm.data.systems.get("kdv-1d").simulate({"train": 10}, seed=0)
    windows = Windows(data, device=options.device)
    print(f"torch {torch.__version__}, {options.device}, {options.threads} thread(s)")
    for title, micro, plain in (
        ("multiscale", 5, False),
        ("macro-only", 0, False),
        ("multiscale, plain SVI", 5, True),
    ):
        model = msm.models.MultiscaleSDE.for_data(data, macro=20, micro=micro)
        guide = msm.guides.AmortizedPathGuide(model)
        model.to(options.device), guide.to(options.device)
        if plain:
            loss = pyro.infer.TraceMeanField_ELBO()
            svi = pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": 1e-5}), loss)
            found = blocks(lambda svi=svi: svi.step(windows.draw(16)), sync)
        else:
            trainer = Trainer(model, guide, windows, TrainingConfig())
            with pyro.settings.context(module_local_params=True), pyro.validation_enabled(False):
                found = blocks(lambda t=trainer: t.state.update(t.loss(t.batch())), sync)
        print(
            f"{title:24s} median {statistics.median(found):6.2f} ms"
            f"   (min {min(found):.2f}, max {max(found):.2f})"
        )


if __name__ == "__main__":
    main()
