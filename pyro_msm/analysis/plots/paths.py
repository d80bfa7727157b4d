"""One trajectory of a path over time: truth, ensemble, error and spread of each component."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from pyro_msm.analysis.ensemble_file import Ensemble
from pyro_msm.analysis.plots import pieces, style

MEMBERS = 3


def paths(ensemble: Ensemble, trajectory: int = 0, most: int = 4) -> Figure:
    """For each component its path with the 90 % band, and beside it error and spread.

    Args:
        ensemble: a rollout of a path.
        trajectory: its number in the ensemble, from 0.
        most: how many components at most.
    """
    components = range(min(most, ensemble.labels))
    time = ensemble.time
    source, name = pieces.truth(ensemble)
    target = source.isel(trajectory=trajectory).values
    shown = pieces.members_for_truth(ensemble)
    members = pieces.members_at(shown, trajectory, slice(None))
    band = pieces.band(members)
    figure = style.new_figure(2.1 * len(components) + 0.5)
    grid = figure.subplots(len(components), 2, sharex=True, squeeze=False, width_ratios=(2, 1))
    for number, (left, right) in zip(components, grid, strict=True):
        low, high = band.low[:, number], band.high[:, number]
        held = f"{100 * band.nominal:.0f} % band"
        left.fill_between(time, low, high, label=held, **style.BAND)
        for index, member in enumerate(members[:MEMBERS]):
            label = "single members" if index == 0 else None
            left.plot(time, member[:, number], color="0.6", linewidth=0.6, label=label)
        left.plot(time, target[:, number], label=name, **style.TRUTH)
        left.plot(time, band.mean[:, number], label="ensemble mean", **style.MEAN)
        error = np.abs(band.mean[:, number] - target[:, number])
        right.plot(time, error, label="|error| of the mean", **style.TRUTH)
        right.plot(time, band.spread[:, number], label="spread", **style.MEAN)
        right.set_ylim(bottom=0)
        last = number == components[-1]
        style.tidy(left, "time" if last else "", pieces.channel_name(ensemble, number))
        style.tidy(right, "time" if last else "")
    style.legend_above(grid[0, 0], 2)
    style.legend_above(grid[0, 1], 1)
    which = ensemble.signal["trajectory"].values[trajectory]
    left_out = ensemble.labels - len(components)
    more = f" ({left_out} further components are not shown)" if left_out else ""
    caption = (
        f"Trajectory {which}: the {name}, mean and band of {len(members)} members and a few single "
        f"ones; the error of the mean and the members' spread{more}."
    )
    return style.finish(figure, caption)
