"""One trajectory at a few times: truth, mean, macro part, micro part, error and spread."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from pyro_msm.analysis.ensemble_file import Ensemble
from pyro_msm.analysis.plots import pieces, style


def fields(ensemble: Ensemble, trajectory: int = 0, channel: int = 0, count: int = 5) -> Figure:
    """Rows are quantities, columns are times: curves over x, or images over x and y.

    Args:
        ensemble: a rollout.
        trajectory: its number in the ensemble, from 0.
        channel: which channel of the field.
        count: how many times.
    """
    chosen = pieces.columns(ensemble, count)
    members = pieces.members_at(pieces.members_for_truth(ensemble), trajectory, chosen)
    source, name = pieces.truth(ensemble)
    target = source.isel(trajectory=trajectory, time=chosen, channel=channel).values
    band = pieces.band(members[:, :, channel])
    parts = {}
    for key, label in [("mean_macro_part", "macro part"), ("mean_micro_part", "micro part")]:
        part = pieces.mean_part(ensemble, key, trajectory)
        if part is not None:
            parts[label] = part.isel(time=chosen, channel=channel).values
    times = [f"t = {t:.3g}" for t in ensemble.time[chosen]]
    draw = _curves if target.ndim == 2 else _images
    figure = draw(ensemble, target, name, band, parts, times)
    label = pieces.channel_name(ensemble, channel)
    which = ensemble.signal["trajectory"].values[trajectory]
    shown = ", the ensemble mean" if target.ndim == 3 else ", the ensemble mean and its band"
    scales = "; what each scale contributes to the mean (" + ", ".join(parts) + ")"
    caption = (
        f"Field {label} of trajectory {which} at {len(times)} times: the {name}{shown}"
        f"{scales if parts else ''}; the error of the mean; and the spread (standard deviation) "
        f"of {len(members)} members."
    )
    return style.finish(figure, caption)


def _curves(
    ensemble: Ensemble,
    target: np.ndarray,
    name: str,
    band: pieces.Band,
    parts: dict[str, np.ndarray],
    times: list[str],
) -> Figure:
    x = pieces.axis(ensemble, pieces.axis_names(ensemble)[0])
    rows = {"field": target, **parts, "error": band.mean - target, "spread": band.spread}
    figure = style.new_figure(1.25 * len(rows) + 0.6)
    grid = figure.subplots(len(rows), len(times), sharex=True, sharey="row", squeeze=False)
    for row, (label, values) in enumerate(rows.items()):
        for column, time in enumerate(times):
            panel = grid[row, column]
            bottom, left = row == len(rows) - 1, column == 0
            style.tidy(
                panel,
                "x" if bottom else "",
                label if left else "",
                time if row == 0 else "",
            )
            if label == "field":
                low, high = band.low[column], band.high[column]
                held = f"{100 * band.nominal:.0f} % band"
                panel.fill_between(x, low, high, label=held, **style.BAND)
                panel.plot(x, target[column], label=name, **style.TRUTH)
                panel.plot(x, band.mean[column], label="ensemble mean", **style.MEAN)
            else:
                panel.plot(x, values[column], color="#0072B2" if label in parts else "black", lw=1)
            if label in {"error", "micro part"}:
                panel.axhline(0, color="0.6", linewidth=0.6)
    grid[-1, 0].set_ylim(bottom=0)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, fontsize=9, frameon=False)
    return figure


def _images(
    ensemble: Ensemble,
    target: np.ndarray,
    name: str,
    band: pieces.Band,
    parts: dict[str, np.ndarray],
    times: list[str],
) -> Figure:
    x, y = (pieces.axis(ensemble, axis) for axis in pieces.axis_names(ensemble))
    extent = (x[0], x[-1], y[0], y[-1])
    rows = {"truth": target, "ensemble mean": band.mean, **parts}
    rows |= {"|error|": np.abs(band.mean - target), "spread": band.spread}
    shared = {"truth": "field", "ensemble mean": "field", "|error|": "size", "spread": "size"}
    limits = {
        group: _limits([v for k, v in rows.items() if shared.get(k, k) == group])
        for group in {shared.get(k, k) for k in rows}
    }
    height = min(3.0, max(0.8, 1.5 * (extent[3] - extent[2]) / (extent[1] - extent[0])))
    figure = style.new_figure(height * len(rows) + 0.5)
    grid = figure.subplots(len(rows), len(times), sharex=True, sharey=True, squeeze=False)
    for row, (label, values) in enumerate(rows.items()):
        group = shared.get(label, label)
        colours = style.MAGNITUDE_MAP if group == "size" else style.FIELD_MAP
        low, high = limits[group]
        for column, time in enumerate(times):
            panel = grid[row, column]
            image = panel.imshow(
                values[column].T, origin="lower", extent=extent, cmap=colours, vmin=low, vmax=high
            )
            style.tidy(panel, "", label if column == 0 else "", time if row == 0 else "")
        figure.colorbar(image, ax=grid[row], shrink=0.9, pad=0.01).ax.tick_params(labelsize=8)
    return figure


def _limits(values: list[np.ndarray]) -> tuple[float, float]:
    finite = np.concatenate([v[np.isfinite(v)].ravel() for v in values])
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
