"""Presets: one TOML file a system, one table a preset; ``default.toml`` is for users' own data."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

from pyro_msm.errors import InputError


def systems() -> list[str]:
    """Names of the systems that have presets, which are those that can be simulated.

    Example:
        >>> "kdv-1d" in systems()
        True
    """
    files = (file.name for file in resources.files(__name__).iterdir())
    names = (name.removesuffix(".toml") for name in files if name.endswith(".toml"))
    return sorted(name for name in names if name != "default")


def is_system(source: str) -> bool:
    """Whether ``source`` is a system's name (True) or a data file's path (False).

    Raises:
        InputError: it is neither: no such system, and nothing that looks like a path.
    """
    if source in systems():
        return True
    path = Path(source)
    if path.suffix or len(path.parts) > 1 or path.exists():
        return False
    raise InputError(
        f"unknown system {source!r}{hint(source, systems())}; "
        f"known: {', '.join(systems())} (or give the path of a data file)"
    )


def presets(source: str) -> dict[str, dict[str, Any]]:
    """The presets of a system, or those for a user's own data file, by name."""
    name = source if is_system(source) else "default"
    text = resources.files(__name__).joinpath(f"{name}.toml").read_text("utf-8")
    return tomllib.loads(text)


def hint(word: str, known: Iterable[str]) -> str:
    """ ", did you mean …?" if one of the known words is near, else nothing.

    Example:
        >>> hint("kdv", ["burgers-1d", "kdv-1d"])
        ", did you mean 'kdv-1d'?"
    """
    near = difflib.get_close_matches(word, list(known), n=1)
    return f", did you mean {near[0]!r}?" if near else ""
