"""Posterior-predictive ensembles: from forecasters to a DataTree in ArviZ's schema and its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pyro_msm.errors import InputError
from pyro_msm.files import replacing
from pyro_msm.forecasting.contract import Forecaster, initial_window
from pyro_msm.forecasting.latent import LatentForecaster
from pyro_msm.forecasting.streams import OBSERVATION, Streams

KEPT = ("clean", "mask", "parameters", "initial_parameters")


def stored_times(count: int, most: int) -> np.ndarray:
    """Indices of at most ``most`` of ``count`` times, evenly spread, first and last among them.

    >>> stored_times(11, 6).tolist()
    [0, 2, 4, 6, 8, 10]
    """
    if count <= most:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, most).round().astype(int))


def chain_of(
    forecaster: Forecaster, data: xr.Dataset, members: int, root: int, stored: np.ndarray
) -> tuple[xr.Dataset, xr.Dataset]:
    """One chain of an ensemble.

    Args:
        forecaster: fitted.
        data: the trajectories to forecast, from the first snapshot of the warm-up on.
        members: size of the ensemble.
        root: root of the random streams.
        stored: indices, among the times from the last initial snapshot on, at which the field is
            kept.

    Returns:
        ``posterior`` and ``posterior_predictive``, each with ``draw`` and without ``chain``.
    """
    initial = initial_window(data, forecaster.warmup)
    times = data["time"].values[forecaster.warmup - 1 :]
    if isinstance(forecaster, LatentForecaster):
        posterior = _latent_posterior(forecaster, initial, times, members, root, stored)
    else:
        forecast = forecaster.forecast(initial, times[stored], members, root)
        posterior = _as_posterior(forecast)
    std = posterior.get("observation_std")
    predictive = _observed(posterior["signal"], None if std is None else std.values, root)
    return posterior, predictive.to_dataset(name="field")


def _latent_posterior(
    forecaster: LatentForecaster,
    initial: xr.Dataset,
    times: np.ndarray,
    members: int,
    root: int,
    stored: np.ndarray,
) -> xr.Dataset:
    """All latents, and the field at the stored times only: nothing is decoded in vain."""
    state = forecaster.encode(initial, members, root)
    _, latents = forecaster.advance(state, times)
    kept = forecaster.decode(latents[stored]).assign_coords(time=times[stored])
    posterior = _as_posterior(kept.drop_vars(["macro", "micro"], errors="ignore"))
    bad = ~np.isfinite(latents).all(-1)
    first = np.where(bad.any(0), times[bad.argmax(0)], np.nan)
    posterior["diverged_at"] = ("draw", "trajectory"), first
    if hasattr(forecaster, "parts"):
        for name, (dims, values) in forecaster.parts(latents).items():
            posterior[name] = ("draw", "trajectory", "time_full", *dims), values
    if hasattr(forecaster, "macro_part"):
        mean = np.moveaxis(latents[stored].mean(1), 0, 1)
        macro = forecaster.macro_part(mean)
        dims = tuple(d for d in posterior["signal"].dims if d != "draw")
        posterior["mean_macro_part"] = dims, macro
        posterior["mean_micro_part"] = dims, posterior["signal"].values.mean(0) - macro
    return posterior.assign_coords(time_full=times)


def _as_posterior(forecast: xr.Dataset) -> xr.Dataset:
    names = {"member": "draw", "field": "signal"}
    return forecast.rename({k: v for k, v in names.items() if k in forecast or k in forecast.dims})


def _observed(signal: xr.DataArray, std: np.ndarray | None, root: int) -> xr.DataArray:
    """The members with observation noise; each (member, trajectory) has its own stream."""
    if std is None:
        return signal
    draws, trajectories, count = signal.shape[:3]
    noisy = np.empty(signal.shape, np.float32)
    shape = signal.shape[3:]
    scale = std.reshape(-1, *(1 for _ in shape[1:])).astype(np.float32)
    for draw in range(draws):
        for which in range(trajectories):
            stream = Streams(root, range(draw, draw + 1), range(which, which + 1))
            size = int(np.prod(shape))
            noise = stream.normal(0, count, size, OBSERVATION).reshape(count, *shape)
            noisy[draw, which] = signal.values[draw, which] + scale * noise
    return signal.copy(data=noisy)


def assemble(
    chains: list[tuple[xr.Dataset, xr.Dataset]],
    data: xr.Dataset,
    split: np.ndarray,
    warmup: int,
    stored: np.ndarray,
    encoded: dict[str, Any],
    attrs: dict[str, Any],
) -> xr.DataTree:
    """The DataTree of an ensemble from its chains and the truth beside them."""
    from_start = data.isel(time=slice(warmup - 1, None))
    truth = from_start.isel(time=stored)
    observed = truth[["field"]]
    for name, (dims, values) in encoded.items():
        observed[f"encoded_{name}"] = ("trajectory", "time_full", *dims), values
    if encoded:
        observed = observed.assign_coords(time_full=from_start["time"].values)
    constant = truth[[name for name in KEPT if name in truth]].assign_coords(
        {name: truth[name] for name in truth.dims if name in truth.coords}
    )
    constant["split"] = "trajectory", split.astype(str)
    constant.attrs = {**_plain(data.attrs), **attrs}
    posterior, predictive = (
        xr.concat([pair[i] for pair in chains], "chain", data_vars=_per_chain(chains[0][i]),
                  coords="minimal", compat="override", join="override")
        .assign_coords(chain=np.arange(len(chains)), draw=np.arange(chains[0][i].sizes["draw"]))
        for i in (0, 1)
    )  # fmt: skip
    groups = {
        "posterior": posterior,
        "posterior_predictive": predictive,
        "observed_data": observed.drop_vars("split", errors="ignore"),
        "constant_data": constant,
    }
    return xr.DataTree.from_dict({f"/{name}": group for name, group in groups.items()})


def _per_chain(dataset: xr.Dataset) -> list[Any]:
    return list(dataset.data_vars)


def _plain(attrs: dict[Any, Any]) -> dict[str, Any]:
    """Attributes that NetCDF can hold."""
    return {str(k): v for k, v in attrs.items() if isinstance(v, (str, int, float, list, tuple))}


def write_ensemble(tree: xr.DataTree, path: Path | str) -> None:
    """Writes an ensemble to NetCDF or Zarr by suffix, at one stroke."""
    path = Path(path)
    with replacing(path) as temporary:
        if path.suffix == ".zarr":
            tree.to_zarr(temporary, mode="w", zarr_format=2, consolidated=True)
        else:
            tree.to_netcdf(temporary, engine="netcdf4")


def open_ensemble(path: Path | str) -> xr.DataTree:
    """Opens ``ensemble.nc`` or ``ensemble.zarr`` of a run folder, or such a file itself, lazily.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    path = Path(path)
    found = [p for p in (path / "ensemble.nc", path / "ensemble.zarr") if p.exists()]
    if not found and path.suffix in {".nc", ".zarr"} and path.exists():
        found = [path]
    if not found:
        raise InputError(f"{path} holds no ensemble.nc or ensemble.zarr: run `pyro-msm rollout`")
    try:
        return xr.open_datatree(found[0], engine="zarr" if found[0].suffix == ".zarr" else None)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{found[0]} is not a readable ensemble: {error}") from error
