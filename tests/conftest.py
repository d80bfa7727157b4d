"""What all tests share."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(autouse=True)
def _own_state() -> Iterator[None]:
    """No test sees the Pyro parameters or the log handlers of another."""
    yield
    logger = logging.getLogger("pyro_msm")
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)
    if "pyro" in sys.modules:
        sys.modules["pyro"].clear_param_store()


@pytest.fixture
def cli() -> Callable[..., Any]:
    """Runs the command line in this process; the result has exit_code, stdout and stderr."""
    from typer.testing import CliRunner

    from pyro_msm.cli import app

    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, [str(argument) for argument in arguments])
