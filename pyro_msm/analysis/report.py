"""One self-contained HTML page on a run: what it says, how far to trust it, what it was made of."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from matplotlib.figure import Figure

from pyro_msm.analysis import plots
from pyro_msm.analysis.ensemble_file import Ensemble
from pyro_msm.analysis.plain_words import sentences
from pyro_msm.analysis.score_rows import COLUMNS, rows
from pyro_msm.errors import InputError
from pyro_msm.files import write_text
from pyro_msm.forecasting.ensemble import open_ensemble
from pyro_msm.records import read_records

DPI = 150
MAX_CHANNELS = 3
SCORE_NAMES = {
    "relative_error": "error",
    "relative_error_clean": "error to clean",
    "crps": "CRPS",
    "crps_clean": "CRPS to clean",
    "energy_score": "energy score",
    "spread_skill": "spread–skill",
}


@dataclass(frozen=True)
class Picture:
    """A figure as the page holds it."""

    title: str
    caption: str
    png: str


@dataclass
class Page:
    """What the template shows; ``missing`` names each piece that the run does not have."""

    title: str
    pictures: list[Picture] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def draw(self, title: str, figure: Callable[[], Figure]) -> None:
        """Adds a figure, or a line on why it cannot be drawn."""
        try:
            drawn = figure()
        except InputError as error:
            self.missing.append(f"Figure “{title}”: {error}.")
            return
        buffer = io.BytesIO()
        drawn.savefig(buffer, format="png", dpi=DPI)
        png = base64.b64encode(buffer.getvalue()).decode("ascii")
        self.pictures.append(Picture(title, str(drawn.get_label()), png))

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


def report(folder: Path | str) -> Path:
    """Writes ``report.html`` into a run folder from what it holds.

    The ensemble must be there; scores.json, metrics.jsonl, config.toml and environment.json are
    shown where they are, and the page says which are not. Nothing outside the page is needed to
    read it.

    Raises:
        InputError: the folder holds no readable ensemble.
    """
    folder = Path(folder)
    with open_ensemble(folder) as tree:
        ensemble = Ensemble(tree)
        page = Page(f"Forecast of {ensemble.attrs.get('system', 'a field')}")
        result = page.read(folder / "scores.json", _json)
        metrics = page.read(folder / "metrics.jsonl", read_records)
        config = page.read(folder / "config.toml", _words)
        environment = page.read(folder / "environment.json", _json)
        shown = _typical(ensemble, result)
        _draw_all(page, ensemble, shown, result, metrics)
        html = _template().render(
            page=page,
            summary=sentences(result) if result else [],
            columns=COLUMNS,
            tables=_tables(result) if result else {},
            intervals=_intervals(result) if result else {},
            shown=ensemble.signal["trajectory"].values[shown],
            result=result,
            data_card=_data_card(ensemble),
            config=config,
            environment=_flat(environment or {}),
        )
    path = folder / "report.html"
    write_text(path, html)
    return path


def _draw_all(
    page: Page,
    ensemble: Ensemble,
    which: int,
    result: Mapping[str, Any] | None,
    metrics: list[dict[str, Any]] | None,
) -> None:
    names = [plots.channel_name(ensemble, c) for c in range(ensemble.observed.sizes["channel"])]
    for channel, name in enumerate(names[:MAX_CHANNELS]):
        suffix = f", {name}" if len(names) > 1 else ""
        fields = partial(plots.fields, ensemble, which, channel)
        page.draw(f"Fields at five times{suffix}", fields)
        if ensemble.observed.ndim == 4:
            diagram = partial(plots.space_time, ensemble, which, channel)
            page.draw(f"Space and time{suffix}", diagram)
    if len(names) > MAX_CHANNELS:
        page.missing.append(f"Of {len(names)} channels the first {MAX_CHANNELS} are drawn.")
    if result:
        page.draw("Error and spread against lead time", lambda: plots.error_growth(result))
        page.draw("Calibration", lambda: plots.calibration(result))
    page.draw("Latent paths", lambda: plots.latents(ensemble, which))
    if metrics is not None:
        page.draw("Training", lambda: plots.training(metrics))


def _typical(ensemble: Ensemble, result: Mapping[str, Any] | None) -> int:
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


def _intervals(result: Mapping[str, Any]) -> dict[str, str]:
    """The model's scores with their bootstrap intervals, as text."""
    known = result.get("intervals", {})
    values = {key: result.get(key) for key in known}
    for name in ("relative_error", "relative_error_clean"):
        values[name] = (values.get(name) or {}).get("mean")
    lines = {}
    for key, text in SCORE_NAMES.items():
        bounds = known.get(key)
        if values.get(key) is not None and bounds and None not in bounds:
            lines[text] = f"{values[key]:.3g} [{bounds[0]:.3g}, {bounds[1]:.3g}]"
    return lines


def _data_card(ensemble: Ensemble) -> dict[str, str]:
    sizes = ensemble.observed.sizes
    splits = {name: len(numbers) for name, numbers in ensemble.splits().items()}
    card = {
        "trajectories": ", ".join(f"{count} {name}" for name, count in splits.items()),
        "channels": ", ".join(plots.channel_name(ensemble, c) for c in range(sizes["channel"])),
        "points": " × ".join(str(sizes[axis]) for axis in ensemble.observed.dims[3:]),
        "stored times": f"{sizes['time']} from {ensemble.time[0]:g} to {ensemble.time[-1]:g}",
        "members": f"{ensemble.signal.sizes['draw']} × {ensemble.signal.sizes['chain']} chains",
        "noise-free truth": "known" if ensemble.clean is not None else "not known",
    }
    if ensemble.mask is not None:
        card["observed"] = f"{100 * float(ensemble.mask.mean()):.1f} % of the points"
    return card | {key: _text(value) for key, value in ensemble.attrs.items()}


def _words(path: Path) -> str:
    return path.read_text("utf-8")


def _json(path: Path) -> Any:
    return json.loads(_words(path))


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted names and text."""
    flat = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            flat.update(_flat(item, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = _text(item)
    return flat


def _text(value: Any) -> str:
    if isinstance(value, list | tuple | np.ndarray):
        return ", ".join(_text(item) for item in value)
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value)


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pyro_msm.analysis", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2")
