"""The command line ``pyro-msm``."""

from __future__ import annotations

import logging
import os

from pyro_msm.cli.commands import app

__all__ = ["app", "main"]


def main() -> None:
    """Runs what ``sys.argv`` says and exits: 0 done, 2 wrong input, 130 Ctrl-C, 1 anything else."""
    # Idle OpenMP threads sleep instead of spinning: on a busy machine spinning is 10 times slower.
    # The library reads this when PyTorch is imported, which no command has done yet.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Some packages give the root logger a handler of its own, which would say everything twice.
    logging.getLogger("pyro_msm").propagate = False
    app(prog_name="pyro-msm")
