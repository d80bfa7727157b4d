"""Data larger than memory: milliseconds a batch, peak memory of training and of simulating.

    python benchmarks/out_of_core.py [--folder DIR]

Batches are 16 windows of 8 snapshots, 16 time steps apart. They come from memory, and from a NetCDF
file and a Zarr folder that are treated as too large for it; cold means that the system's cache of
the file was emptied. Training waits less, since the next batch is read while one is used. The least
of several times for a batch, so that other work on the machine counts little; medians for training.
Writes 3 GB into DIR, which are deleted at the end.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyro
import torch
import xarray as xr

import pyro_msm as msm
from pyro_msm import forecasting
from pyro_msm.config import resolve
from pyro_msm.data import lazy
from pyro_msm.data.windows import Windows
from pyro_msm.inference import Trainer

#: Sizes of the field (trajectory, time, channel, x, y), by the system whose settings train on it.
SIZES = {"burgers-2d": (20, 501, 1, 128, 128), "cylinder-2d": (1, 1501, 2, 320, 80)}
PLACES = ("memory", "nc", "zarr")


def waves(shape, noise=0.01):
    """Waves with noise, which compresses as badly as that of real data."""
    rng = np.random.default_rng(0)
    phase = np.add.outer(*(np.linspace(0, 2 * np.pi, n) for n in shape[-2:]))
    lead = np.add.outer(np.arange(shape[0]), 0.01 * np.arange(shape[1]))[..., None, None, None]
    field = noise * rng.standard_normal(shape, dtype=np.float32)
    for trajectory, start in zip(field, lead, strict=True):
        trajectory += np.sin(phase + start + np.arange(shape[2])[:, None, None])
    dims = ("trajectory", "time", "channel", "x", "y")
    coords = {"time": 0.002 * np.arange(shape[1])}
    coords |= {axis: np.arange(n) / n for axis, n in zip("xy", shape[-2:], strict=True)}
    coords["split"] = "trajectory", ["train"] * shape[0]
    attrs = {"boundary": ["open", "open"], "domain": [1.0, 1.0]}
    return msm.data.validate(xr.Dataset({"field": (dims, field)}, coords, attrs))


def opened(path, place):
    lazy.IN_MEMORY = 2**31 if place == "memory" else 0
    return msm.data.open(path, check_values=False)


def writing(path, system):
    data = waves(SIZES[system])
    lazy.IN_MEMORY = 0  # chunks as of a store that is too large
    for suffix in ("nc", "zarr"):
        msm.data.save(data, path.with_suffix(f".{suffix}"))
    return {"data_gib": data.nbytes / 2**30}


def forget(path):
    """Empties the system's cache of a file or folder."""
    for file in [path] if path.is_file() else path.rglob("*"):
        if file.is_file():
            handle = os.open(file, os.O_RDONLY)
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def least(windows, count, before=lambda: None):
    """Milliseconds of the fastest of several batches."""
    found = []
    for _ in range(count):
        before()
        began = time.perf_counter()
        windows.draw(16)
        found.append((time.perf_counter() - began) * 1e3)
    return min(found)


def reading(path, place):
    with opened(path, place) as data:
        windows = Windows(data)
        least(windows, 40)
        warm = least(windows, 20)
        cold = None if place == "memory" else least(windows, 9, lambda: forget(path))
    return {"warm_ms": warm, "cold_ms": cold}


def training(path, place, system, steps=16):
    """Milliseconds that a step waits for its batch, and takes; peak memory of all of it."""
    data, config = opened(path, place), resolve(system)
    forecaster = forecasting.build(config, data)
    forecaster.build(data)
    trainer = Trainer(forecaster.model, forecaster.guide, Windows(data), config.training)
    waits, steps_ms = [], []
    with pyro.settings.context(module_local_params=True), pyro.validation_enabled(False):
        for _ in range(steps):
            began = time.perf_counter()
            batch = trainer.batch()
            waits.append((time.perf_counter() - began) * 1e3)
            trainer.state.update(trainer.loss(batch))
            steps_ms.append((time.perf_counter() - began) * 1e3)
    return {"wait_ms": statistics.median(waits[4:]), "step_ms": statistics.median(steps_ms[4:])}


def simulating(path, how):
    system = msm.data.systems.get("shallow-water-2d")
    began = time.perf_counter()
    if how == "simulate":
        msm.data.save(system.simulate(), path)
    else:
        system.simulate_to(path)
    return {"seconds": time.perf_counter() - began}


def alone(task, *arguments):
    """What a function returns in a process of its own, and that one's peak memory."""
    command = [sys.executable, __file__, "--task", json.dumps([task, *arguments])]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


TASKS = {function.__name__: function for function in (writing, reading, training, simulating)}


def perform(task, path, *arguments):
    torch.set_num_threads(1)
    found = TASKS[task](Path(path), *arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps(found | {"peak_gib": peak}))


def shown(title, found):
    numbers = (f"{name} {value:.3g}" for name, value in found.items() if value is not None)
    print(f"  {title:24s} {'   '.join(numbers)}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        perform(*json.loads(options.task))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for system, shape in SIZES.items():
            print(f"{system}: {shape}")
            shown("writing", alone("writing", f"{folder}/{system}.nc", system))
            for place in PLACES:
                path = f"{folder}/{system}.{'zarr' if place == 'zarr' else 'nc'}"
                shown(f"batch from {place}", alone("reading", path, place))
                shown(f"training from {place}", alone("training", path, place, system))
        print("shallow-water-2d: 75 trajectories")
        for how in ("simulate", "simulate_to"):
            shown(how, alone("simulating", f"{folder}/water.nc", how))


if __name__ == "__main__":
    main()
