"""What stands beside an ensemble when it is scored: baselines, validation, scores of its family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pyro_msm.cli.shell import say
from pyro_msm.config import Config
from pyro_msm.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from pyro_msm.forecasting.contract import Forecaster


def baselines_of(
    trees: Sequence[xr.DataTree], dataset: xr.Dataset, family: str, warmup: int
) -> list[dict[str, xr.Dataset]]:
    """Forecasts of the other baselines for the trajectories and stored times of each ensemble.

    They start from as many snapshots as the model did. One that does not apply to the data is left
    out, and that is said.

    Args:
        trees: ensembles.
        dataset: that they are of, with all its splits.
        family: of the model, which does not stand beside itself.
        warmup: number of snapshots.
    """
    from pyro_msm.forecasting.baselines import BASELINES

    forecasts: list[dict[str, xr.Dataset]] = [{} for _ in trees]
    for name, kind in BASELINES.items():
        if name == family:
            continue
        baseline = kind()
        baseline.warmup = warmup
        try:
            baseline.fit(dataset)
            found = [_forecast(baseline, tree, dataset) for tree in trees]
        except InputError as error:
            say(f"No {name} beside it: {error}.")
            continue
        for kept, forecast in zip(forecasts, found, strict=True):
            kept[name] = forecast
    return forecasts


def _forecast(baseline: Forecaster, tree: xr.DataTree, dataset: xr.Dataset) -> xr.Dataset:
    observed = tree.children["observed_data"]
    times = observed.coords["time"].values
    past = dataset.sel(trajectory=observed.coords["trajectory"].values, time=slice(None, times[0]))
    return baseline.forecast(past.isel(time=slice(-baseline.warmup, None)), times)


def validation_of(
    tree: xr.DataTree, chains: Sequence[Forecaster], dataset: xr.Dataset, seed: int
) -> xr.DataTree | None:
    """An ensemble of the validation split at the lead times of a rollout, its fields not decoded.

    None where the data do not allow it, which is said.

    Args:
        tree: the rollout.
        chains: the forecasters that drew it.
        dataset: with all its splits.
        seed: of the rollout; this one has random streams of its own.
    """
    from pyro_msm import data
    from pyro_msm.analysis.post_hoc import DRAWS
    from pyro_msm.data.variables import kind_of
    from pyro_msm.forecasting import rollout
    from pyro_msm.forecasting.ensemble import stored_times

    if not kind_of(dataset).pointwise:
        return None
    try:
        known = data.select(dataset, "validation")["time"].values[chains[0].warmup - 1 :]
    except InputError as error:
        say(f"No comparison with a recalibrated ensemble: {error}.")
        return None
    times = tree["observed_data"].coords["time"].values
    own = known[stored_times(len(known), len(times))]
    lead, other = times - times[0], own - own[:1]
    near = 1e-3 * np.ptp(times) / len(times)
    if len(lead) != len(other) or not np.allclose(lead, other, rtol=0, atol=near):
        say(
            "No comparison with a recalibrated ensemble: the validation split covers "
            f"{np.ptp(known):g} of time, the rollout {lead[-1]:g}, and factors by lead time need "
            "the same."
        )
        return None
    members = min(tree["posterior"].sizes["draw"], DRAWS)
    root = np.random.default_rng([seed, 1])
    return rollout(
        chains, dataset, members, root, splits=("validation",), times=len(times), fields=False
    )


def own_scores(
    tree: xr.DataTree,
    chains: Sequence[Forecaster],
    dataset: xr.Dataset,
    config: Config,
    scores: dict[str, Any],
    progress: bool,
) -> dict[str, Any]:
    """What only this family of models has; where its data lack something, that is said."""
    from pyro_msm.analysis.evaluate import plain
    from pyro_msm.analysis.family_scores import Evaluated, family_scores

    try:
        return plain(family_scores(Evaluated(config, chains, dataset, tree, scores, progress)))
    except InputError as error:
        say(f"No scores of the family {config.model.family} itself: {error}.")
        return {}
