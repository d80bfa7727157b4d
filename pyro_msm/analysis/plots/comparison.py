"""Several runs over lead time in one figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from pyro_msm.analysis.plots import pieces, style

CURVES = {
    "relative_error": "relative error (noisy truth)",
    "crps": "CRPS",
    "spread_skill": "spread–skill",
    "coverage_0.9": "held by the 90 % band",
}
IDEAL = {"spread_skill": 1.0, "coverage_0.9": 0.9}


def comparison(runs: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Error, CRPS, spread–skill and coverage of each run.

    Args:
        runs: scores as ``evaluate`` returns them, by name.
    """
    figure = style.new_figure(5.2)
    panels = figure.subplots(2, 2, sharex=True).ravel()
    for panel, (key, label) in zip(panels, CURVES.items(), strict=True):
        styles = style.line_styles(len(runs), 30)
        for (name, scores), look in zip(runs.items(), styles, strict=True):
            lists = scores["by_lead_time"]
            values = pieces.curve(lists.get(key, []))
            every = max(1, len(values) // 6)
            look = {**look, "markevery": (look["markevery"][0] % every, every)}
            if len(values):
                panel.plot(lists["lead_time"], values, label=name, **look)
        if key in IDEAL:
            panel.axhline(IDEAL[key], **style.FLOOR)
        else:
            panel.set_ylim(bottom=0)
        style.tidy(panel, "lead time" if panel in panels[2:] else "", label)
    panels[3].set_ylim(0, 1.02)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, fontsize=8, frameon=False)
    caption = (
        "Runs side by side over lead time, each on its own test split. Dotted: what an honest "
        "ensemble has. Curves stop where a member diverged."
    )
    return style.finish(figure, caption)
