"""One trajectory of a one-dimensional field over space and time."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from pyro_msm.analysis.ensemble_file import Ensemble
from pyro_msm.analysis.plots import pieces, style


def space_time(ensemble: Ensemble, trajectory: int = 0, channel: int = 0) -> Figure:
    """x–t diagrams of truth, ensemble mean, size of the error and spread.

    Raises:
        InputError: the field has two space axes.
    """
    names = pieces.axis_names(ensemble)
    pieces.require(len(names) == 1, "a space–time diagram needs a field with one space axis")
    x = pieces.axis(ensemble, names[0])
    source, name = pieces.truth(ensemble)
    target = source.isel(trajectory=trajectory, channel=channel).values
    band = pieces.band_at_all_times(ensemble, ensemble.signal, trajectory, channel)
    mean, spread = band.mean, band.spread
    error = np.abs(mean - target)
    field_limits = (float(np.nanmin(target)), float(np.nanmax(target)))
    finite = np.concatenate([error[np.isfinite(error)], spread[np.isfinite(spread)]])
    # The 99.5 % point, so that one sharp front does not leave the rest of the picture white.
    size_limits = (0.0, float(np.quantile(finite, 0.995)) if finite.size else 1.0)
    figure = style.new_figure(2.8)
    panels = figure.subplots(1, 4, sharex=True, sharey=True)
    drawn = [
        (name, target, style.FIELD_MAP, field_limits),
        ("ensemble mean", mean, style.FIELD_MAP, field_limits),
        ("|error|", error, style.MAGNITUDE_MAP, size_limits),
        ("spread", spread, style.MAGNITUDE_MAP, size_limits),
    ]
    for number, (panel, (title, values, colours, (low, high))) in enumerate(
        zip(panels, drawn, strict=True)
    ):
        mesh = panel.pcolormesh(
            x, ensemble.time, values, cmap=colours, vmin=low, vmax=high, rasterized=True
        )
        style.tidy(panel, names[0], "time" if number == 0 else "", title)
        if number in {1, 3}:
            bar = figure.colorbar(mesh, ax=panels[number - 1 : number + 1], pad=0.02, shrink=0.9)
            bar.ax.tick_params(labelsize=8)
    which = ensemble.signal["trajectory"].values[trajectory]
    caption = (
        f"Trajectory {which} over space and time (time runs upwards): the {name}, the mean of "
        f"{ensemble.members} members, the size of the mean's error and the members' spread. Error "
        "and spread share a scale: where the ensemble is honest they are dark in the same places."
    )
    return style.finish(figure, caption)
