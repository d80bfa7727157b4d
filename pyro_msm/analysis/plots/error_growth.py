"""Error and spread against lead time, with the baselines and the noise floor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pyro_msm.analysis.plots import style

FAR_WORSE = 4.0


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
    curves = {name: _curve(lists["relative_error"])}
    curves |= {key: _curve(b["by_lead_time"]["relative_error"]) for key, b in baselines.items()}
    styles = [{**style.MEAN, "linestyle": "-", "linewidth": 2.4}]
    styles += style.line_styles(len(baselines), len(lead))
    for (label, curve), look in zip(curves.items(), styles, strict=True):
        left.plot(lead, curve, label=label, **look)
    floor = "noise_floor" in lists
    if floor:
        left.plot(lead, _curve(lists["noise_floor"]), label="noise floor", **style.FLOOR)
    style.tidy(left, "lead time", "relative error (noisy truth)")
    logarithmic = _wide(list(curves.values()))
    if logarithmic:
        style.logarithmic(left)
    else:
        left.set_ylim(bottom=0)
    style.legend_above(left, 3)

    right.plot(lead, _curve(lists["rmse"]), label="error of the mean (RMSE)", **style.TRUTH)
    right.plot(lead, _curve(lists["spread"]), label="spread", **style.MEAN)
    units = f"units of the {result.get('variable', 'field')}"
    style.tidy(right, "lead time", f"{units} ({result['spread_skill_against']} truth)")
    right.set_ylim(bottom=0)
    style.legend_above(right, 1)
    caption = (
        "Left: relative error of the ensemble mean against the noisy truth, averaged over "
        f"{result['trajectories']} trajectories, with every baseline"
        + (" and the noise floor: the error of the noise-free truth itself" if floor else "")
        + (" (logarithmic scale)" if logarithmic else "")
        + f". Right: root-mean-square error against the {result['spread_skill_against']} truth and "
        "the ensemble's spread; an honest ensemble has them equal. Curves stop where a member "
        "diverged."
    )
    return style.finish(figure, caption)


def _curve(values: list[float | None]) -> np.ndarray:
    return np.array([np.nan if v is None else v for v in values], float)


def _wide(curves: list[np.ndarray]) -> bool:
    """Whether the curves differ so much that a linear scale hides the best of them."""
    typical = [np.nanmedian(c) for c in curves if np.isfinite(c).any()]
    typical = [t for t in typical if t > 0]
    return bool(typical) and max(typical) / min(typical) > FAR_WORSE
