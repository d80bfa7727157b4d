"""Where in space the forecast is good: error, spread, CRPS and coverage at each point."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from pyro_msm.analysis.diagnostics.maps import score_maps
from pyro_msm.analysis.ensemble_file import Ensemble
from pyro_msm.analysis.plots import pieces, style
from pyro_msm.analysis.wording import how_many

TITLES = {
    "rmse": "error of the mean (RMSE)",
    "spread": "spread",
    "crps": "CRPS",
    "coverage": "held by the 90 % band",
}


def maps(ensemble: Ensemble, trajectories: np.ndarray, channel: int = 0) -> Figure:
    """Scores over space, averaged over lead times and trajectories: curves, or images in 2-D.

    Args:
        ensemble: a rollout.
        trajectories: numbers of those to average over.
        channel: which channel of the field.

    Raises:
        InputError: no point has a score, because members diverged.
    """
    found = score_maps(ensemble, trajectories)
    known = bool(np.isfinite(found["rmse"].values).any())
    pieces.require(known, "members diverged, so no point has a score")
    chosen = found.isel(channel=channel)
    names = pieces.axis_names(ensemble)
    draw = _curves if len(names) == 1 else _images
    figure = draw(ensemble, chosen)
    what = pieces.channel_name(ensemble, channel)
    caption = (
        f"Where the forecast of {what} is good: averages over all lead times and "
        f"{how_many(len(trajectories))}, against the {found.attrs['against']} truth. Where the "
        "spread lies below the error the ensemble is too sure of itself."
    )
    return style.finish(figure, caption)


def _curves(ensemble: Ensemble, found: xr.Dataset) -> Figure:
    name = pieces.axis_names(ensemble)[0]
    x = pieces.axis(ensemble, name)
    figure = style.new_figure(2.6)
    left, right = figure.subplots(1, 2)
    left.plot(x, found["rmse"].values, label=TITLES["rmse"], **style.TRUTH)
    left.plot(x, found["spread"].values, label=TITLES["spread"], **style.MEAN)
    left.plot(x, found["crps"].values, label=TITLES["crps"], **{**style.FLOOR, "linewidth": 1.6})
    left.set_ylim(bottom=0)
    style.tidy(left, name, "units of the field")
    style.legend_above(left, 3)
    if "coverage" in found:
        right.axhline(0.9, label="promised", **style.FLOOR)
        right.plot(x, found["coverage"].values, label="held", color="#0072B2", lw=1.2)
    right.set_ylim(0, 1.02)
    style.tidy(right, name, TITLES["coverage"])
    style.legend(right, loc="lower right")
    return figure


def _images(ensemble: Ensemble, found: xr.Dataset) -> Figure:
    x, y = (pieces.axis(ensemble, axis) for axis in pieces.axis_names(ensemble))
    size = [found[n].values for n in ("rmse", "spread") if np.isfinite(found[n].values).any()]
    top = float(np.nanquantile(np.concatenate([s.ravel() for s in size]), 0.995)) or 1.0
    shown = [name for name in TITLES if name in found]
    ratio = np.ptp(y) / np.ptp(x) if np.ptp(x) else 1.0
    figure = style.new_figure(min(4.0, max(1.5, 1.9 * ratio + 0.6)))
    for axes, name in zip(figure.subplots(1, len(shown), sharey=True), shown, strict=True):
        limits = {"vmin": 0.0, "vmax": top if name != "crps" else None}
        colours = style.MAGNITUDE_MAP
        if name == "coverage":
            limits, colours = {"vmin": 0.5, "vmax": 1.0}, style.FIELD_MAP
        drawn = axes.pcolormesh(x, y, found[name].values.T, cmap=colours, rasterized=True, **limits)
        axes.set_aspect("equal")
        style.tidy(
            axes, "x", "y" if name == shown[0] else "", TITLES[name].replace("held by", "in")
        )
        bar = figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.9, pad=0.02)
        bar.ax.tick_params(labelsize=7)
    return figure
