"""Scores and sections of a family that exists in the tests only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pyro_msm.analysis.family_scores import Evaluated
from pyro_msm.analysis.plots import style
from pyro_msm.analysis.sections import Section, Table
from pyro_msm.errors import InputError


def scores(run: Evaluated) -> dict[str, Any]:
    """How far the first chain's forecasts go, in a form that JSON cannot hold as it is."""
    if run.data.attrs.get("system") == "cloud":
        raise InputError("clouds have no drift")
    last = run.ensemble["posterior"]["signal"].values[..., -1, :]
    return {"drift_error": np.float32(0.25), "reach": {"last": np.abs(last).max((0, 1, 2))}}


def sections(result: Mapping[str, Any]) -> list[Section]:
    """A figure that can be drawn, one that cannot, and a table."""
    if "drift_error" not in result:
        return []

    def figure() -> Figure:
        drawn = style.new_figure(2.0)
        drawn.subplots().plot(result["reach"]["last"])
        return style.finish(drawn, "How far it reaches.")

    def none() -> Figure:
        raise InputError("nothing was learned")

    row = ("this model", f"{result['drift_error']:.2f}")
    return [
        Section(
            "Drift and diffusion",
            figures=[("Reach", figure), ("Nothing", none)],
            tables=[Table("Errors of the drift", ("model", "drift error"), [row], "In L2(p).")],
            sentences=["The drift is off by a quarter."],
        )
    ]
