"""Small tables of names and text that a report holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pyro_msm.analysis import plots
from pyro_msm.analysis.ensemble_file import Ensemble

SCORE_NAMES = {
    "relative_error": "error",
    "relative_error_clean": "error to clean",
    "crps": "CRPS",
    "crps_clean": "CRPS to clean",
    "energy_score": "energy score",
    "spread_skill": "spread–skill",
    "wasserstein": "Wasserstein distance",
    "m1_error": "M1 error",
    "m2_error": "M2 error",
}


def interval_lines(result: Mapping[str, Any]) -> dict[str, str]:
    """The model's scores with their bootstrap intervals, as text."""
    known = result.get("intervals", {})
    values = {key: result.get(key) for key in known}
    for name in ("relative_error", "relative_error_clean"):
        values[name] = (values.get(name) or {}).get("mean")
    values |= result.get("particles") or {}
    known = known | (known.get("particles") or {})
    lines = {}
    for key, text in SCORE_NAMES.items():
        bounds = known.get(key)
        if values.get(key) is not None and bounds and None not in bounds:
            lines[text] = f"{values[key]:.3g} [{bounds[0]:.3g}, {bounds[1]:.3g}]"
    return lines


def latent_lines(result: Mapping[str, Any]) -> dict[str, str]:
    """How the latent states behave, a line for the macro state and one for each micro component."""
    named = {
        "std": "standard deviation",
        "spread": "of which spread of members",
        "memory": "forgets within",
        "correlation": "correlation with the encoded truth",
    }
    lines = {}
    for state, found in ((result.get("scales") or {}).get("latents") or {}).items():
        known = [key for key in named if found.get(key) is not None]
        if state == "macro":
            rows = {f"macro ζ, mean of {found['components']}": {k: found[k] for k in known}}
        else:
            count = found["components"]
            rows = {f"micro η[{i + 1}]": {k: found[k][i] for k in known} for i in range(count)}
        for name, row in rows.items():
            parts = [f"{named[k]} {v:.3g}" for k, v in row.items() if v is not None]
            lines[name] = ", ".join(parts)
    return lines


def data_card(ensemble: Ensemble) -> dict[str, str]:
    """Sizes, splits and attributes of the data behind an ensemble."""
    sizes = ensemble.observed.sizes
    splits = {name: len(numbers) for name, numbers in ensemble.splits().items()}
    card = {
        "trajectories": ", ".join(f"{count} {name}" for name, count in splits.items()),
        f"{ensemble.kind.label}s": ", ".join(
            plots.channel_name(ensemble, number) for number in range(ensemble.labels)
        ),
        **_points(ensemble),
        "stored times": f"{sizes['time']} from {ensemble.time[0]:g} to {ensemble.time[-1]:g}",
        "members": f"{ensemble.signal.sizes['draw']} × {ensemble.signal.sizes['chain']} chains",
        "noise-free truth": "known" if ensemble.clean is not None else "not known",
    }
    if ensemble.mask is not None:
        card["observed"] = f"{100 * float(ensemble.mask.mean()):.1f} % of the points"
    return card | {key: _text(value) for key, value in ensemble.attrs.items()}


def _points(ensemble: Ensemble) -> dict[str, str]:
    """How many points or particles a sample has, where it has any."""
    axes = [axis for axis in ensemble.observed.dims[2:] if axis != ensemble.kind.label]
    name = "points" if ensemble.kind.spatial else "particles"
    count = " × ".join(str(ensemble.observed.sizes[axis]) for axis in axes)
    return {name: count} if axes else {}


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted names and text."""
    named = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            named.update(flat(item, f"{prefix}{key}."))
        else:
            named[f"{prefix}{key}"] = _text(item)
    return named


def _text(value: Any) -> str:
    if isinstance(value, list | tuple | np.ndarray):
        return ", ".join(_text(item) for item in value)
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value)
