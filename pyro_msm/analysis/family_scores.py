"""Scores and report sections that one family of models has and others have not.

A family adds an entry to ``FAMILY_SCORES`` under its ``model.family``: the name of a module with
the two functions of ``FamilyScores``. ``pyro-msm evaluate`` merges what ``scores`` returns into
scores.json, ``pyro-msm report`` appends what ``sections`` makes of scores.json to page and PDF. A
family without an entry has the common scores only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, cast

import xarray as xr

from pyro_msm.analysis.sections import Section
from pyro_msm.config import Config


@dataclass(frozen=True)
class Evaluated:
    """A run that is being evaluated.

    Attributes:
        config: its resolved configuration.
        chains: the fitted forecaster of each chain.
        data: the whole dataset with all its splits.
        ensemble: the DataTree of the rollout, lazily read.
        common: the scores that every family has, as scores.json will hold them.
        progress: whether a progress bar may be shown.
    """

    config: Config
    chains: Sequence[Any]
    data: xr.Dataset
    ensemble: xr.DataTree
    common: Mapping[str, Any]
    progress: bool = False


class FamilyScores(Protocol):
    """What the module of a family offers."""

    def scores(self, run: Evaluated) -> dict[str, Any]:
        """Entries of scores.json: numbers, arrays, lists, dicts and None, under keys of its own.

        Raises:
            InputError: the data or the run lack what they need; the line is shown, and the common
                scores are written.
        """

    def sections(self, result: Mapping[str, Any]) -> list[Section]:
        """Sections of the report, from scores.json alone; none where its entries are missing."""


#: Module with ``scores`` and ``sections``, by ``model.family``; read where it is needed only.
FAMILY_SCORES: dict[str, str] = {
    "led": "pyro_msm.analysis.led_scores",
    "multiscale": "pyro_msm.analysis.multiscale_scores",
    "slow-fast": "pyro_msm.analysis.slow_fast_scores",
}


def family_scores(run: Evaluated) -> dict[str, Any]:
    """What the run's family adds to its scores.

    Raises:
        InputError: see ``FamilyScores``.
        ValueError: the family gives a key that the common scores have.
    """
    module = _module(run.config.model.family)
    if module is None:
        return {}
    found = module.scores(run)
    if taken := sorted(found.keys() & run.common.keys()):
        raise ValueError(
            f"the scores of family {run.config.model.family} would replace {', '.join(taken)} of "
            "scores.json: give them names of their own"
        )
    return found


def family_sections(result: Mapping[str, Any]) -> list[Section]:
    """What the report of a run shows of its family, from its scores.json."""
    module = _module(str(result.get("family")))
    return [] if module is None else module.sections(result)


def _module(family: str) -> FamilyScores | None:
    if family not in FAMILY_SCORES:
        return None
    return cast(FamilyScores, import_module(FAMILY_SCORES[family]))
