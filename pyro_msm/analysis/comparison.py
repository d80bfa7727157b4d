"""Several runs side by side on one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyro_msm.analysis.plots.comparison import comparison
from pyro_msm.analysis.report import png, template
from pyro_msm.analysis.score_rows import COLUMNS, model_row
from pyro_msm.files import write_text


def comparison_page(runs: Mapping[str, Mapping[str, Any]], path: Path | str) -> Path:
    """Writes a page with a table and curves over lead time.

    Args:
        runs: the scores of each run, as ``evaluate`` returns them, by the name to show.
        path: the page, replaced if it is there.
    """
    rows = [model_row(scores, name) for name, scores in runs.items()]
    figure = comparison(runs)
    page = template("comparison.html.j2")
    text = page.render(rows=rows, columns=COLUMNS, picture=png(figure), caption=figure.get_label())
    write_text(path, text)
    return Path(path)
