"""What recalibration after the fact would change, over lead time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from pyro_msm.analysis.plots import pieces, style

SCALED: dict[str, Any] = {"color": "#D55E00", "linestyle": "-.", "linewidth": 1.4}
CONFORMAL: dict[str, Any] = {"color": "#009E73", "linestyle": ":", "linewidth": 1.8}


def recalibration(result: Mapping[str, Any]) -> Figure:
    """Spread factors, spread–skill and coverage of the 90 % band, raw and recalibrated.

    Args:
        result: scores as ``evaluate`` returns them, with ``recalibrated``.
    """
    found = result["recalibrated"]
    lists = {key: pieces.curve(values) for key, values in found["by_lead_time"].items()}
    lead = lists["lead_time"]
    figure = style.new_figure(3.0)
    left, middle, right = figure.subplots(1, 3)
    left.axhline(1, **style.FLOOR)
    left.plot(lead, lists["factor"], color="black", linewidth=1.2)
    left.set_ylim(bottom=0)
    style.tidy(left, "lead time", "", "factor on the spread")
    middle.axhline(1, label="right", **style.FLOOR)
    middle.plot(lead, lists["spread_skill_raw"], label="raw", **style.MEAN)
    middle.plot(lead, lists["spread_skill_scaled"], label="rescaled", **SCALED)
    middle.set_ylim(bottom=0)
    style.tidy(middle, "lead time", "", "spread–skill (noise on both sides)")
    style.legend(middle, loc="best")
    right.axhline(0.9, **style.FLOOR)
    right.plot(lead, lists["coverage_0.9_raw"], label="raw", **style.MEAN)
    right.plot(lead, lists["coverage_0.9_scaled"], label="rescaled", **SCALED)
    conformal = found["conformal"]
    if conformal:
        label = f"conformal {100 * conformal['level']:.0f} %"
        right.plot(lead, lists["conformal_coverage"], label=label, **CONFORMAL)
    right.set_ylim(0, 1.02)
    style.tidy(right, "lead time", "", "held by the 90 % band")
    style.legend(right, loc="lower right")
    caption = (
        f"Recalibration after the fact, fitted on {found['trajectories']} validation trajectories "
        "and compared on this split. Left: by what the spread of the members would be multiplied. "
        "Middle and right: spread–skill, and the share of the noisy truth that bands with noise "
        "held, before and after."
    )
    return style.finish(figure, caption)
