"""Datasets on disk: NetCDF (``.nc``) and Zarr (``.zarr``), chosen by the suffix."""

from __future__ import annotations

import errno
import shutil
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import netCDF4
import numpy as np
import xarray as xr
import zarr
from numcodecs import Zstd  # type: ignore[import-untyped]
from scipy.io import netcdf_file

from pyro_msm.data import lazy
from pyro_msm.data.schema import validate
from pyro_msm.errors import InputError
from pyro_msm.files import replacing

NETCDF = (".nc", ".nc4")
ZARR = (".zarr",)

#: Values in a chunk of a Zarr array that is read as a whole, and of one that is read in snapshots.
WHOLE, SNAPSHOTS = 4_000_000, 16_384


class Part(NamedTuple):
    """Some values of a variable, and where they stand: a slice of some of its dimensions."""

    name: str
    place: dict[str, slice]
    values: np.ndarray


def open_dataset(path: Path | str, *, check_values: bool = True) -> xr.Dataset:
    """Reads and validates a dataset.

    Values of more than ``lazy.IN_MEMORY`` bytes stay on disk until they are used; smaller files are
    read and closed, so that they may be replaced, and no handle outlives its use.

    Args:
        path: a ``.nc`` file or a ``.zarr`` folder.
        check_values: read all values for NaN; False for a large file that has not changed since it
            was written by ``save`` or opened before.

    Raises:
        InputError: no such file, not readable as NetCDF or Zarr, or its content is not as expected
            (see ``validate``).
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"no such file: {path}")
    kind = _kind(path)
    try:
        dataset = _opened(path, kind)
        if dataset.nbytes <= lazy.IN_MEMORY:
            with dataset:
                dataset.load()
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise _unreadable(path, kind, error) from error
    try:
        return validate(dataset, source=str(path), check_values=check_values)
    except (OSError, RuntimeError) as error:
        dataset.close()
        raise _unreadable(path, kind, error) from error
    except InputError:
        dataset.close()
        raise


def save(dataset: xr.Dataset, path: Path | str) -> None:
    """Validates and writes a dataset; a reader never sees half a file.

    It is written under a temporary name in the same folder (made if missing) and then renamed over
    whatever was there. What is on disk is copied a block at a time.

    Raises:
        InputError: unknown suffix, a dataset that is not as expected, or a folder that cannot be
            written.
    """
    _kind(Path(path))
    dataset = validate(dataset, source=str(path))
    save_parts(dataset, _parts(dataset), path)


def save_parts(form: xr.Dataset, parts: Iterable[Part], path: Path | str) -> None:
    """Writes a dataset that is never in memory as a whole, as ``save`` does.

    Args:
        form: the dataset in full form; of its variables over trajectories and times only the type
            and the size count.
        parts: the values of those variables, all of them, in any order; finite where observed.
        path: a ``.nc`` file or a ``.zarr`` folder.

    Raises:
        InputError: a folder that cannot be written.
        ValueError: values of a variable are missing among the parts.
    """
    path = Path(path)
    write = _write_zarr if _kind(path) == "zarr" else _write_netcdf
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            write(form.drop_encoding(), _whole(form, parts), temporary)
    except OSError as error:
        if isinstance(error, PermissionError) or error.errno == errno.ENOSPC:
            raise InputError(f"cannot write {path}: {error.strerror or error}") from error
        raise


def _whole(form: xr.Dataset, parts: Iterable[Part]) -> Iterator[Part]:
    """The parts, once they are counted: what nobody writes would read as whatever is on disk."""
    missing = {name: form[name].size for name in _streamed(form)}
    for part in parts:
        missing[part.name] -= part.values.size
        yield part
    if lacking := [name for name, count in missing.items() if count]:
        raise ValueError(f"the parts of a dataset do not make up the whole of {', '.join(lacking)}")


def _parts(dataset: xr.Dataset) -> Iterator[Part]:
    for name in _streamed(dataset):
        for place in lazy.blocks(dataset[name]):
            yield Part(name, place, dataset[name].isel(place).values)


def _streamed(form: xr.Dataset) -> list[str]:
    """The variables that are written in parts."""
    return [
        str(name)
        for name, array in form.data_vars.items()
        if array.dims[:2] == ("trajectory", "time")
    ]


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


def _opened(path: Path, kind: str) -> xr.Dataset:
    if kind == "netcdf" and path.is_file():
        _check_classic(path)
    with warnings.catch_warnings():
        # Stores without consolidated metadata are as good, only slower to open.
        warnings.filterwarnings("ignore", message="Failed to open Zarr store with consolidated")
        engine = "zarr" if kind == "zarr" else "netcdf4"
        raw = xr.open_dataset(path, engine=engine, decode_cf=False, cache=False)
    for variable in raw.variables.values():
        # NaN for NaN: to replace one by the other takes three times as long as to read them.
        if _is_nan(variable.attrs.get("_FillValue")):
            del variable.attrs["_FillValue"]
    return xr.decode_cf(raw, decode_times=False)


def _check_classic(path: Path) -> None:
    with path.open("rb") as file:
        magic = file.read(4)
    if magic in (b"CDF\x01", b"CDF\x02"):
        # The netCDF library reads what is cut off such a file as zeros, SciPy refuses.
        netcdf_file(path, mmap=True).close()


def _is_nan(value: Any) -> bool:
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))


def _write_netcdf(form: xr.Dataset, parts: Iterable[Part], path: Path) -> None:
    """Uncompressed and in one piece, from which windows are read fastest."""
    free = shutil.disk_usage(path.parent).free
    if form.nbytes > free:
        raise InputError(
            f"the file takes {form.nbytes / 2**30:.1f} GiB and the disk of {path.parent} has "
            f"{free / 2**30:.1f} GiB left: ask for less, or choose another disk"
        )
    names = _streamed(form)
    form.drop_vars(names).to_netcdf(path, engine="netcdf4")
    with netCDF4.Dataset(path, "a") as file:
        file.set_fill_off()
        for name in names:
            encoded = _encoded(form[name])
            dtype = encoded.dtype.newbyteorder("=")
            array = file.createVariable(name, dtype, tuple(map(str, encoded.dims)))
            array.setncatts(encoded.attrs)
            array.set_auto_maskandscale(False)
        for name, place, values in parts:
            file[name][_index(form[name], place)] = values


def _write_zarr(form: xr.Dataset, parts: Iterable[Part], path: Path) -> None:
    """In chunks of one trajectory, or part of one.

    So that damage is told on reading: a lost chunk reads as NaN, and every chunk has a checksum.
    """
    names = _streamed(form)
    compressor = Zstd(level=1, checksum=True)
    small = form.drop_vars(names)
    encoding = {name: {"compressors": [compressor]} for name in small.data_vars}
    small.to_zarr(path, mode="w", zarr_format=2, consolidated=False, encoding=encoding)
    store = zarr.open_group(path, mode="r+")
    arrays = {}
    for name in names:
        encoded = _encoded(form[name])
        arrays[name] = store.create_array(
            name, shape=form[name].shape, dtype=encoded.dtype,
            chunks=_chunks(form[name], WHOLE if form.nbytes <= lazy.IN_MEMORY else SNAPSHOTS),
            compressors=compressor, fill_value=np.nan if encoded.dtype.kind == "f" else None,
            attributes=encoded.attrs | {"_ARRAY_DIMENSIONS": list(encoded.dims)},
        )  # fmt: skip
    for name, place, values in parts:
        arrays[name][_index(form[name], place)] = values
    zarr.consolidate_metadata(path, zarr_format=2)


def _chunks(array: xr.DataArray, values: int) -> tuple[int, ...]:
    inner = max(1, array.size // (array.sizes["trajectory"] * array.sizes["time"]))
    times = int(np.clip(values // inner, 1, array.sizes["time"]))
    return (1, times, *array.shape[2:])


def _encoded(array: xr.DataArray) -> xr.Variable:
    """A value of ``array`` as it stands in a file: its type and attributes are those of all."""
    sample = array.variable[:1, :1].copy()
    sample.encoding = {"_FillValue": None}
    return xr.conventions.encode_cf_variable(sample, name=array.name)


def _index(array: xr.DataArray, place: dict[str, slice]) -> tuple[slice, ...]:
    return tuple(place.get(str(dim), slice(None)) for dim in array.dims)
