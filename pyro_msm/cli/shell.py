"""How the command line speaks: exit codes, one-line errors, notices on stderr."""

from __future__ import annotations

import logging
import os
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from pyro_msm.errors import InputError, TrainingDiverged

FAILED = 1
WRONG_INPUT = 2
INTERRUPTED = 130


class Commands(TyperGroup):
    """The group of all commands: turns wrong input into one line and exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        """Runs a command; anything but wrong input and Ctrl-C keeps its traceback (exit code 1)."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            whose = "" if leads() else f" (process {os.environ['RANK']})"
            typer.echo(f"Error{whose}: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(WRONG_INPUT) from None
        except TrainingDiverged as error:
            if leads():
                typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(FAILED) from None
        except KeyboardInterrupt:
            if leads():
                typer.echo("Interrupted.", err=True)
            raise typer.Exit(INTERRUPTED) from None


class Notices(logging.Handler):
    """Writes the library's notices to stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """One line a notice."""
        typer.echo(self.format(record), err=True)


def leads() -> bool:
    """Whether this process speaks: of those that ``torchrun`` has started, the first."""
    return "TORCHELASTIC_RUN_ID" not in os.environ or os.environ["RANK"] == "0"


def set_up_logging(quiet: bool) -> None:
    """Shows the notices of the library, only warnings where ``quiet``."""
    logger = logging.getLogger("pyro_msm")
    logger.handlers = [Notices() if leads() else logging.NullHandler()]
    logger.setLevel(logging.WARNING if quiet else logging.INFO)


def say(text: str) -> None:
    """A notice on stderr, unless ``--quiet``."""
    logging.getLogger("pyro_msm.cli").info(text)


def show(result: Any) -> None:
    """A result on stdout: a rich table, or plain text."""
    if not leads():
        return
    console = Console(soft_wrap=isinstance(result, str))
    console.print(escape(result) if isinstance(result, str) else result, highlight=False)
