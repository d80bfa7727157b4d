"""Which figures a report has, by what was forecast."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from matplotlib.figure import Figure

from pyro_msm.analysis import plots
from pyro_msm.analysis.ensemble_file import Ensemble

MAX_CHANNELS = 3

#: A figure: the section that it belongs to, its title, and what draws it.
Planned = tuple[str, str, Callable[[], Figure]]


def forecast_figures(
    ensemble: Ensemble, which: int, result: Mapping[str, Any] | None
) -> list[Planned]:
    """Figures of the forecast itself.

    Args:
        ensemble: a rollout.
        which: number of the trajectory that is shown.
        result: its scores, if there are any.
    """
    section = "The forecast"
    if ensemble.kind.name == "path":
        return [(section, "Path", partial(plots.paths, ensemble, which))]
    if ensemble.kind.name == "particles":
        return [(section, "Particles at five times", partial(plots.particles, ensemble, which))]
    figures: list[Planned] = []
    names = [plots.channel_name(ensemble, channel) for channel in range(ensemble.labels)]
    scored = ensemble.splits().get(result["split"]) if result else None
    for channel, name in enumerate(names[:MAX_CHANNELS]):
        suffix = f", {name}" if len(names) > 1 else ""
        fields = partial(plots.fields, ensemble, which, channel)
        figures.append((section, f"Fields at five times{suffix}", fields))
        if ensemble.observed.ndim == 4:
            diagram = partial(plots.space_time, ensemble, which, channel)
            figures.append((section, f"Space and time{suffix}", diagram))
        if scored is not None:
            maps = partial(plots.maps, ensemble, scored, channel)
            figures.append((section, f"Scores over space{suffix}", maps))
    return figures


def has_latents(ensemble: Ensemble) -> bool:
    """Whether the members have a macro or a micro state: other families have no such figures."""
    return not {"macro", "micro"}.isdisjoint(ensemble.tree["posterior"].data_vars)


def score_figures(ensemble: Ensemble, which: int, result: Mapping[str, Any]) -> list[Planned]:
    """Figures of its scores.

    Args:
        ensemble: a rollout.
        which: number of the trajectory in figures of one trajectory.
        result: the scores.
    """
    trust = "How far to trust it"
    if not ensemble.kind.pointwise:
        return [(trust, "Errors against lead time", partial(plots.particle_errors, result))]
    growth = "Error and spread against lead time"
    figures: list[Planned] = [
        (trust, growth, partial(plots.error_growth, result)),
        (trust, "Calibration", partial(plots.calibration, result)),
        (trust, "Probabilities", partial(plots.probability, result)),
    ]
    sources = partial(plots.variance_parts, ensemble, result, which)
    figures.append(("Where the uncertainty comes from", "Variance by source", sources))
    if ensemble.kind.spatial:
        figures.append(("Scales", "Energy spectra", partial(plots.spectra, result)))
    if ensemble.kind.spatial and has_latents(ensemble):
        figures += [
            ("Scales", "Macro and micro part", partial(plots.scales, result)),
            ("Scales", "States against their own truth", partial(plots.part_scores, result)),
        ]
    return figures
