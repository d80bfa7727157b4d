"""The posterior-predictive rollout: forecasts of the held-out trajectories as one ensemble."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pyro_msm import data as datasets
from pyro_msm.cluster import Run, serially, workers
from pyro_msm.errors import InputError
from pyro_msm.forecasting.bayesian import log_likelihood
from pyro_msm.forecasting.contract import Forecaster, Randomness, root_entropy
from pyro_msm.forecasting.decoding import Array
from pyro_msm.forecasting.ensemble import (
    forecast_chains,
    open_ensemble,
    stored_times,
    truth_groups,
    with_decoded_fields,
    write_ensemble,
)
from pyro_msm.forecasting.fit import Fit
from pyro_msm.forecasting.latent import LatentForecaster
from pyro_msm.forecasting.layout import MEMORY
from pyro_msm.forecasting.multiscale import MultiscaleForecaster
from pyro_msm.forecasting.store import Store, settings_of, weights
from pyro_msm.forecasting.streaming import Block, Filling, Plan
from pyro_msm.progress import progress_bar

logger = logging.getLogger("pyro_msm")

SPLITS = ("test", "extrapolation")
Chains = Forecaster | Fit | Sequence[Forecaster | Fit]
Groups = dict[str, xr.Dataset]


def rollout(
    chains: Chains,
    data: xr.Dataset,
    members: int = 79,
    generator: Randomness = None,
    *,
    splits: Sequence[str] = SPLITS,
    times: int = 101,
    store: Path | str | None = None,
    fields: bool = True,
    memory: int = MEMORY,
    scheduler: str | None = None,
    force: bool = False,
    progress: bool = False,
) -> xr.DataTree:
    """Ensembles of all trajectories of some splits, from their first snapshots.

    Args:
        chains: independently trained forecasters (or one, or what ``fit`` returned).
        data: a validated dataset.
        members: draws per chain; 79 makes the usual bands order statistics.
        generator: root of the random streams, see ``root_entropy``.
        splits: names of splits; those that the data lack are left out, but for the first.
        times: the field is stored at so many times at most, the latents at all.
        store: a path ``….zarr`` to which the ensemble is written piece by piece; an interrupted
            rollout goes on if it is called again. None keeps it in memory.
        fields: False keeps the latent paths only: fields are decoded where they are read.
        memory: bytes to work with, beside the ensemble where that is in memory.
        scheduler: of a Dask cluster that fills the store, see ``cluster.workers``.
        force: replace the store that is there.
        progress: show a progress bar.

    Returns:
        The groups ``posterior``, ``posterior_predictive``, ``observed_data`` and
        ``constant_data`` (see ``docs/ensembles.md``), and ``log_likelihood`` of the training data
        where the weights are random.

    Raises:
        InputError: no members, the first split is missing, or the store cannot be written.
    """
    given = list(chains) if isinstance(chains, Sequence) else [chains]
    forecasters = [one.forecaster if isinstance(one, Fit) else one for one in given]
    if members < 1:
        raise InputError(f"an ensemble needs at least 1 member, not {members}")
    if scheduler is not None and store is None:
        raise InputError("a Dask cluster writes to a Zarr store: name one (--store zarr)")
    chosen, labels = _trajectories(data, splits)
    warmup = forecasters[0].warmup
    stored = stored_times(chosen.sizes["time"] - warmup + 1, times)
    root = root_entropy(generator)
    target = None if store is None else Store(store, force)
    name = getattr(forecasters[0], "label", forecasters[0].name)
    attrs = {
        "seconds_rollout": 0.0,
        "members": members,
        "model": name,
        "weights": [weights(forecaster) for forecaster in forecasters],
    }
    truth = truth_groups(chosen, labels, warmup, stored, _encoded(forecasters[0], chosen), attrs)
    truth |= log_likelihood(forecasters, data, members, root)
    latent = [one for one in forecasters if isinstance(one, LatentForecaster)]
    if len(latent) < len(forecasters):
        began = time.perf_counter()
        groups = forecast_chains(forecasters, chosen, members, root, stored)
        truth["constant_data"].attrs["seconds_rollout"] = time.perf_counter() - began
        return _kept(_tree(groups | truth), store)
    plan = Plan(latent, chosen, stored, members, root, memory)
    if target is None:
        return _in_memory(plan, truth, fields, progress)
    _to_store(plan, truth, fields, target, scheduler, progress)
    return open_ensemble(target.path, latent)


def ensemble_bytes(
    chains: Sequence[Forecaster],
    data: xr.Dataset,
    members: int,
    times: int,
    splits: Sequence[str] = SPLITS,
) -> int:
    """Bytes of what ``rollout`` would keep in memory; 0 for forecasters without latent paths."""
    latent = [one for one in chains if isinstance(one, LatentForecaster)]
    if len(latent) < len(chains):
        return 0
    chosen, _ = _trajectories(data, splits)
    stored = stored_times(chosen.sizes["time"] - latent[0].warmup + 1, times)
    plan = Plan(latent, chosen, stored, members, 0, MEMORY)
    return sum(spec.bytes for spec in plan.specs(fields=True).values())


def _in_memory(plan: Plan, truth: Groups, fields: bool, progress: bool) -> xr.DataTree:
    specs = plan.specs(fields)
    arrays = {name: np.empty(spec.shape, spec.dtype) for name, spec in specs.items()}
    began = time.perf_counter()
    _fill(plan, arrays, serially, progress)
    truth["constant_data"].attrs["seconds_rollout"] = time.perf_counter() - began
    groups = plan.small()
    for name, spec in specs.items():
        group, variable = name.split("/")
        groups[group][variable] = spec.dims, arrays[name]
    if not fields:
        observed = truth["observed_data"]
        groups = with_decoded_fields(
            groups["posterior"], groups["posterior_predictive"], plan.decoder(arrays),
            observed[plan.kind.name],
        )  # fmt: skip
    return _tree(groups | truth)


def _to_store(
    plan: Plan,
    truth: Groups,
    fields: bool,
    store: Store,
    scheduler: str | None,
    progress: bool,
) -> None:
    groups = plan.small()
    if not fields:
        groups["posterior"].attrs |= {
            "latent_parts": plan.part_names,
            "root": plan.root,
        }
    specs = plan.specs(fields)
    arrays = store.begin(groups | truth, specs, settings_of(plan, fields))
    with workers(scheduler) as run:
        _fill(plan, arrays, run, progress, store)
    store.finish()


def _fill(
    plan: Plan,
    arrays: Mapping[str, Array],
    run: Run,
    progress: bool,
    store: Store | None = None,
) -> None:
    """Does all blocks that are not done yet."""
    filling = Filling(plan, arrays)
    stages: list[tuple[str, Callable[[Block], None], list[Block]]] = [
        ("paths", filling.paths, plan.path_blocks),
        ("fields", filling.fields, plan.field_blocks),
    ]
    done = set() if store is None else store.done()
    if done:
        logger.info("%d blocks are there already: going on after them", len(done))
    total = len(plan.path_blocks) + len(plan.field_blocks)
    with progress_bar("rolling out", enabled=progress) as update:
        count = len(done)
        update(count, total)
        last = time.perf_counter()
        for kind, function, blocks in stages:
            for block, _ in run(function, [b for b in blocks if (kind, b) not in done]):
                now = time.perf_counter()
                if store is not None:
                    store.note(kind, block, now - last)
                last = now
                count += 1
                update(count, total)


def _encoded(forecaster: Forecaster, data: xr.Dataset) -> dict[str, Any]:
    if not isinstance(forecaster, MultiscaleForecaster):
        return {}
    return forecaster.parts(forecaster.encoded(data))


def _tree(groups: Groups) -> xr.DataTree:
    return xr.DataTree.from_dict({f"/{name}": group for name, group in groups.items()})


def _kept(tree: xr.DataTree, store: Path | str | None) -> xr.DataTree:
    if store is not None:
        write_ensemble(tree, store)
    return tree


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
