"""The posterior-predictive rollout: forecasts of the held-out trajectories as one ensemble."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import numpy as np
import xarray as xr

from pyro_msm import data as datasets
from pyro_msm.errors import InputError
from pyro_msm.forecasting.contract import Forecaster, Randomness, root_entropy
from pyro_msm.forecasting.ensemble import assemble, chain_of, stored_times
from pyro_msm.forecasting.multiscale import Fit, MultiscaleForecaster
from pyro_msm.progress import progress_bar

logger = logging.getLogger("pyro_msm")


def rollout(
    chains: Forecaster | Fit | Sequence[Forecaster | Fit],
    data: xr.Dataset,
    members: int = 79,
    generator: Randomness = None,
    *,
    splits: Sequence[str] = ("test", "extrapolation"),
    times: int = 101,
    progress: bool = False,
) -> xr.DataTree:
    """Ensembles of all trajectories of some splits, from their first snapshots.

    Args:
        chains: independently trained forecasters (or one, or what ``fit`` returned).
        data: a validated dataset with a ``field``.
        members: draws per chain; 79 makes the usual bands order statistics.
        generator: root of the random streams, see ``root_entropy``.
        splits: names of splits; those that the data lack are left out, but for the first.
        times: the field is stored at so many times at most, the latents at all.
        progress: show a progress bar.

    Returns:
        The groups ``posterior``, ``posterior_predictive``, ``observed_data`` and
        ``constant_data`` (see ``docs/ensembles.md``).

    Raises:
        InputError: no members, or the first split is missing.
    """
    given = list(chains) if isinstance(chains, Sequence) else [chains]
    forecasters = [one.forecaster if isinstance(one, Fit) else one for one in given]
    if members < 1:
        raise InputError(f"an ensemble needs at least 1 member, not {members}")
    chosen, labels = _trajectories(data, splits)
    warmup = forecasters[0].warmup
    count = chosen.sizes["time"] - warmup + 1
    stored = stored_times(count, times)
    root = root_entropy(generator)
    began = time.perf_counter()
    drawn = []
    with progress_bar("rolling out", enabled=progress) as update:
        for index, forecaster in enumerate(forecasters):
            update(index, len(forecasters))
            drawn.append(chain_of(forecaster, chosen, members, root + index, stored))
        update(len(forecasters), len(forecasters))
    seconds = time.perf_counter() - began
    encoded = {}
    if isinstance(forecasters[0], MultiscaleForecaster):
        means = forecasters[0].encoded(chosen)
        encoded = forecasters[0].parts(means)
    name = getattr(forecasters[0], "label", forecasters[0].name)
    attrs = {"seconds_rollout": seconds, "members": members, "model": name}
    return assemble(drawn, chosen, labels, warmup, stored, encoded, attrs)


def _trajectories(data: xr.Dataset, splits: Sequence[str]) -> tuple[xr.Dataset, np.ndarray]:
    """The trajectories of the splits side by side, and the split of each."""
    parts = [datasets.select(data, splits[0])]
    names = [splits[0]] * parts[0].sizes["trajectory"]
    for name in splits[1:]:
        try:
            part = datasets.select(data, name)
        except InputError:
            continue
        if not np.array_equal(part["time"].values, parts[0]["time"].values):
            logger.warning("split %s covers other times than %s: left out", name, splits[0])
            continue
        parts.append(part)
        names += [name] * part.sizes["trajectory"]
    joined = parts[0] if len(parts) == 1 else xr.concat(parts, "trajectory", data_vars="minimal")
    return joined, np.array(names)
