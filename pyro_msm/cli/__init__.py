"""The command line ``pyro-msm``."""

from __future__ import annotations

from pyro_msm.cli.commands import app

__all__ = ["app", "main"]


def main() -> None:
    """Runs what ``sys.argv`` says and exits: 0 done, 2 wrong input, 130 Ctrl-C, 1 anything else."""
    app(prog_name="pyro-msm")
