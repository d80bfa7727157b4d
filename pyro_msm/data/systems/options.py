"""Options of a system: documented fields of its dataclass."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from pyro_msm.errors import InputError


def option(
    default: Any, description: str, choices: tuple[str, ...] = (), minimum: float | None = None
) -> Any:
    """A dataclass field that is also a documented option of a system."""
    metadata = {"description": description, "choices": choices, "minimum": minimum}
    return dataclasses.field(default=default, metadata=metadata)


def check_option(system: str, entry: dataclasses.Field[Any], value: Any) -> None:
    """Raises where ``value`` is not what the option takes."""
    choices, minimum = entry.metadata["choices"], entry.metadata["minimum"]
    if choices and value not in choices:
        raise InputError(
            f"system {system}: option {entry.name} is {value!r}, expected {' or '.join(choices)}"
        )
    if minimum is None:
        return
    whole = isinstance(entry.default, int)
    accepted = (int, np.integer) if whole else (int, float, np.integer, np.floating)
    if isinstance(value, bool) or not isinstance(value, accepted) or not minimum <= value < np.inf:
        kind = "a whole number" if whole else "a number"
        raise InputError(
            f"system {system}: option {entry.name} is {value!r}, expected {kind} from {minimum:g}"
        )
