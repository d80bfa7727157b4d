"""Where the uncertainty comes from: shares over lead time, and where in space and time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pyro_msm.analysis.diagnostics.variance import variance_fields
from pyro_msm.analysis.ensemble_file import Ensemble
from pyro_msm.analysis.plots import pieces, style
from pyro_msm.analysis.wording import how_many

LABELS = {
    "observation": "observation noise",
    "dynamical": "within a chain (SDE, initial state)",
    "epistemic": "between chains (epistemic)",
}
LOOKS = {
    "observation": {"facecolor": "0.88", "hatch": ""},
    "dynamical": {"facecolor": "#9ecae9", "hatch": "///"},
    "epistemic": {"facecolor": "#f2b183", "hatch": "xxx"},
}


def variance_parts(
    ensemble: Ensemble, result: Mapping[str, Any], trajectory: int = 0, channel: int = 0
) -> Figure:
    """Left: the parts of the variance over lead time. Right: two of them in space and time, of a
    field.

    Args:
        ensemble: a rollout.
        result: its scores as ``evaluate`` returns them.
        trajectory: the one whose maps are drawn, from 0.
        channel: of the maps.

    Raises:
        InputError: the scores have no such parts, or all of them are unknown.
    """
    parts: Any = result.get("variance_parts")
    known = parts and _curve(parts, "dynamical") is not None
    pieces.require(
        bool(known), "the variance of the members is not known: one draw a chain, or diverged"
    )
    figure = style.new_figure(3.1)
    note = f" Not known here: {parts['note']}." if parts["note"] else ""
    words = (
        "Sources of the forecast's variance (law of total variance): means over "
        f"{how_many(result['trajectories'])}, stacked; their sum is the variance of the members "
        "with observation noise. More data or a better model can reduce the part between chains "
        f"only.{note}"
    )
    if not ensemble.kind.spatial:
        _stack(figure.subplots(), parts)
        return style.finish(figure, words)
    left, *right = figure.subplots(1, 3, width_ratios=(1.25, 1, 1))
    _stack(left, parts)
    which = ensemble.signal["trajectory"].values[trajectory]
    one = ensemble.tree.isel(trajectory=[trajectory])
    maps = variance_fields(one)
    for axes, name in zip(right, ("dynamical", "epistemic"), strict=True):
        values = np.sqrt(np.maximum(maps[name].isel(trajectory=0, channel=channel).values, 0))
        _map(figure, axes, ensemble, values, name)
    last = "" if ensemble.observed.ndim == 4 else ", at the last time"
    caption = (
        f"{words} Right: standard deviations within and between chains for trajectory {which}"
        f"{last}."
    )
    return style.finish(figure, caption)


def _curve(parts: Mapping[str, Any], name: str) -> np.ndarray | None:
    values = parts["by_lead_time"].get(name)
    if values is None:
        return None
    curve = pieces.curve(values)
    return curve if np.isfinite(curve).any() else None


def _stack(axes: Axes, parts: Mapping[str, Any]) -> None:
    lead = np.asarray(parts["by_lead_time"]["lead_time"], float)
    bottom = np.zeros(len(lead))
    for name, label in LABELS.items():
        curve = _curve(parts, name)
        if curve is None:
            continue
        share = parts["shares"][name]
        text = label if share is None else f"{label}: {100 * share:.0f} %"
        look: dict[str, Any] = {"edgecolor": "0.25", "linewidth": 0.5, **LOOKS[name]}
        axes.fill_between(lead, bottom, bottom + curve, label=text, **look)
        bottom = bottom + curve
    axes.set_ylim(bottom=0)
    axes.margins(x=0)
    style.tidy(axes, "lead time", "variance (squared units)")
    style.legend_above(axes, 1)


def _map(figure: Figure, axes: Axes, ensemble: Ensemble, values: np.ndarray, name: str) -> None:
    title = {"dynamical": "within chains", "epistemic": "between chains"}[name]
    names = pieces.axis_names(ensemble)
    if not np.isfinite(values).any():
        reason = "not known:\none chain" if name == "epistemic" else "not known:\ndiverged"
        axes.text(0.5, 0.5, reason, ha="center", va="center", fontsize=9)
        axes.set(xticks=[], yticks=[])
        style.tidy(axes, "", "", title)
        return
    top = float(np.nanquantile(values, 0.995)) or 1.0
    common: dict[str, Any] = {
        "cmap": style.MAGNITUDE_MAP,
        "vmin": 0.0,
        "vmax": top,
        "rasterized": True,
    }
    x = pieces.axis(ensemble, names[0])
    if len(names) == 1:
        mesh = axes.pcolormesh(x, ensemble.time, values, **common)
        style.tidy(axes, names[0], "time", title)
    else:
        mesh = axes.pcolormesh(x, pieces.axis(ensemble, names[1]), values[-1].T, **common)
        axes.set_aspect("equal")
        style.tidy(axes, names[0], names[1], title)
    figure.colorbar(mesh, ax=axes, shrink=0.9, pad=0.03).ax.tick_params(labelsize=7)
