"""Five microscale components grown one at a time, and trained at once, with equally many steps.

    python benchmarks/growing.py [--steps 3000] [--seed 0]

Prints the free-running validation error on kdv-1d (data seed 11) after every 500 steps, steps of
all stages of the growing model counted.
"""

import argparse
import time

import torch

import pyro_msm as msm

MICRO = 5
TRAINING = {"decay": 0.6, "ramp_steps": 500, "validate_every": 500, "calibrate": False}


def errors(fit, before=0):
    """(step, validation error) of a training that came after ``before`` steps."""
    return [
        (before + record["step"], record["validation_error"])
        for record in fit.history
        if "validation_error" in record
    ]


def pair(data, micro):
    model = msm.models.MultiscaleSDE.for_data(data, macro=20, micro=micro)
    return model, msm.guides.AmortizedPathGuide(model)


def at_once(data, steps, seed):
    torch.manual_seed(seed)
    return errors(msm.fit(*pair(data, MICRO), data, seed=seed, steps=steps, **TRAINING))


def growing(data, steps, seed):
    """A twelfth of the steps without a microscale, a twentieth for each size, the rest for all."""
    torch.manual_seed(seed)
    stages = [steps // 12, *[steps // 20] * (MICRO - 1)]
    stages.append(steps - sum(stages))
    model, guide = pair(data, 0)
    found, before = [], 0
    for micro, count in enumerate(stages):
        if micro:
            model, guide = msm.guides.grow(guide, data)
        fit = msm.fit(model, guide, data, seed=seed + micro, steps=count, **TRAINING)
        found += errors(fit, before)
        before += count
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    data = msm.data.systems.get("kdv-1d").simulate(seed=11)
    for train in (at_once, growing):
        began = time.process_time()
        found = train(data, options.steps, options.seed)
        print(f"{train.__name__} ({time.process_time() - began:.0f} s of processor time)")
        print("  " + ", ".join(f"{step}: {error:.4f}" for step, error in found))


if __name__ == "__main__":
    main()
