"""Training curves from the log of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pyro_msm.analysis.plots import pieces, style

SMOOTH = 50
FEW = 10


def training(records: Sequence[Mapping[str, Any]]) -> Figure:
    """Loss and free-running validation error against the step.

    Args:
        records: lines of metrics.jsonl: ``step`` with ``loss``, ``validation_error`` or both;
            others are passed over.

    Raises:
        InputError: no record has a loss or a validation error.
    """
    loss, validation = _series(records, "loss"), _series(records, "validation_error")
    pieces.require(
        bool(len(loss) or len(validation)), "metrics.jsonl records no loss and no validation error"
    )
    figure = style.new_figure(2.8)
    left, right = figure.subplots(1, 2)
    style.tidy(left, "step", "loss")
    if len(loss):
        few = "." if len(loss) < FEW else None  # one point alone would draw no line
        left.plot(loss[:, 0], loss[:, 1], color="0.7", lw=0.8, marker=few, label="as logged")
        window = min(SMOOTH, max(1, len(loss) // 10))
        if window > 1:
            steps, values = (
                np.lib.stride_tricks.sliding_window_view(loss, window, axis=0).mean(-1).T
            )
            left.plot(steps, values, label=f"mean of {window} records", **style.TRUTH)
        _robust_limits(left, loss[:, 1])
        style.legend(left)
    else:
        left.set_visible(False)
    style.tidy(right, "step", "free-running validation error")
    if len(validation):
        look = {"color": "#0072B2", "marker": "o", "markersize": 3.5, "linewidth": 1.2}
        right.plot(validation[:, 0], validation[:, 1], label="validation", **look)
        best = validation[validation[:, 1].argmin()]
        right.plot(*best, "k*", markersize=11, label=f"best: {best[1]:.3g} at step {best[0]:.0f}")
        if best[1] > 0:  # a log density is not
            style.logarithmic(right)
        style.legend(right)
    else:
        right.set_visible(False)
    caption = "Training."
    if len(loss):
        caption += (
            " Left: the loss, the negative evidence lower bound (lower is better; the range leaves "
            "out the first steps)."
        )
    if len(validation):
        caption += (
            " Right: the error of free-running forecasts of the validation split, by which the "
            "checkpoint is chosen (star)."
        )
    return style.finish(figure, caption)


def _series(records: Sequence[Mapping[str, Any]], key: str) -> np.ndarray:
    """(record, 2) of step and value, finite ones only."""
    pairs = [(r["step"], r[key]) for r in records if r.get(key) is not None and "step" in r]
    series = np.array(pairs, float).reshape(-1, 2)
    return series[np.isfinite(series).all(1)]


def _robust_limits(axes: Any, values: np.ndarray) -> None:
    """Limits from the later nine tenths of the values: the first steps would flatten the rest."""
    later = values[len(values) // 10 :]
    low, high = np.quantile(later, [0.002, 0.998])
    if high > low:
        axes.set_ylim(low - 0.05 * (high - low), high + 0.15 * (high - low))
