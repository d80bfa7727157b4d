"""Energy by wavenumber: single members against the truth, and what each scale contributes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pyro_msm.analysis.plots import pieces, style


def spectra(result: Mapping[str, Any]) -> Figure:
    """Left: spectra of truth, members, ensemble mean. Right: members ÷ truth, by lead time.

    Args:
        result: scores as ``evaluate`` returns them.

    Raises:
        InputError: the scores have no spectrum, or its members diverged.
    """
    found: Any = result.get("spectrum")
    known = bool(found) and None not in found["members"]
    pieces.require(known, "no spectrum: members diverged, or the truth has gaps")
    wave = np.asarray(found["wavenumber"])[1:]
    figure = style.new_figure(3.2)
    left, right = figure.subplots(1, 2)
    truth = np.asarray(found["truth"])[1:]
    looks = {
        "members": {"color": "#0072B2", "linestyle": (0, (5, 1.5)), "linewidth": 1.6},
        "ensemble_mean": {"color": "#D55E00", "linestyle": ":", "linewidth": 1.6},
    }
    left.plot(wave, truth, label=f"truth ({found['against']})", **style.TRUTH)
    for name, look in looks.items():
        left.plot(wave, np.asarray(found[name])[1:], label=name.replace("_", " "), **look)
    left.set_yscale("log")
    style.wavenumbers(left)
    left.set_ylim(bottom=max(1e-9 * truth.max(), 0.3 * truth[truth > 0].min()))
    style.tidy(left, "wavenumber (cycles per unit length)", "energy")
    style.legend(left, loc="lower left")

    right.axhline(1, **style.FLOOR)
    for period, look in zip(found["periods"], style.line_styles(3, len(wave)), strict=False):
        if None in period["members"]:
            continue
        below = np.asarray(period["truth"])[1:]
        seen = below > 1e-6 * np.sum(period["truth"])
        ratio = np.asarray(period["members"])[1:][seen] / below[seen]
        label = f"lead time {period['from']:.2g}–{period['to']:.2g}"
        right.plot(wave[seen], ratio, label=label, **look)
    style.wavenumbers(right)
    style.logarithmic(right)
    low, high = right.get_ylim()
    right.set_ylim(min(low, 0.5), max(high, 2))
    style.tidy(right, "wavenumber (cycles per unit length)", "members ÷ truth")
    style.legend(right, loc="best")
    noise = " with observation noise" if found["against"] == "noisy" else ""
    caption = (
        f"Energy spectra over space. Left: the truth, single members{noise} (average of their "
        "spectra) and the ensemble mean, which averages out what is not predictable. Right: energy "
        "of the members divided by the truth's; 1 means that a member has as much structure of "
        "that size as the truth, below 1 too smooth, above 1 too rough. Scales with less than a "
        "millionth of the energy are left out."
    )
    return style.finish(figure, caption)


def scales(result: Mapping[str, Any]) -> Figure:
    """Spectra of macro and micro part, the variance each explains, and their correlation.

    Args:
        result: scores as ``evaluate`` returns them.

    Raises:
        InputError: the forecast has no macro and micro parts.
    """
    found: Any = result.get("scales")
    known = bool(found) and None not in found["spectrum"]["macro"]
    pieces.require(known, "the forecast has no macro and micro part, or it diverged")
    figure = style.new_figure(3.2)
    left, middle, right = figure.subplots(1, 3)
    wave = np.asarray(found["wavenumber"])[1:]
    spectrum = result.get("spectrum")
    if spectrum:
        left.plot(wave, spectrum["truth"][1:], label="truth", **style.TRUTH)
    macro, micro = (np.asarray(found["spectrum"][name])[1:] for name in ("macro", "micro"))
    left.plot(wave, macro, label="macro part", **style.MEAN)
    if (micro > 0).any():
        left.plot(wave, micro, label="micro part", color="#D55E00", linestyle="-.", lw=1.4)
    top = max(macro.max(), micro.max())
    left.set_yscale("log")
    style.wavenumbers(left)
    left.set_ylim(1e-9 * top, 3 * top)
    style.tidy(left, "wavenumber", "energy", "spectra")
    style.legend(left, loc="best")

    lists = {key: pieces.curve(values) for key, values in found["by_lead_time"].items()}
    lead = lists["lead_time"]
    middle.plot(lead, lists["explained_by_both"], label="both parts", **style.TRUTH)
    middle.plot(lead, lists["explained_by_macro"], label="macro part alone", **style.MEAN)
    lowest = np.nanmin([lists["explained_by_both"], lists["explained_by_macro"], 0 * lead])
    middle.set_ylim(max(lowest, -1), 1.02)
    style.tidy(middle, "lead time", "share of the truth's variance", "explained")
    style.legend(middle, loc="lower left")

    right.axhline(0, **style.FLOOR)
    micro_share = lists["variance_fraction_micro"]
    right.plot(lead, micro_share, label="micro part's share of variance", color="#D55E00", ls="-.")
    correlation = "correlation of the parts"
    right.plot(lead, lists["correlation"], label=correlation, color="#009E73", ls="--")
    right.set_ylim(-1.02, 1.02)
    style.tidy(right, "lead time", "", "micro part")
    style.legend(right, loc="lower left")
    caption = (
        "What the scales do. Left: energy of the decoded macro and micro parts of the ensemble "
        f"mean. Middle: share of the variance of the {found['against']} truth that the macro part "
        "explains alone and with the micro part (below 0: worse than a constant). Right: the micro "
        "part's share in the variance of the mean, and the correlation of the two parts over space."
    )
    return style.finish(figure, caption)
