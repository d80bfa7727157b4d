"""Errors that are told in one line, without a traceback, on the command line."""

from __future__ import annotations


class InputError(ValueError):
    """Wrong input from the user, told in one line: what was expected, what came, what to do.

    The command line prints the message alone and exits with 2; anything else is a defect of ours
    and keeps its traceback.
    """


class TrainingDiverged(RuntimeError):
    """Training kept diverging although the step size was halved again and again."""
