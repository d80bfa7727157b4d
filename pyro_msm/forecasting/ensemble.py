"""Posterior-predictive ensembles: their groups in ArviZ's schema, and their file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from xarray.core.indexing import LazilyIndexedArray

from pyro_msm.data.evenly import evenly
from pyro_msm.data.schema import variable
from pyro_msm.data.variables import along_labels
from pyro_msm.errors import InputError
from pyro_msm.files import replacing
from pyro_msm.forecasting.contract import Forecaster, initial_window
from pyro_msm.forecasting.decoding import DecodedField, Decoder, Latest
from pyro_msm.forecasting.latent import LatentForecaster
from pyro_msm.forecasting.store import JOURNAL, partial, weights
from pyro_msm.forecasting.streams import observation_noise

KEPT = ("clean", "mask", "parameters", "initial_parameters")

#: Names under which a run keeps its ensemble.
FILES = ("ensemble.nc", "ensemble.zarr")


def stored_times(count: int, most: int) -> np.ndarray:
    """Indices of at most ``most`` of ``count`` times, evenly spread, first and last among them.

    >>> stored_times(11, 6).tolist()
    [0, 2, 4, 6, 8, 10]
    """
    if count <= most:
        return np.arange(count)
    return evenly(0, count - 1, most)


def forecast_chains(
    chains: Sequence[Forecaster], data: xr.Dataset, members: int, root: int, stored: np.ndarray
) -> dict[str, xr.Dataset]:
    """``posterior`` and ``posterior_predictive`` of forecasters without latent paths.

    Args:
        chains: fitted forecasters.
        data: the trajectories to forecast, from the first snapshot of the warm-up on.
        members: of each chain; a deterministic forecaster has one.
        root: root of the random streams; chain ``i`` has ``root + i``.
        stored: indices, among the times from the last initial snapshot on, of those that are kept.
    """
    drawn: dict[str, list[xr.Dataset]] = {"posterior": [], "posterior_predictive": []}
    for index, forecaster in enumerate(chains):
        initial = initial_window(data, forecaster.warmup)
        times = data["time"].values[forecaster.warmup - 1 :][stored]
        forecast = forecaster.forecast(initial, times, members, root + index)
        name = variable(forecast)
        posterior = forecast.rename({"member": "draw", name: "signal"})
        drawn["posterior"].append(posterior)
        noisy = _observed(posterior, root + index, stored)
        drawn["posterior_predictive"].append(noisy.to_dataset(name=name))
    return {
        name: xr.concat(
            parts, "chain", data_vars=list(parts[0].data_vars), coords="minimal",
            compat="override", join="override",
        ).assign_coords(chain=np.arange(len(parts)), draw=np.arange(parts[0].sizes["draw"]))
        for name, parts in drawn.items()
    }  # fmt: skip


def _observed(posterior: xr.Dataset, root: int, stored: np.ndarray) -> xr.DataArray:
    """The members with observation noise, where the forecast says how large it is."""
    signal = posterior["signal"]
    if "observation_std" not in posterior:
        return signal
    draws, trajectories, _, *shape = signal.shape
    std = along_labels(posterior["observation_std"].values, signal.dims[3:])
    noise = [
        observation_noise(root, range(draws), which, stored.tolist(), tuple(shape))
        for which in range(trajectories)
    ]
    return signal + (std * np.stack(noise, 1)).astype(np.float32)


def truth_groups(
    data: xr.Dataset,
    split: np.ndarray,
    warmup: int,
    stored: np.ndarray,
    encoded: Mapping[str, Any],
    attrs: Mapping[str, Any],
) -> dict[str, xr.Dataset]:
    """The groups ``observed_data`` and ``constant_data`` of an ensemble.

    Args:
        data: the trajectories, from the first snapshot of the warm-up on.
        split: of each trajectory.
        warmup: number of initial snapshots.
        stored: indices, among the times from the last of them on, at which there are fields.
        encoded: encoder means of the truth at all times: name → (dims, values).
        attrs: of the ensemble, beside those of the data.
    """
    from_start = data.isel(time=slice(warmup - 1, None))
    truth = from_start.isel(time=stored)
    observed = truth[[variable(truth)]]
    for name, (dims, values) in encoded.items():
        observed[f"encoded_{name}"] = ("trajectory", "time_full", *dims), values
    if encoded:
        observed = observed.assign_coords(time_full=from_start["time"].values)
    constant = truth[[name for name in KEPT if name in truth]].assign_coords(
        {name: truth[name] for name in truth.dims if name in truth.coords}
    )
    constant["split"] = "trajectory", split.astype(str)
    constant.attrs = {**_plain(data.attrs), **attrs}
    return {
        "observed_data": observed.drop_vars("split", errors="ignore"),
        "constant_data": constant,
    }


def _plain(attrs: dict[Any, Any]) -> dict[str, Any]:
    """Attributes that NetCDF can hold."""
    return {str(k): v for k, v in attrs.items() if isinstance(v, (str, int, float, list, tuple))}


def with_decoded_fields(
    posterior: xr.Dataset, predictive: xr.Dataset, decoder: Decoder, truth: xr.DataArray
) -> dict[str, xr.Dataset]:
    """The two groups of members with fields that are decoded where they are read.

    Args:
        posterior: the group, with ``diverged_at``.
        predictive: the group.
        decoder: gives the fields.
        truth: (trajectory, time, …), whose name and axes those of the members are.
    """
    latest = Latest()
    dims = ("chain", "draw", *truth.dims)
    name = truth.name
    members, trajectories = posterior["diverged_at"].shape[1:]
    signal, noisy = (
        xr.Variable(
            dims,
            LazilyIndexedArray(DecodedField(decoder, members, trajectories, noisy, latest)),
        )
        for noisy in (False, True)
    )
    return {
        "posterior": posterior.assign(signal=signal),
        "posterior_predictive": predictive.assign({name: noisy}),
    }


def write_ensemble(tree: xr.DataTree, path: Path | str) -> None:
    """Writes an ensemble to NetCDF or Zarr by suffix, at one stroke."""
    path = Path(path)
    with replacing(path) as temporary:
        if path.suffix == ".zarr":
            tree.to_zarr(temporary, mode="w", zarr_format=2, consolidated=True)
        else:
            tree.to_netcdf(temporary, engine="netcdf4")


def open_ensemble(
    path: Path | str, chains: Sequence[LatentForecaster] | None = None
) -> xr.DataTree:
    """Opens ``ensemble.nc`` or ``ensemble.zarr`` of a run folder, or such a file itself, lazily.

    Args:
        path: the folder or the file.
        chains: the forecasters that drew it, which decode the fields of a store without fields;
            None loads them from the run folder.

    Raises:
        InputError: there is none, only a part of one, or it cannot be read.
    """
    file = _file_of(Path(path))
    how: dict[str, Any] = {"engine": "zarr", "consolidated": True} if file.suffix == ".zarr" else {}
    try:
        tree = xr.open_datatree(file, **how)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{file} is not a readable ensemble: {error}") from error
    if "latent_parts" not in tree["posterior"].attrs:
        return tree
    return _decoding(tree, file, chains)


def drawn_with(tree: xr.DataTree) -> list[str] | None:
    """Fingerprints of the chains that drew an ensemble; None: an older one, which has none."""
    for name in ("constant_data", "posterior"):  # latent stores had them in the latter
        if "weights" in tree[name].attrs:
            return [str(each) for each in np.ravel(tree[name].attrs["weights"])]
    return None


def check_weights(tree: xr.DataTree, chains: Sequence[Forecaster], path: Path | str) -> None:
    """Checks that an ensemble was drawn by these chains, as far as it tells.

    Args:
        tree: the ensemble.
        chains: all of them.
        path: what messages call the ensemble.

    Raises:
        InputError: they have other weights, or are more or fewer.
    """
    drawn = drawn_with(tree)
    if drawn is not None and drawn != [weights(forecaster) for forecaster in chains]:
        raise InputError(
            f"{path} was drawn with other weights than those that are there now, so it tells "
            "nothing of them: roll out again (`pyro-msm rollout RUN --force`)"
        )


def _file_of(path: Path) -> Path:
    """The ensemble of a run folder, or the file itself; never one that is not whole."""
    own = [path] if path.suffix in {".nc", ".zarr"} else []
    found = [file for file in (*(path / name for name in FILES), *own) if file.exists()]
    for unfinished in found or [partial(path / FILES[1])]:
        if (unfinished / JOURNAL).exists():
            raise InputError(
                f"{unfinished} is not a whole ensemble: give the same `pyro-msm rollout` again, "
                "and it goes on where it was interrupted"
            )
    if not found:
        raise InputError(f"{path} holds no ensemble.nc or ensemble.zarr: run `pyro-msm rollout`")
    return found[0]


def _decoding(
    tree: xr.DataTree, path: Path, chains: Sequence[LatentForecaster] | None
) -> xr.DataTree:
    """The tree of a store that keeps no fields, with fields that are decoded when they are read."""
    posterior, predictive = (
        tree[name].to_dataset() for name in ("posterior", "posterior_predictive")
    )
    chains = _chains_of(path, posterior.sizes["chain"]) if chains is None else chains
    check_weights(tree, chains, path)
    store = zarr.open_group(path, mode="r")
    names = np.ravel(posterior.attrs["latent_parts"]).tolist()
    truths = tree["observed_data"].to_dataset()
    observed = truths[variable(truths)]
    noise = None
    if "observation_std" in posterior:
        noise = [
            along_labels(std, observed.dims[2:]) for std in posterior["observation_std"].values
        ]
    decoder = Decoder(
        chains,
        [store[f"posterior/{name}"] for name in names],
        np.searchsorted(posterior["time_full"].values, posterior["time"].values),
        observed.shape[2:],
        int(posterior.attrs["root"]),
        noise,
    )
    for name, group in with_decoded_fields(posterior, predictive, decoder, observed).items():
        tree[name].dataset = group
    return tree


def _chains_of(path: Path, count: int) -> list[LatentForecaster]:
    from pyro_msm.forecasting import load_forecaster
    from pyro_msm.runs import RunDirectory

    run = RunDirectory(path.parent)
    if not run.config_file.exists():
        raise InputError(
            f"{path} keeps no fields and lies in no run folder, whose model would decode them: "
            "give open_ensemble the chains that drew it"
        )
    return [load_forecaster(run.chain(i).path) for i in range(count)]  # type: ignore[misc]
