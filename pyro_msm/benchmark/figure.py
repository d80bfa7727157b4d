"""``error_vs_micro.png``: the error against the size of the microscale state."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pyro_msm.analysis.plots import style
from pyro_msm.benchmark.published import published
from pyro_msm.benchmark.records import Results
from pyro_msm.benchmark.rows import Record, Row, rows
from pyro_msm.files import replacing

ACROSS = 3
PUBLISHED: dict[str, Any] = {
    "color": "#D55E00", "linestyle": "--", "linewidth": 1.2, "marker": "s", "markersize": 4,
}  # fmt: skip
BASELINE: dict[str, Any] = {"color": "#009E73", "linestyle": "-.", "linewidth": 1.2}


def write(results: Results) -> None:
    """Writes the figure, if any of our models has an error to show; removes a stale one if not."""
    drawn = error_against_micro(results.records)
    if drawn is None:
        results.figure.unlink(missing_ok=True)
        return
    with replacing(results.figure) as temporary:
        drawn.savefig(temporary, dpi=150)


def error_against_micro(records: list[Record]) -> Figure | None:
    """A panel a system: seeds as points, their mean as a line, and what there is beside them.

    Returns:
        None where no model of ours with a microscale state of some size has an error.
    """
    panels = {}
    for system in dict.fromkeys(str(record["system"]) for record in records):
        found = rows(records, system, "test")
        if _sized(found):
            panels[system] = found
    if not panels:
        return None
    across = min(ACROSS, len(panels))
    lines = math.ceil(len(panels) / across)
    figure = style.new_figure(0.6 + 2.5 * lines)
    axes = figure.subplots(lines, across, squeeze=False).ravel()
    for place, (system, found) in zip(axes, panels.items(), strict=False):
        _panel(place, system, found)
    for place in axes[len(panels) :]:
        place.set_axis_off()
    handles = {
        label: handle
        for place in axes[: len(panels)]
        for handle, label in zip(*place.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        list(handles.values()), list(handles), loc="outside upper left",
        ncols=len(handles), fontsize=8, frameon=False,
    )  # fmt: skip
    return style.finish(
        figure,
        "Relative error on the test split against the size of the microscale state n_η: one point "
        "a seed, the line through their means; the published error, the best baseline and the "
        "noise floor where they are known.",
    )


def _sized(found: list[Row]) -> list[Row]:
    """Our models whose error depends on n_η, as far as it is known."""
    return [row for row in found if row.micro is not None and row.values("relative_error")]


def _panel(axes: Axes, system: str, found: list[Row]) -> None:
    ours = _sized(found)
    places = [(row.micro, error) for row in ours for error in row.values("relative_error")]
    axes.plot(*zip(*places, strict=True), "o", color=style.MEAN["color"], ms=4, label="seeds")
    means = [(row.micro, mean) for row in ours if (mean := row.mean("relative_error")) is not None]
    if means:
        look = {**style.MEAN, "linestyle": "-"}
        axes.plot(*zip(*means, strict=True), label="mean over seeds", **look)
    curve = sorted(
        (size, error) for (_, size), error in published(system).errors.items() if size is not None
    )
    if curve:
        axes.plot(*zip(*curve, strict=True), label="published", **PUBLISHED)
    best = [e for row in found if row.kind == "baseline" for e in row.values("relative_error")]
    if best:
        axes.axhline(min(best), label="best baseline", **BASELINE)
    floor = [e for row in found if row.kind == "floor" for e in row.values("relative_error")]
    if floor and floor[0] > 0:
        axes.axhline(floor[0], label="noise floor", **style.FLOOR)
    style.tidy(axes, "n_η", "relative error", system)
    style.logarithmic(axes)
    axes.set_xticks(sorted({place for place, _ in [*places, *curve]}))
