"""Scores and report sections of the multiscale model: what its micro state does to its drift."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from pyro_msm import data as datasets
from pyro_msm.analysis import plots
from pyro_msm.analysis.drift_attribution import drift_attribution
from pyro_msm.analysis.family_scores import Evaluated
from pyro_msm.analysis.sections import Section
from pyro_msm.analysis.wording import percent


def scores(run: Evaluated) -> dict[str, Any]:
    """``drift_attribution`` of the first chain, and the ``share`` of each as ``chains``.

    Along the validation trajectories, or those of the test split where there are none.
    """
    split = "validation" if (run.data["split"] == "validation").any() else "test"
    data = datasets.select(run.data, split)
    found = [drift_attribution(chain, data) for chain in run.chains]
    if found[0] is None:
        return {"drift_attribution": None}
    shares = [one["share"] for one in found if one is not None]
    return {"drift_attribution": {**found[0], "chains": shares, "split": split}}


def sections(result: Mapping[str, Any]) -> list[Section]:
    """A figure and a sentence; none without a microscale."""
    found = result.get("drift_attribution")
    if not found or found["share"] is None:
        return []
    share = percent(found["share"])
    sentence = (
        f"With the micro state held at its mean, the rate at which the macro state moves would "
        f"differ by {share} of its variance (along the {found['split']} paths): so much does the "
        "large scale feel the small one."
    )
    figure = ("Drift attribution", partial(plots.drift_attribution, found))
    return [Section("Scales", [figure], sentences=[sentence])]
