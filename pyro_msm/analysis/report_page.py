"""What a report says, whatever it is printed on: words, tables and figures of a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pyro_msm.analysis import plots
from pyro_msm.analysis.ensemble_file import Ensemble
from pyro_msm.analysis.family_scores import family_sections
from pyro_msm.analysis.plain_words import sentences
from pyro_msm.analysis.report_cards import data_card, flat, interval_lines, latent_lines
from pyro_msm.analysis.report_figures import (
    MAX_CHANNELS,
    forecast_figures,
    has_latents,
    score_figures,
)
from pyro_msm.analysis.report_post_hoc import post_hoc_sections
from pyro_msm.analysis.score_rows import COLUMNS, Row, columns, rows
from pyro_msm.analysis.sections import Section, Table
from pyro_msm.errors import InputError
from pyro_msm.forecasting.ensemble import open_ensemble
from pyro_msm.records import read_records


@dataclass(frozen=True)
class Drawing:
    """A figure with its title; its caption is its label."""

    title: str
    figure: Figure

    @property
    def caption(self) -> str:
        """What the figure shows."""
        return str(self.figure.get_label())


@dataclass
class Page:
    """The contents of a report.

    Attributes:
        summary: plain sentences, most important first.
        tables: rows of scores, by title.
        columns: their headings.
        intervals: scores with their intervals, as text.
        latents: statistics of the latent states, as text.
        sections: figures under their headings.
        section_tables: tables under the same headings.
        data_card: what is known of the data.
        environment: versions and machine.
        missing: a line on each piece that the run does not have.
        result: scores.json, or None.
        config: config.toml, or None.
        shown: the number of the trajectory in figures of one trajectory.
    """

    title: str
    summary: list[str] = field(default_factory=list)
    tables: dict[str, list[Row]] = field(default_factory=dict)
    columns: tuple[str, ...] = COLUMNS
    intervals: dict[str, str] = field(default_factory=dict)
    latents: dict[str, str] = field(default_factory=dict)
    sections: dict[str, list[Drawing]] = field(default_factory=dict)
    section_tables: dict[str, list[Table]] = field(default_factory=dict)
    data_card: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    result: dict[str, Any] | None = None
    config: str | None = None
    shown: Any = None

    def draw(self, section: str, title: str, figure: Callable[[], Figure]) -> None:
        """Adds a figure, or a line on why it cannot be drawn."""
        try:
            drawn = figure()
        except InputError as error:
            self.missing.append(f"Figure “{title}”: {error}.")
            return
        self.sections.setdefault(section, []).append(Drawing(title, drawn))

    def add(self, section: Section) -> None:
        """Adds a section with its figures, tables and sentences."""
        self.sections.setdefault(section.heading, [])
        for title, figure in section.figures:
            self.draw(section.heading, title, figure)
        self.section_tables.setdefault(section.heading, []).extend(section.tables)
        self.summary.extend(section.sentences)

    def read(self, path: Path, reader: Callable[[Path], Any]) -> Any:
        """What ``reader`` makes of a file of the run; None, and a line on it, where it fails."""
        if not path.exists():
            self.missing.append(f"{path.name} is not in the run folder.")
            return None
        try:
            return reader(path)
        except (OSError, ValueError) as error:
            self.missing.append(f"{path.name} cannot be read: {error}.")
        return None


def read_run(folder: Path | str) -> Page:
    """The report of a run folder.

    The ensemble must be there; scores.json, metrics.jsonl, config.toml and environment.json are
    shown where they are, and ``missing`` says which are not.

    Raises:
        InputError: the folder holds no readable ensemble.
    """
    folder = Path(folder)
    with open_ensemble(folder) as tree:
        ensemble = Ensemble(tree)
        page = Page(f"Forecast of {ensemble.attrs.get('system', 'a field')}")
        page.result = result = page.read(folder / "scores.json", _json)
        metrics = page.read(folder / "metrics.jsonl", read_records)
        page.config = page.read(folder / "config.toml", _words)
        page.environment = flat(page.read(folder / "environment.json", _json) or {})
        which = typical(ensemble, result)
        page.shown = ensemble.signal["trajectory"].values[which]
        page.data_card = data_card(ensemble)
        if result:
            page.summary = sentences(result)
            page.tables, page.columns = _tables(result), columns(result)
            page.intervals = interval_lines(result)
            page.latents = latent_lines(result)
        for figure in forecast_figures(ensemble, which, result):
            page.draw(*figure)
        if ensemble.labels > MAX_CHANNELS and ensemble.kind.spatial:
            page.missing.append(f"Of {ensemble.labels} channels {MAX_CHANNELS} are drawn.")
        for figure in score_figures(ensemble, which, result) if result else []:
            page.draw(*figure)
        for section in _sections(result) if result else []:
            page.add(section)
        last = "Latent states and training" if has_latents(ensemble) else "Training"
        if has_latents(ensemble):
            page.draw(last, "Latent paths", lambda: plots.latents(ensemble, which))
        if metrics is not None:
            page.draw(last, "Loss and validation error", lambda: plots.training(metrics))
    return page


def typical(ensemble: Ensemble, result: Mapping[str, Any] | None) -> int:
    """The trajectory of median error in the scored split: neither the best case nor the worst."""
    splits = ensemble.splits()
    chosen = splits.get(result["split"] if result else "test", next(iter(splits.values())))
    errors = _errors(result) if result else []
    if len(errors) != len(chosen):
        return int(chosen[0])
    order = np.argsort([np.inf if e is None else e for e in errors], kind="stable")
    return int(chosen[order[(len(order) - 1) // 2]])


def _sections(result: Mapping[str, Any]) -> list[Section]:
    return [*post_hoc_sections(result), *family_sections(result)]


def _errors(result: Mapping[str, Any]) -> list[float | None]:
    """The error of each scored trajectory, by which the typical one is found."""
    if result.get("particles"):
        return list(result["by_trajectory"]["wasserstein"])
    return list(result["relative_error"]["per_trajectory"])


def _tables(result: Mapping[str, Any]) -> dict[str, Any]:
    """Rows of the scored split and of the others, by title."""
    tables = {f"{result['split']} split": rows(result)}
    for name, scored in result.get("splits", {}).items():
        tables[f"{name} split"] = rows({**scored, "model": result["model"]})
    return tables


def _words(path: Path) -> str:
    return path.read_text("utf-8")


def _json(path: Path) -> Any:
    return json.loads(_words(path))
