"""Are probabilities honest: the PIT, threshold exceedance, and the 90 % band over lead time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pyro_msm.analysis.plots import pieces, style


def probability(result: Mapping[str, Any]) -> Figure:
    """The PIT with its simultaneous band, and the reliability of an exceedance probability.

    Args:
        result: scores as ``evaluate`` returns them.

    Raises:
        InputError: one member, or a member diverged, so that neither is known.
    """
    pit: Any = result.get("pit")
    event: Any = result.get("exceedance")
    usable = event is not None and event["brier"] is not None and result["members"] > 1
    pieces.require(bool(pit) or usable, "no probabilities: one member only, or diverged")
    figure = style.new_figure(3.2)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.1, 1.1, 1))
    _pit(left, pit)
    _reliability(middle, event if usable else None)
    _brier(right, event if usable else None, result)
    enough = pit and pit["effective_samples"] is not None
    worth = f" ({pit['effective_samples']:.0f} effective samples)" if enough else ""
    limits = ", ".join(f"{value:.3g}" for value in event["threshold"]) if usable else ""
    caption = (
        "Probabilities. Left: distribution of the probability integral transform of the noisy "
        "truth, less the diagonal; an honest ensemble stays within the grey band, drawn for as "
        f"many independent samples as the correlated points are worth{worth}. "
        + (
            f"Middle: how often the truth exceeded its 90 % quantile ({limits}) when the ensemble "
            "said so with the probability below; bars are 90 % bootstrap intervals over "
            "trajectories, the area of a point is the share of such forecasts. Right: Brier score "
            "over lead time; smaller is better."
            if usable
            else ""
        )
    )
    return style.finish(figure, caption)


def _pit(axes: Axes, pit: Mapping[str, Any] | None) -> None:
    style.tidy(axes, "probability integral transform u", "share below u − u", "PIT")
    if not pit:
        _nothing(axes)
        return
    place = np.concatenate([[0.0], pit["probability"]])
    excess = np.concatenate([[0.0], pit["observed"]]) - place
    largest = np.abs(excess).max()
    if pit["band"] is not None:
        band = [-pit["band"], pit["band"]]
        axes.fill_between([0, 1], *band, color="0.88", label=f"{100 * pit['level']:.0f} % band")
        largest = max(largest, pit["band"])
    axes.axhline(0, **style.FLOOR)
    axes.plot(place, excess, label="ensemble", **{**style.MEAN, "linestyle": "-"})
    axes.set(xlim=(0, 1), ylim=(-1.2 * largest, 1.2 * largest))
    style.legend(axes, loc="best")


def _reliability(axes: Axes, event: Mapping[str, Any] | None) -> None:
    style.tidy(axes, "forecast probability", "observed frequency", "exceedance")
    if event is None:
        _nothing(axes)
        return
    curve = event["reliability"]
    axes.plot([0, 1], [0, 1], label="ideal", **style.FLOOR)
    axes.axhline(event["base_rate"], color="0.7", linewidth=0.8, linestyle="--", label="base rate")
    chance, observed, share = (pieces.curve(curve[k]) for k in ("forecast", "observed", "share"))
    filled = share > 0
    if curve["low"] is not None:
        low, high = (pieces.curve(curve[key])[filled] for key in ("low", "high"))
        axes.vlines(chance[filled], low, high, color="0.4", lw=1)
    axes.plot(chance[filled], observed[filled], color="#0072B2", lw=1)
    size = 12 + 160 * share[filled] ** 0.5
    axes.scatter(chance[filled], observed[filled], size, color="#0072B2", alpha=0.6, zorder=3)
    axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04))
    style.legend(axes, loc="upper left")


def _brier(axes: Axes, event: Mapping[str, Any] | None, result: Mapping[str, Any]) -> None:
    style.tidy(axes, "lead time", "Brier score", "over lead time")
    if event is None:
        _nothing(axes)
        return
    values = pieces.curve(event["by_lead_time"]["brier"])
    lead = result["by_lead_time"]["lead_time"]
    axes.plot(lead, values, label="ensemble", **{**style.MEAN, "linestyle": "-"})
    base = event["base_rate"]
    axes.axhline(base * (1 - base), label="base rate", **style.FLOOR)
    axes.set_ylim(0, 1.2 * max(np.nanmax([*values, 0]), base * (1 - base)))
    style.legend(axes, loc="center right")


def _nothing(axes: Axes) -> None:
    axes.text(0.5, 0.5, "not known", ha="center", va="center")
    axes.set_axis_off()
