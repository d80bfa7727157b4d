"""Particles of one trajectory at a few times, and their errors against lead time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pyro_msm.analysis.ensemble_file import Ensemble
from pyro_msm.analysis.plots import pieces, style
from pyro_msm.analysis.wording import how_many

BINS = 30
PANELS = {
    "wasserstein": "Wasserstein distance",
    "m1_error": "error of the mean (M1)",
    "m2_error": "error of the variance (M2)",
}


def particles(ensemble: Ensemble, trajectory: int = 0, count: int = 5) -> Figure:
    """Densities of each component: those of the true particles and of all members' together.

    Args:
        ensemble: a rollout of particles.
        trajectory: its number in the ensemble, from 0.
        count: how many times.
    """
    chosen = pieces.columns(ensemble, count)
    source, name = pieces.truth(ensemble)
    target = source.isel(trajectory=trajectory, time=chosen).values
    members = pieces.members_at(pieces.members_for_truth(ensemble), trajectory, chosen)
    figure = style.new_figure(1.5 * ensemble.labels + 0.6)
    shape = ensemble.labels, len(chosen)
    grid = figure.subplots(*shape, sharex="row", sharey="row", squeeze=False)
    for row, panels in enumerate(grid):
        finite = members[..., row][np.isfinite(members[..., row])]
        both = np.concatenate([finite, target[..., row].ravel()])
        edges = np.linspace(both.min(), both.max(), BINS + 1)
        for column, panel in enumerate(panels):
            pooled = members[:, column, :, row]
            pooled = pooled[np.isfinite(pooled)]
            if pooled.size:
                heights = np.histogram(pooled, edges, density=True)[0]
                panel.stairs(heights, edges, fill=True, label="members", **style.BAND)
            heights = np.histogram(target[column, :, row], edges, density=True)[0]
            panel.stairs(heights, edges, label=name, **style.TRUTH)
            title = f"t = {ensemble.time[chosen[column]]:.3g}" if row == 0 else ""
            ylabel = f"density of {pieces.channel_name(ensemble, row)}" if column == 0 else ""
            style.tidy(panel, "", ylabel, title)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, fontsize=9, frameon=False)
    which = ensemble.signal["trajectory"].values[trajectory]
    caption = (
        f"Trajectory {which} at {len(chosen)} times: the density of each component over the "
        f"particles, of the {name} and of {len(members)} member(s) taken together."
    )
    return style.finish(figure, caption)


def particle_errors(result: Mapping[str, Any]) -> Figure:
    """Distance and errors of the moments over lead time, with every baseline.

    Args:
        result: scores of particles as ``evaluate`` returns them.
    """
    lead = np.asarray(result["by_lead_time"]["lead_time"])
    named = {str(result.get("model", "model")): result, **result.get("baselines", {})}
    looks = [{**style.MEAN, "linestyle": "-", "linewidth": 2.4}]
    looks += style.line_styles(len(named) - 1, len(lead))
    figure = style.new_figure(3.0)
    for panel, (key, title) in zip(figure.subplots(1, 3), PANELS.items(), strict=True):
        for (label, scored), look in zip(named.items(), looks, strict=True):
            panel.plot(lead, pieces.curve(scored["by_lead_time"][key]), label=label, **look)
        panel.set_ylim(bottom=0)
        style.tidy(panel, "lead time", "", title)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=8, frameon=False)
    caption = (
        f"Errors of the particles against the {result['particles']['against']} truth, averaged "
        f"over {how_many(result['trajectories'])} and components. Left: distance of sorted "
        "particles, averaged over members. Middle and right: errors of mean and variance over "
        "particles, averaged over members first. Curves stop where a member diverged."
    )
    return style.finish(figure, caption)
