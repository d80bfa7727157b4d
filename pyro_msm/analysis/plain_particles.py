"""The scores of particles in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyro_msm.analysis.score_rows import leading

# Distances closer than this to each other are called equal.
EQUAL = 0.03


def particles(result: Mapping[str, Any]) -> str:
    """How far the particles are from the true ones."""
    found = result["particles"]
    if found["wasserstein"] is None:
        return "Not all forecasts are finite, so no distance can be given: see the figures."
    truth = "noise-free" if found["against"] == "clean" else "observed"
    return (
        f"Sorted, the particles of a member lie {found['wasserstein']:.2g} from the {truth} ones "
        "on average (Wasserstein distance of a component, in its units); their mean is off by "
        f"{found['m1_error']:.2g} and their variance by {found['m2_error']:.2g}."
    )


def baseline(result: Mapping[str, Any]) -> str:
    """Whether it is nearer than the best baseline."""
    own = leading(result)
    scored = result.get("baselines", {})
    known = {name: found for name, one in scored.items() if (found := leading(one)) is not None}
    if not known:
        return "No baseline was scored beside it, so these numbers cannot be put in proportion."
    name, best = min(known.items(), key=lambda item: item[1])
    if own is None:
        return f"The best baseline, {name}, comes to {best:.2g}."
    if own > (1 + EQUAL) * best:
        return (
            f"The model LOSES to the best baseline, {name}, which comes to {best:.2g}: use the "
            "baseline, unless you need the model's latent states."
        )
    if own > (1 - EQUAL) * best:
        return f"It is as good as the best baseline, {name} ({best:.2g})."
    return f"It beats the best baseline, {name} ({best:.2g})."
