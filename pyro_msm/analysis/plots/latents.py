"""Latent paths of one trajectory against the encoded truth."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pyro_msm.analysis.ensemble_file import Ensemble
from pyro_msm.analysis.plots import pieces, style

MACRO_POINTS = 4
PER_ROW = 4


def latents(ensemble: Ensemble, trajectory: int = 0) -> Figure:
    """Mean and 90 % band of a few macro points and of all micro components, over time.

    Raises:
        InputError: the ensemble holds no latent paths.
    """
    paths = _paths(ensemble, trajectory)
    pieces.require(bool(paths), "the ensemble holds no latent paths: it is of another forecaster")
    time = np.asarray(ensemble.tree["posterior"]["time_full"].values, float)
    count = -(-len(paths) // PER_ROW)
    figure = style.new_figure(1.9 * count + 0.5)
    panels = figure.subplots(count, PER_ROW, sharex=True, squeeze=False).ravel()
    for panel in panels[len(paths) :]:
        panel.set_visible(False)
    for panel, (label, (members, encoded)) in zip(panels, paths.items(), strict=False):
        _draw(panel, time, members, encoded)
        style.tidy(panel, "", "", label)
    for panel in panels[max(0, len(paths) - PER_ROW) : len(paths)]:
        panel.set_xlabel("time", fontsize=9)
        panel.tick_params(labelbottom=True)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, fontsize=9, frameon=False)
    which = ensemble.signal["trajectory"].values[trajectory]
    caption = (
        f"Latent paths of trajectory {which}: a few points of the macrostate ζ and all components "
        "of the microstate η. Mean and 90 % band of the free-running members against the encoder's "
        "reading of the observed truth, which the forecast has not seen beyond the first time."
    )
    return style.finish(figure, caption)


def _draw(panel: Axes, time: np.ndarray, members: np.ndarray, encoded: np.ndarray | None) -> None:
    band = pieces.band(members)
    panel.fill_between(time, band.low, band.high, label="90 % band", **style.BAND)
    if encoded is not None:
        panel.plot(time, encoded, label="encoded truth", **style.TRUTH)
    panel.plot(time, band.mean, label="ensemble mean", **style.MEAN)


def _paths(ensemble: Ensemble, trajectory: int) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """(member, time) of each drawn component, and its encoded truth."""
    posterior, observed = (
        ensemble.tree[group].to_dataset() for group in ("posterior", "observed_data")
    )
    paths = {}
    for name, symbol in [("macro", "ζ"), ("micro", "η")]:
        if name not in posterior.data_vars or 0 in posterior[name].shape:
            continue
        members = pieces.members_at(posterior[name], trajectory, slice(None), "time_full")
        members = members.reshape(*members.shape[:2], -1)
        encoded = None
        if f"encoded_{name}" in observed.data_vars:
            encoded = observed[f"encoded_{name}"].isel(trajectory=trajectory).values
            encoded = encoded.reshape(len(encoded), -1)
        size = members.shape[-1]
        drawn = np.arange(size)
        if name == "macro" and size > MACRO_POINTS:
            drawn = (np.arange(MACRO_POINTS) + 0.5) * size / MACRO_POINTS
        for number in drawn.astype(int):
            truth = None if encoded is None else encoded[:, number]
            paths[f"{name} {symbol}[{number + 1}]"] = (members[:, :, number], truth)
    return paths
