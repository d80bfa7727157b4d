"""Error and spread against lead time, with the baselines and the noise floor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pyro_msm.analysis.plots import pieces, style
from pyro_msm.analysis.wording import how_many

FAR_WORSE = 4.0
SPIKE = 25.0


def error_growth(result: Mapping[str, Any]) -> Figure:
    """Left: relative error of model, baselines and noise floor. Right: RMSE and spread.

    Args:
        result: scores as ``evaluate`` returns them.
    """
    lists = result["by_lead_time"]
    lead = np.asarray(lists["lead_time"])
    figure = style.new_figure(3.4)
    left, right = figure.subplots(1, 2, width_ratios=(1.3, 1))
    baselines = result.get("baselines", {})
    name = str(result.get("model", "model"))
    rows = {name: lists, **{key: row["by_lead_time"] for key, row in baselines.items()}}
    curves = {key: pieces.curve(row["relative_error"]) for key, row in rows.items()}
    styles = [{**style.MEAN, "linestyle": "-", "linewidth": 2.4}]
    styles += style.line_styles(len(baselines), len(lead))
    for (label, curve), look in zip(curves.items(), styles, strict=True):
        left.plot(lead, curve, label=label, **look)
    floor = "noise_floor" in lists
    if floor:
        left.plot(lead, pieces.curve(lists["noise_floor"]), label="noise floor", **style.FLOOR)
    style.tidy(left, "lead time", "relative error (noisy truth)")
    logarithmic = _wide(list(curves.values()))
    if logarithmic:
        style.logarithmic(left)
    else:
        left.set_ylim(bottom=0)
    style.legend_above(left, 3)

    right.plot(lead, pieces.curve(lists["rmse"]), label="error of the mean (RMSE)", **style.TRUTH)
    right.plot(lead, pieces.curve(lists["spread"]), label="spread", **style.MEAN)
    units = f"units of the {result.get('variable', 'field')}"
    style.tidy(right, "lead time", f"{units} ({result['spread_skill_against']} truth)")
    right.set_ylim(bottom=0)
    style.legend_above(right, 1)
    caption = (
        "Left: relative error of the ensemble mean against the noisy truth, averaged over "
        f"{how_many(result['trajectories'])}, with every baseline"
        + (" and the noise floor: the error of the noise-free truth itself" if floor else "")
        + (" (logarithmic scale)" if logarithmic else "")
        + f". Right: root-mean-square error against the {result['spread_skill_against']} truth and "
        "the ensemble's spread; an honest ensemble has them equal. Curves stop where a member "
        "diverged."
    )
    return style.finish(figure, caption)


def _wide(curves: list[np.ndarray]) -> bool:
    """Whether a linear scale would hide the best of the curves, or all beneath single peaks."""
    finite = [curve[np.isfinite(curve)] for curve in curves]
    finite = [curve for curve in finite if len(curve) and np.median(curve) > 0]
    typical = [np.median(curve) for curve in finite]
    peaks = [curve.max() / np.median(curve) for curve in finite]
    return bool(finite) and (max(typical) / min(typical) > FAR_WORSE or max(peaks) > SPIKE)
