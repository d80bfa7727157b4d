"""How all figures look: told apart without colour, by line style, marker and lightness.

Figures are made without pyplot, so drawing changes no global state and works without a display. The
caption is kept with its figure, as the figure's label: ``figure.get_label()``.
"""

from __future__ import annotations

from itertools import cycle, islice
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

# Okabe and Ito's colours, which colour-blind readers tell apart, with one line style each.
TRUTH: dict[str, Any] = {"color": "black", "linewidth": 1.4}
MEAN: dict[str, Any] = {"color": "#0072B2", "linewidth": 1.6, "linestyle": (0, (5, 1.5))}
BAND: dict[str, Any] = {"color": "#56B4E9", "alpha": 0.35, "linewidth": 0}
FLOOR: dict[str, Any] = {"color": "0.45", "linewidth": 1.2, "linestyle": ":"}
OTHERS: tuple[dict[str, Any], ...] = (
    {"color": "#D55E00", "linestyle": "-", "marker": "o"},
    {"color": "#009E73", "linestyle": "-.", "marker": "s"},
    {"color": "#CC79A7", "linestyle": "--", "marker": "^"},
    {"color": "#E69F00", "linestyle": ":", "marker": "D"},
)
# Both run from dark to light (or back) evenly, so they survive a black-and-white printer.
FIELD_MAP = "cividis"
MAGNITUDE_MAP = "magma_r"


WIDTH = 8.5  # inches: small print stays readable when a page is 700 pixels wide


def new_figure(height: float) -> Figure:
    """An empty figure of ``height`` inches whose parts never overlap."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def finish(figure: Figure, caption: str) -> Figure:
    """Keeps the caption with the figure."""
    figure.set_label(caption)
    return figure


def tidy(axes: Axes, xlabel: str = "", ylabel: str = "", title: str = "") -> Axes:
    """Labels, light frame and readable ticks."""
    axes.set_xlabel(xlabel, fontsize=9)
    axes.set_ylabel(ylabel, fontsize=9)
    axes.set_title(title, fontsize=10)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def line_styles(count: int, points: int) -> list[dict[str, Any]]:
    """``count`` different line styles for curves of ``points`` points, about six markers each."""
    every = max(1, points // 6)
    common = {"linewidth": 1.2, "markersize": 4}
    # Markers start at different points, so that curves that lie on each other still show.
    return [
        {**style, **common, "markevery": (number * every // 5, every)}
        for number, style in enumerate(islice(cycle(OTHERS), count))
    ]


def legend(axes: Axes, **options: Any) -> None:
    """A plain legend, if there is anything to name."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(**{"fontsize": 7.5, "frameon": False, **options})


def legend_above(axes: Axes, columns: int) -> None:
    """A legend over the axes, where it hides no curve."""
    legend(axes, loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, columnspacing=1.2)


def logarithmic(axes: Axes) -> None:
    """A logarithmic y axis with plain numbers, at least one of them in any range."""
    axes.set_yscale("log")
    _plain_numbers(axes.yaxis)


def wavenumbers(axes: Axes) -> None:
    """A logarithmic x axis with plain numbers."""
    axes.set_xscale("log")
    _plain_numbers(axes.xaxis)


def _plain_numbers(axis: Any) -> None:
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
