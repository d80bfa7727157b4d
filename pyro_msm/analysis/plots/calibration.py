"""Is the ensemble's uncertainty honest: reliability, coverage over lead time, ranks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pyro_msm.analysis.plots import pieces, style
from pyro_msm.analysis.wording import how_many

BINS = 20


def calibration(result: Mapping[str, Any]) -> Figure:
    """Nominal against observed coverage, the 90 % band over lead time, and the rank histogram.

    Args:
        result: scores as ``evaluate`` returns them.

    Raises:
        InputError: the forecast has one member, or diverged, so that nothing can be drawn.
    """
    known = [c for c in result["coverage"].values() if c["observed"] is not None]
    lists = result["by_lead_time"]
    some = any(value is not None for value in lists["coverage_0.9"])
    pieces.require(
        bool(known) or some, "no calibration: one member only, or no time without divergence"
    )
    figure = style.new_figure(3.2)
    left, middle, right = figure.subplots(1, 3)
    _reliability(left, result)
    _over_lead_time(middle, result)
    _ranks(right, result)
    caption = (
        "Calibration. Left: share of the truth that central bands of the ensemble held, against "
        "what they promise (bars: 90 % bootstrap intervals over "
        f"{how_many(result['trajectories'])}); below the diagonal the bands are too narrow. "
        "Middle: the 90 % band over lead time, shaded the same intervals. Right: rank of the noisy "
        "truth among the members; flat is honest (vertical bars: two standard errors about 1, for "
        "the effective number of samples), a ∪ says too narrow, a ∩ too wide, a slope biased."
    )
    return style.finish(figure, caption)


def _reliability(axes: Axes, result: Mapping[str, Any]) -> None:
    axes.plot([0, 1], [0, 1], label="ideal", **style.FLOOR)
    looks = [
        ("coverage", "noisy truth, band with noise", {"color": "#0072B2", "marker": "o"}),
        ("coverage_clean", "clean truth, band without", _open_square()),
    ]
    for key, label, look in looks:
        if not result.get(key):
            continue
        bounds = result.get("intervals", {}).get(key) or {}
        points = [
            (value["nominal"], value["observed"], bounds.get(level))
            for level, value in result[key].items()
            if value["observed"] is not None
        ]
        for number, (nominal, observed, interval) in enumerate(points):
            bars = None
            if interval and None not in interval:
                bars = np.abs(np.array(interval) - observed)[:, np.newaxis]
            axes.errorbar(
                nominal,
                observed,
                bars,
                label=label if number == 0 else None,
                linestyle="none",
                capsize=3,
                markersize=5,
                **look,
            )
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    style.tidy(axes, "promised", "held", "bands of 50, 80, 90, 95 %")
    style.legend(axes, loc="lower right", fontsize=7)


def _open_square() -> dict[str, Any]:
    return {"color": "#D55E00", "marker": "s", "markerfacecolor": "none"}


def _over_lead_time(axes: Axes, result: Mapping[str, Any]) -> None:
    lists = result["by_lead_time"]
    nominal = result["coverage"]["0.9"]["nominal"]
    if nominal is not None:
        axes.axhline(nominal, label=f"promised ({100 * nominal:.0f} %)", **style.FLOOR)
    looks = [("coverage_0.9", "noisy truth", {**style.MEAN, "linestyle": "-"})]
    looks += [("coverage_clean_0.9", "clean truth", {"color": "#D55E00", "linestyle": "--"})]
    for key, label, look in looks:
        if key in lists:
            axes.plot(lists["lead_time"], pieces.curve(lists[key]), label=label, **look)
            bounds = (result.get("intervals", {}).get("by_lead_time") or {}).get(key)
            if bounds:
                low, high = (pieces.curve(side) for side in bounds)
                colour = look["color"]
                axes.fill_between(lists["lead_time"], low, high, color=colour, alpha=0.15, lw=0)
    axes.set_ylim(0, 1.02)
    style.tidy(axes, "lead time", "held by the 90 % band", "90 % band over lead time")
    style.legend(axes, loc="lower right")


def _ranks(axes: Axes, result: Mapping[str, Any]) -> None:
    histogram = result["rank_histogram"]
    style.tidy(axes, "rank of the truth among the members", "frequency ÷ expected", "ranks")
    if not histogram or None in histogram:
        axes.text(0.5, 0.5, "not known: one member, or diverged", ha="center", va="center")
        axes.set_axis_off()
        return
    values = np.array(histogram, float)
    groups = np.array_split(values, min(BINS, len(values)))
    edges = np.concatenate([[0], np.cumsum([len(g) for g in groups])]) / len(values)
    ratio = [g.mean() * len(values) for g in groups]
    axes.stairs(ratio, edges, fill=True, color="0.75")
    axes.stairs(ratio, edges, color="black", linewidth=0.8)
    axes.axhline(1, **style.FLOOR)
    samples = (result.get("pit") or {}).get("effective_samples")
    if samples:  # two standard errors of each group of bins about 1
        share = np.array([len(g) for g in groups]) / len(values)
        error = 2 * np.sqrt(share * (1 - share) / samples) / share
        axes.vlines(0.5 * (edges[1:] + edges[:-1]), 1 - error, 1 + error, color="0.45", lw=1)
    axes.set(xlim=(0, 1), ylim=(0, max(2.0, 1.1 * max(ratio))))
    axes.set_xticks([0, 0.5, 1], ["below all", "middle", "above all"])
