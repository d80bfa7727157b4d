"""The machine: the device that is used, and what a reader needs to compare timings."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyro_msm.errors import InputError

PACKAGES = ("arviz", "numpy", "pyro-msm", "pyro-ppl", "scipy", "torch", "torchsde", "xarray")


def describe_environment(device: str) -> dict[str, Any]:
    """What a reader needs to compare timings: versions, processor, threads, device, time (UTC)."""
    import torch

    cuda = device.startswith("cuda")
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if cuda else device,
        "versions": {name: _version(name) for name in PACKAGES},
    }


@contextmanager
def one_thread() -> Iterator[None]:
    """Runs PyTorch's CPU kernels on one thread.

    For loops of small operations: sharing one among threads costs more than the operation, and many
    times more where other processes use the cores. Results then do not depend on their number.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def available_device(name: str) -> str:
    """ "cpu" or "cuda" for "auto", "cpu" or "cuda".

    Raises:
        InputError: CUDA was asked for and PyTorch finds none.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: PyTorch finds no CUDA device here; use --device cpu")
    return name


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """The processor's name where the system tells it, else its architecture."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text("utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
