"""Two multiscale models trained side by side with plain Pyro: SVI, an optimiser, a stock ELBO."""

import argparse

import pyro
import torch

import pyro_msm as msm
from pyro_msm.data.windows import Windows


def main(steps: int = 400) -> list[tuple[float, float]]:
    """Trains a multiscale and a macro-only model; returns the first and last loss of each."""
    torch.manual_seed(0)
    system = msm.data.systems.get("kdv-1d", points=200, frames=201)
    data = system.simulate({"train": 4}, seed=0)
    windows = Windows(data, length=8, stride=4)
    trained = []
    for micro in (5, 0):
        model = msm.models.MultiscaleSDE.for_data(data, macro=20, micro=micro)
        guide = msm.guides.AmortizedPathGuide(model)
        svi = pyro.infer.SVI(
            model,
            guide,
            pyro.optim.ClippedAdam({"lr": 2e-3, "clip_norm": 1e4}),
            loss=pyro.infer.TraceMeanField_ELBO(),
        )
        trained.append(svi)
    losses = [[svi.step(windows.draw(16)) for svi in trained] for _ in range(steps)]
    return [(first, last) for first, last in zip(losses[0], losses[-1], strict=True)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400)
    for first, last in main(parser.parse_args().steps):
        print(f"loss {first:.3g} -> {last:.3g}")
