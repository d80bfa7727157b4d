"""The published numbers, from ``published.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any


@dataclass(frozen=True)
class Published:
    """What was published for one system: the relative error against noisy truth on the test split.

    Attributes:
        errors: mean by (model, micro); micro is None for baselines.
        stds: standard deviation over times and trajectories, where it was given.
        note: how the published case differs from ours; empty where it does not.
        source: where the numbers stand.
    """

    errors: dict[tuple[str, int | None], float]
    stds: dict[tuple[str, int | None], float]
    note: str
    source: str

    def text(self, model: str, micro: int | None) -> str:
        """ "0.042 ± 0.017", or a dash."""
        error, std = self.errors.get((model, micro)), self.stds.get((model, micro))
        if error is None:
            return "—"
        return f"{error:g}" if std is None else f"{error:g} ± {std:g}"


@cache
def published(system: str) -> Published:
    """The published numbers of a system; empty where there are none.

    >>> published("kdv-1d").errors["multiscale", 5]
    0.042
    """
    tables = _tables()
    table: dict[str, Any] = tables.get(system, {})
    errors: dict[tuple[str, int | None], float] = {}
    stds: dict[tuple[str, int | None], float] = {}
    for model, size, mean, *std in table.get("errors", []):
        key = (model, None if size == "none" else int(size))
        errors[key] = mean
        if std:
            stds[key] = std[0]
    return Published(errors, stds, table.get("note", ""), tables["source"])


@cache
def _tables() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("published.toml").read_text("utf-8")
    return tomllib.loads(text)
