"""The one error that means: the input was wrong, and here is how to put it right."""

from __future__ import annotations


class InputError(ValueError):
    """Wrong input from the user, told in one line: what was expected, what came, what to do.

    The command line prints the message alone and exits with 2; anything else is a defect of ours
    and keeps its traceback.
    """
