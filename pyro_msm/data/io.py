"""Datasets on disk: NetCDF (``.nc``) and Zarr (``.zarr``), chosen by the suffix."""

from __future__ import annotations

import shutil
import uuid
import warnings
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numcodecs import Zstd  # type: ignore[import-untyped]
from scipy.io import netcdf_file

from pyro_msm.data.schema import validate
from pyro_msm.errors import InputError

NETCDF = (".nc", ".nc4")
ZARR = (".zarr",)
CHUNK_VALUES = 4_000_000
IN_MEMORY = 2**31


def open_dataset(path: Path | str) -> xr.Dataset:
    """Reads and validates a dataset.

    Values of more than ``IN_MEMORY`` bytes stay on disk until they are used; smaller files are read
    and closed, so that they may be replaced, and no handle outlives its use.

    Args:
        path: a ``.nc`` file or a ``.zarr`` folder.

    Raises:
        InputError: no such file, not readable as NetCDF or Zarr, or its content is not as expected
            (see ``validate``).
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"no such file: {path}")
    kind = _kind(path)
    try:
        dataset = _open_zarr(path) if kind == "zarr" else _open_netcdf(path)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise _unreadable(path, kind, error) from error
    try:
        validated = validate(dataset, source=str(path))
        if dataset.nbytes <= IN_MEMORY:
            validated = validated.load()
            dataset.close()
        return validated
    except (OSError, RuntimeError) as error:
        dataset.close()
        raise _unreadable(path, kind, error) from error
    except InputError:
        dataset.close()
        raise


def save(dataset: xr.Dataset, path: Path | str) -> None:
    """Validates and writes a dataset; a reader never sees half a file.

    It is written under a temporary name in the same folder (made if missing) and then renamed over
    whatever was there.

    Raises:
        InputError: unknown suffix, a dataset that is not as expected, or a folder that cannot be
            written.
    """
    path = Path(path)
    kind = _kind(path)
    dataset = validate(dataset, source=str(path)).drop_encoding()
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "zarr":
            _write_zarr(dataset, temporary)
        else:
            dataset.to_netcdf(temporary, engine="netcdf4")
        _replace(temporary, path)
    except PermissionError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        _remove(temporary)


def _kind(path: Path) -> str:
    if path.suffix in NETCDF:
        return "netcdf"
    if path.suffix in ZARR:
        return "zarr"
    raise InputError(
        f"{path} has the suffix {path.suffix!r}: expected .nc (NetCDF) or .zarr (Zarr)"
    )


def _unreadable(path: Path, kind: str, error: Exception) -> InputError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    name = "Zarr folder" if kind == "zarr" else "NetCDF file"
    return InputError(
        f"{path} is not a readable {name}, it may be truncated or of another format ({reason})"
    )


def _open_netcdf(path: Path) -> xr.Dataset:
    if path.is_file():
        with path.open("rb") as file:
            magic = file.read(4)
        if magic in (b"CDF\x01", b"CDF\x02"):
            # The netCDF library reads what is cut off such a file as zeros, SciPy refuses.
            netcdf_file(path, mmap=True).close()
    return xr.open_dataset(path, engine="netcdf4", decode_times=False)


def _open_zarr(path: Path) -> xr.Dataset:
    with warnings.catch_warnings():
        # Stores without consolidated metadata are as good, only slower to open.
        warnings.filterwarnings("ignore", message="Failed to open Zarr store with consolidated")
        return xr.open_zarr(path, chunks=None, decode_times=False)


def _write_zarr(dataset: xr.Dataset, path: Path) -> None:
    """One trajectory, or part of one, a chunk.

    So that damage is told on reading: a lost chunk reads as NaN, and every chunk has a checksum.
    """
    encoding: dict[Hashable, dict[str, Any]] = {}
    for name, array in dataset.data_vars.items():
        encoding[name] = {"compressors": [Zstd(level=1, checksum=True)]}
        if array.dtype.kind == "f":
            encoding[name]["_FillValue"] = np.nan
        if array.dims[:2] == ("trajectory", "time"):
            inner = max(1, array.size // (array.sizes["trajectory"] * array.sizes["time"]))
            times = int(np.clip(CHUNK_VALUES // inner, 1, array.sizes["time"]))
            encoding[name]["chunks"] = (1, times, *array.shape[2:])
    dataset.to_zarr(path, mode="w", zarr_format=2, consolidated=True, encoding=encoding)


def _replace(temporary: Path, path: Path) -> None:
    """Renames over an existing file or folder."""
    if not path.is_dir():
        temporary.replace(path)
        return
    aside = temporary.with_suffix(".old")
    path.replace(aside)
    temporary.replace(path)
    _remove(aside)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
