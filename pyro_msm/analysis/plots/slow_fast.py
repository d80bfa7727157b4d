"""Effective coefficients of a slow–fast model, and the law of its fast variable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pyro_msm.analysis.plots import pieces, style

SYMBOLS = {"drift": "b̄", "diffusion": "Σ̄"}


def coefficient(shown: Mapping[str, Any], name: str) -> Figure:
    """Drift or diffusion with its 90 % band, the exact one, and those of the comparators.

    Over x where there is one slow component; else the estimate of each component against the exact
    value at places of the path.

    Args:
        shown: ``slow_fast`` of scores.json.
        name: "drift" or "diffusion".

    Raises:
        InputError: several slow components, and no exact values.
    """
    x = np.asarray(shown["x"], float)
    found = {key: value for key, value in shown[name].items() if key != "others"}
    arrays = {key: np.asarray(value, float) for key, value in found.items()}
    if x.shape[1] == 1:
        others = {key: np.asarray(v, float)[:, 0] for key, v in shown[name]["others"].items()}
        return _curve(x[:, 0], {key: v[:, 0] for key, v in arrays.items()}, others, name)
    pieces.require("exact" in arrays, f"no exact {name} to compare several components with")
    return _scatter(arrays, name)


def _curve(
    x: np.ndarray, found: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray], name: str
) -> Figure:
    figure = style.new_figure(3.2)
    axes = figure.subplots()
    axes.fill_between(x, found["low"], found["high"], label="90 % band", **style.BAND)
    for (label, values), look in zip(
        others.items(), style.line_styles(len(others), len(x)), strict=True
    ):
        axes.plot(x, values, label=label, **{**look, "linewidth": 0.8})
    if "exact" in found:
        axes.plot(x, found["exact"], label="exact", **style.TRUTH)
    axes.plot(x, found["mean"], label="slow-fast", **style.MEAN)
    inside = np.concatenate([found["low"], found["high"], found.get("exact", found["mean"])])
    margin = 0.4 * max(np.ptp(inside), 0.1 * np.abs(inside).max())
    axes.set_ylim(inside.min() - margin, inside.max() + margin)
    style.tidy(axes, "x", f"{SYMBOLS[name]}(x)")
    style.legend_above(axes, 7)
    return style.finish(
        figure,
        f"Effective {name} over the range of the path: posterior mean and pointwise 90 % band of "
        "the averaged model, and what estimates without the coupling give.",
    )


def _scatter(found: Mapping[str, np.ndarray], name: str) -> Figure:
    count = found["mean"].shape[1]
    figure = style.new_figure(3.4)
    panels = figure.subplots(1, count, squeeze=False)[0]
    for index, axes in enumerate(panels):
        exact, mean = found["exact"][:, index], found["mean"][:, index]
        error = [mean - found["low"][:, index], found["high"][:, index] - mean]
        axes.errorbar(exact, mean, np.maximum(error, 0), fmt="o", markersize=2, elinewidth=0.6,
                      color=style.MEAN["color"], label="mean and 90 % band")  # fmt: skip
        ends = [exact.min(), exact.max()]
        axes.plot(ends, ends, label="exact", **style.TRUTH)
        style.tidy(axes, f"exact {SYMBOLS[name]}, component {index + 1}", "estimate")
    style.legend(panels[0])
    return style.finish(
        figure,
        f"Effective {name} at places of the path against the exact value, component by component: "
        "posterior mean and pointwise 90 % band.",
    )


def fast_law(shown: Mapping[str, Any]) -> Figure:
    """Distribution function of the first fast component at a few places."""
    places = shown["fast"]
    figure = style.new_figure(2.8)
    panels = np.atleast_1d(figure.subplots(1, len(places), sharey=True))
    for axes, place in zip(panels, places, strict=True):
        _distribution(axes, place)
    panels[0].set_ylabel("share below", fontsize=9)
    style.legend(panels[0])
    return style.finish(
        figure,
        "Law of the fast variable's first component given x. The path tells of it only through b̄ "
        "and Σ̄: where the coupling does not feel a difference, the flow need not find it.",
    )


def _distribution(axes: Axes, place: Mapping[str, Any]) -> None:
    draws = np.asarray(place["draws"], float)
    shares = (np.arange(len(draws)) + 0.5) / len(draws)
    if "exact" in place:
        exact = np.asarray(place["exact"], float)
        axes.plot(exact, (np.arange(len(exact)) + 0.5) / len(exact), label="exact", **style.TRUTH)
    axes.plot(draws, shares, label="flow", **style.MEAN)
    at = ", ".join(f"{float(value):.2f}" for value in place["x"])
    style.tidy(axes, "y", "", f"x = {at}")
