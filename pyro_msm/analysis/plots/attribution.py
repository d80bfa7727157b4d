"""What the micro state does to the macro drift, and how well both states are forecast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pyro_msm.analysis.plots import pieces, style

SYMBOLS = {"macro": "macrostate ζ", "micro": "microstate η"}


def drift_attribution(found: Mapping[str, Any]) -> Figure:
    """Shares of the drift's variance that go with η: by component, over time, over points.

    Args:
        found: ``drift_attribution`` of scores.json.
    """
    figure = style.new_figure(2.8)
    left, middle, right = figure.subplots(1, 3)
    shares = np.array(found["by_component"], float)
    names = np.arange(len(shares)) + found["first_component"]
    left.bar(names, shares, color="0.6", edgecolor="black", linewidth=0.6)
    left.axhline(found["share"], label="all together", **style.MEAN)
    left.set_xticks(names)
    style.tidy(left, "component of η held at its mean", "share of the drift's variance", "which")
    style.legend(left, loc="best")
    middle.plot(found["time"], np.array(found["by_time"], float), color="#0072B2", lw=1.2)
    middle.set_ylim(bottom=0)
    style.tidy(middle, "time", "", "when")
    by_point = np.array(found["by_point"], float)
    for number, (values, look) in enumerate(
        zip(by_point, style.line_styles(len(by_point), by_point.shape[1]), strict=True)
    ):
        label = f"channel {number + 1}" if len(by_point) > 1 else None
        right.plot(np.arange(len(values)) + 1, values, label=label, **look)
    right.set_ylim(bottom=0)
    style.tidy(right, "macro point", "", "where")
    style.legend(right, loc="best")
    caption = (
        "How much of the macro drift f(ζ, φ(η)) is due to the microstate, along the encoded paths "
        f"of the {found['split']} split: variance of f(ζ, φ(η)) − f(ζ, φ(η̄)) divided by that of "
        "f(ζ, φ(η)), each component of ζ in units of its own rate. Left: with one component of η "
        "held at its mean, and with all. Middle and right: all held, over time and over the points "
        "of ζ (1 is the mean of the drift's variance)."
    )
    return style.finish(figure, caption)


def part_scores(result: Mapping[str, Any]) -> Figure:
    """Relative error, error and spread, and coverage of the macro and micro states.

    Args:
        result: scores as ``evaluate`` returns them.

    Raises:
        InputError: the ensemble held no encoded truth.
    """
    parts: Any = (result.get("scales") or {}).get("parts")
    pieces.require(bool(parts), "the ensemble holds no encoded truth of its latent states")
    lead = np.asarray(result["by_lead_time"]["lead_time"])
    figure = style.new_figure(2.2 * len(parts) + 0.4)
    grid = figure.subplots(len(parts), 3, sharex=True, squeeze=False)
    for row, (name, found) in enumerate(parts.items()):
        lists = {key: pieces.curve(values) for key, values in found["by_lead_time"].items()}
        left, middle, right = grid[row]
        last, top = row == len(parts) - 1, row == 0
        below = "lead time" if last else ""
        left.plot(lead, lists["relative_error"], **{**style.MEAN, "linestyle": "-"})
        left.set_ylim(bottom=0)
        style.tidy(left, below, SYMBOLS[name], "relative error" if top else "")
        middle.plot(lead, lists["rmse"], label="error of the mean", **style.TRUTH)
        middle.plot(lead, lists["spread"], label="spread", **style.MEAN)
        middle.set_ylim(bottom=0)
        style.tidy(middle, below, "", "error and spread" if top else "")
        style.legend(middle, loc="best")
        right.axhline(0.9, **style.FLOOR)
        right.plot(lead, lists["coverage"], color="#0072B2", lw=1.2)
        right.set_ylim(0, 1.02)
        style.tidy(right, below, "", "held by the 90 % band" if top else "")
    caption = (
        "The latent states against their own truth, the encoder's reading of the observed field at "
        "each time, averaged over components and trajectories (first chain). The encoder's own "
        "uncertainty is not in it: a band that holds too little may be honest where the reading "
        "is noisy."
    )
    return style.finish(figure, caption)
