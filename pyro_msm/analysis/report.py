"""One self-contained HTML page on a run: what it says, how far to trust it, what it was made of."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import jinja2
from matplotlib.figure import Figure

from pyro_msm.analysis.report_page import read_run
from pyro_msm.analysis.score_rows import MEANINGS
from pyro_msm.files import write_text

DPI = 150


def report(folder: Path | str) -> Path:
    """Writes ``report.html`` into a run folder from what it holds.

    The ensemble must be there; scores.json, metrics.jsonl, config.toml and environment.json are
    shown where they are, and the page says which are not. Nothing outside the page is needed to
    read it.

    Raises:
        InputError: the folder holds no readable ensemble.
    """
    page = read_run(folder)
    path = Path(folder) / "report.html"
    write_text(path, template("report.html.j2").render(page=page, meanings=MEANINGS, png=png))
    return path


def png(figure: Figure) -> str:
    """A figure as the text of a data address."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def template(name: str) -> jinja2.Template:
    """A page's template; what it lacks is an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pyro_msm.analysis", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
