"""What a report says, whatever it is printed on: words, tables and figures of a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pyro_msm.analysis import plots
from pyro_msm.analysis.ensemble_file import Ensemble
from pyro_msm.analysis.plain_words import sentences
from pyro_msm.analysis.report_cards import data_card, flat, interval_lines, latent_lines
from pyro_msm.analysis.score_rows import Row, rows
from pyro_msm.errors import InputError
from pyro_msm.forecasting.ensemble import open_ensemble
from pyro_msm.records import read_records

MAX_CHANNELS = 3


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
        intervals: scores with their intervals, as text.
        latents: statistics of the latent states, as text.
        sections: figures under their headings.
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
    intervals: dict[str, str] = field(default_factory=dict)
    latents: dict[str, str] = field(default_factory=dict)
    sections: dict[str, list[Drawing]] = field(default_factory=dict)
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
            page.tables = _tables(result)
            page.intervals = interval_lines(result)
            page.latents = latent_lines(result)
        _draw_fields(page, ensemble, which)
        if result:
            _draw_scores(page, ensemble, which, result)
        page.draw(
            "Latent states and training", "Latent paths", lambda: plots.latents(ensemble, which)
        )
        if metrics is not None:
            page.draw("Latent states and training", "Training", lambda: plots.training(metrics))
    return page


def _draw_fields(page: Page, ensemble: Ensemble, which: int) -> None:
    section = "The forecast"
    names = [plots.channel_name(ensemble, c) for c in range(ensemble.observed.sizes["channel"])]
    scored = page.result["split"] if page.result else None
    for channel, name in enumerate(names[:MAX_CHANNELS]):
        suffix = f", {name}" if len(names) > 1 else ""
        fields = partial(plots.fields, ensemble, which, channel)
        page.draw(section, f"Fields at five times{suffix}", fields)
        if ensemble.observed.ndim == 4:
            diagram = partial(plots.space_time, ensemble, which, channel)
            page.draw(section, f"Space and time{suffix}", diagram)
        if scored in ensemble.splits():
            maps = partial(plots.maps, ensemble, ensemble.splits()[scored], channel)
            page.draw(section, f"Scores over space{suffix}", maps)
    if len(names) > MAX_CHANNELS:
        page.missing.append(f"Of {len(names)} channels the first {MAX_CHANNELS} are drawn.")


def _draw_scores(page: Page, ensemble: Ensemble, which: int, result: Mapping[str, Any]) -> None:
    trust = "How far to trust it"
    page.draw(trust, "Error and spread against lead time", lambda: plots.error_growth(result))
    page.draw(trust, "Calibration", lambda: plots.calibration(result))
    page.draw(trust, "Probabilities", lambda: plots.probability(result))
    sources = partial(plots.variance_parts, ensemble, result, which)
    page.draw("Where the uncertainty comes from", "Variance by source", sources)
    page.draw("Scales", "Energy spectra", lambda: plots.spectra(result))
    page.draw("Scales", "Macro and micro part", lambda: plots.scales(result))


def typical(ensemble: Ensemble, result: Mapping[str, Any] | None) -> int:
    """The trajectory of median error in the scored split: neither the best case nor the worst."""
    splits = ensemble.splits()
    chosen = splits.get(result["split"] if result else "test", next(iter(splits.values())))
    errors = result["relative_error"]["per_trajectory"] if result else []
    if len(errors) != len(chosen):
        return int(chosen[0])
    order = np.argsort([np.inf if e is None else e for e in errors], kind="stable")
    return int(chosen[order[(len(order) - 1) // 2]])


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
