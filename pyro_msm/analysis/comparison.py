"""Several runs side by side on one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyro_msm.analysis.plots.comparison import comparison
from pyro_msm.analysis.report import png, template
from pyro_msm.analysis.score_rows import columns, model_row
from pyro_msm.errors import InputError
from pyro_msm.files import write_text


def comparison_page(runs: Mapping[str, Mapping[str, Any]], path: Path | str) -> Path:
    """Writes a page with a table and curves over lead time.

    Args:
        runs: the scores of each run, as ``evaluate`` returns them, by the name to show.
        path: the page, replaced if it is there.

    Raises:
        InputError: the path is not that of a page, runs of particles beside others, or a
            run was scored by an older version.
    """
    path = Path(path)
    if path.suffix != ".html" or not path.parent.is_dir():
        raise InputError(f"expected the name of an .html file in an existing folder, got {path}")
    for name, scores in runs.items():
        if "by_lead_time" not in scores:
            raise InputError(f"{name} has no scores by lead time: run `pyro-msm evaluate {name}`")
    kinds = {columns(scores) for scores in runs.values()}
    if len(kinds) > 1:
        raise InputError("runs of particles and of fields have no score in common: compare alike")
    rows = [model_row(scores, name) for name, scores in runs.items()]
    figure = comparison(runs)
    page = template("comparison.html.j2")
    text = page.render(
        rows=rows, columns=kinds.pop(), picture=png(figure), caption=figure.get_label()
    )
    write_text(path, text)
    return path
