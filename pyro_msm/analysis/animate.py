"""Truth, ensemble mean and spread of one trajectory as a moving picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.animation import AbstractMovieWriter, FFMpegWriter, PillowWriter
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from pyro_msm.analysis.ensemble_file import Ensemble
from pyro_msm.analysis.plots import pieces, style
from pyro_msm.errors import InputError
from pyro_msm.files import replacing

DPI = 80
Update = Callable[[int], None]


class _Film(NamedTuple):
    """What is shown at each stored time, each (time, x[, y]); the band is None in 2-D."""

    truth: np.ndarray
    name: str
    mean: np.ndarray
    spread: np.ndarray
    low: np.ndarray
    high: np.ndarray
    nominal: float


def animate(
    ensemble: Ensemble,
    folder: Path | str,
    trajectory: int = 0,
    channel: int = 0,
    *,
    frames_per_second: int = 10,
) -> list[Path]:
    """Writes ``animation.gif`` and, where ffmpeg is installed, ``animation.mp4``.

    One frame a stored time: curves with the 90 % band over the spread for one space axis, three
    images for two.

    Args:
        ensemble: a rollout.
        folder: where the files go.
        trajectory: its number in the ensemble, from 0.
        channel: which channel of the field.
        frames_per_second: speed.

    Returns:
        The files written.

    Raises:
        InputError: the forecast is not of a field.
    """
    if not ensemble.kind.spatial:
        raise InputError(
            f"moving pictures are made of fields, and this forecast is of {ensemble.kind.name}: "
            "leave out --animate"
        )
    film = _film(ensemble, trajectory, channel)
    writers: dict[str, type[AbstractMovieWriter]] = {"animation.gif": PillowWriter}
    if FFMpegWriter.isAvailable():
        writers["animation.mp4"] = FFMpegWriter
    paths = []
    for name, writer in writers.items():
        figure, update = (_curves if film.truth.ndim == 2 else _images)(ensemble, film, channel)
        FigureCanvasAgg(figure)
        path = Path(folder) / name
        with replacing(path) as temporary:
            shots = writer(fps=frames_per_second)
            with shots.saving(figure, str(temporary), DPI):
                for frame in range(len(ensemble.time)):
                    update(frame)
                    shots.grab_frame()
        paths.append(path)
    return paths


def _film(ensemble: Ensemble, trajectory: int, channel: int) -> _Film:
    source, name = pieces.truth(ensemble)
    truth = source.isel(trajectory=trajectory, channel=channel).values
    members = pieces.members_for_truth(ensemble)
    band = pieces.band_at_all_times(ensemble, members, trajectory, channel)
    return _Film(truth, name, band.mean, band.spread, band.low, band.high, band.nominal)


def _curves(ensemble: Ensemble, film: _Film, channel: int) -> tuple[Figure, Update]:
    axis = pieces.axis_names(ensemble)[0]
    x = pieces.axis(ensemble, axis)
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2.4, 1))
    promised = f"{100 * film.nominal:.0f} % band"

    def shade(frame: int) -> PolyCollection:
        low, high = film.low[frame], film.high[frame]
        return above.fill_between(x, low, high, label=promised, **style.BAND)

    shaded = [shade(0)]
    (truth,) = above.plot(x, film.truth[0], label=film.name, **style.TRUTH)
    (mean,) = above.plot(x, film.mean[0], label="ensemble mean", **style.MEAN)
    (error,) = below.plot(x, film.truth[0], label="|error|", **style.TRUTH)
    (spread,) = below.plot(x, film.spread[0], label="spread", **style.MEAN)
    above.set_ylim(*_limits([film.truth, film.low, film.high]))
    sizes = [np.abs(film.mean - film.truth), film.spread]
    below.set_ylim(0, _limits(sizes)[1])
    style.tidy(above, "", pieces.channel_name(ensemble, channel))
    style.tidy(below, axis, "size")
    above.legend(loc="upper right", fontsize=8, ncols=3)
    below.legend(loc="upper right", fontsize=8, ncols=2)

    def update(frame: int) -> None:
        above.set_title(f"t = {ensemble.time[frame]:.3g}", fontsize=11)
        shaded.pop().remove()
        shaded.append(shade(frame))
        truth.set_ydata(film.truth[frame])
        mean.set_ydata(film.mean[frame])
        error.set_ydata(np.abs(film.mean[frame] - film.truth[frame]))
        spread.set_ydata(film.spread[frame])

    return figure, update


def _images(ensemble: Ensemble, film: _Film, channel: int) -> tuple[Figure, Update]:
    x, y = (pieces.axis(ensemble, name) for name in pieces.axis_names(ensemble))
    extent = (x[0], x[-1], y[0], y[-1])
    ratio = (extent[3] - extent[2]) / (extent[1] - extent[0])
    figure = Figure(figsize=(9, min(6.0, max(2.0, 2.6 * ratio + 1.1))), layout="constrained")
    field, size = _limits([film.truth]), (0.0, _limits([film.spread])[1])
    shown = [
        (film.name, film.truth, style.FIELD_MAP, field),
        ("ensemble mean", film.mean, style.FIELD_MAP, field),
        ("spread", film.spread, style.MAGNITUDE_MAP, size),
    ]
    images = []
    for axes, (title, values, colours, (low, high)) in zip(
        figure.subplots(1, 3, sharey=True), shown, strict=True
    ):
        image = axes.imshow(
            values[0].T, origin="lower", extent=extent, cmap=colours, vmin=low, vmax=high
        )
        style.tidy(axes, "x", "", title)
        figure.colorbar(image, ax=axes, location="bottom", shrink=0.9).ax.tick_params(labelsize=7)
        images.append((image, values))
    label = pieces.channel_name(ensemble, channel)

    def update(frame: int) -> None:
        figure.suptitle(f"{label}, t = {ensemble.time[frame]:.3g}", fontsize=11)
        for image, values in images:
            image.set_data(values[frame].T)

    return figure, update


def _limits(values: list[np.ndarray]) -> tuple[float, float]:
    """Range of the finite values with a little room."""
    finite = np.concatenate([v[np.isfinite(v)].ravel() for v in values])
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    room = 0.05 * (high - low) or 0.5
    return low - room, high + room
