"""The public ``cylinder2d`` data set of the Computer Graphics Laboratory, ETH Zürich."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path

import numpy as np
import xarray as xr

from pyro_msm.data.readers.vtk_image import read_volume
from pyro_msm.data.schema import validate
from pyro_msm.errors import InputError

SHAPE = (1501, 80, 640)
AXES = ("time", "y", "x")
ALIASES = {"time": ("tdim", "time", "times", "t"), "y": ("ydim", "y"), "x": ("xdim", "x")}
TRAIN, VALIDATION = 13 / 15, 14 / 15


def read_cgl(
    path: Path | str, *, shape: tuple[int, int, int] | None = SHAPE, half: bool = True
) -> xr.Dataset:
    """The flow past a cylinder of Günther, Gross and Theisel (ACM Trans. Graph. 36, 2017).

    Args:
        path: a NetCDF file with the variables ``u`` and ``v`` over (tdim, ydim, xdim) and one
            coordinate variable for each of these; or a ``.vti`` file (VTK image data) whose third
            axis is time; or a folder of ``.vti`` files, one a time, which in the order of their
            names are taken to be equally spaced on [0, 15].
        shape: expected number of times, y and x; None accepts any.
        half: keep the left half along x only, as in "Learning stochastic multiscale models".

    Returns:
        ``field(trajectory, time, channel, x, y)`` of one record with the channels u and v, split in
        time in the published proportions: train [0, 13], validation (13, 14], test (14, 15].

    Raises:
        InputError: no such file, another format, missing variables, or another shape.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"no such file: {path}")
    image = path.is_dir() or path.suffix == ".vti"
    arrays, axes = read_volume(path) if image else _read_netcdf(path)
    found = arrays[0].shape
    if shape is not None and found != tuple(shape):
        raise InputError(
            f"{path}: u has {_sizes(found)}: expected {_sizes(shape)}, as the public cylinder2d "
            "has; for another grid call data.read_cgl with shape=None"
        )
    kept = found[2] // 2 if half else found[2]
    field = np.stack([part[:, :, :kept].transpose(0, 2, 1) for part in arrays], axis=1)
    time, y, x = axes["time"], axes["y"], axes["x"][:kept]
    dataset = xr.Dataset(
        {"field": (("trajectory", "time", "channel", "x", "y"), field[None])},
        coords={
            "trajectory": [0],
            "time": time,
            "channel": ["u", "v"],
            "x": x,
            "y": y,
            "split": ("time", record_split(time, float(time[-1]))),
        },
        attrs={
            "title": "vortex street behind a cylinder (CGL cylinder2d)",
            "system": "cylinder-2d",
            "source": path.name,
            "boundary": ["open", "wall"],
            "domain": [len(axis) * float(np.diff(axis).mean()) for axis in (x, y)],
        },
    )
    return validate(dataset, source=str(path))


def record_split(times: np.ndarray, end: float) -> np.ndarray:
    """Split of each time of a record: 13/15 train, 1/15 validation, 1/15 test, then extrapolation.

    >>> record_split(np.array([0.0, 13.0, 13.5, 15.0, 16.0]), 15.0).tolist()
    ['train', 'train', 'validation', 'test', 'extrapolation']
    """
    start, rounding = times[0], 1e-6 * (end - times[0])
    bounds = start + (end - start) * np.array([TRAIN, VALIDATION, 1.0]) + rounding
    names = np.array(["train", "validation", "test", "extrapolation"])
    return names[np.searchsorted(bounds, times)]


def _read_netcdf(path: Path) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """u and v (time, y, x), and the three axes."""
    try:
        with xr.open_dataset(path, engine="netcdf4", decode_times=False) as dataset:
            return _parts(dataset, path)
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{path} is not a readable NetCDF file, it may be truncated or of another format "
            f"({reason})"
        ) from error


def _parts(dataset: xr.Dataset, path: Path) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    missing = [name for name in ("u", "v") if name not in dataset.variables]
    if missing:
        found = ", ".join(map(str, dataset.variables)) or "none"
        raise InputError(
            f"{path}: no variable {' and '.join(missing)}: expected u and v over (tdim, ydim, "
            f"xdim) as in the public cylinder2d, found {found}"
        )
    dims = dataset["u"].dims
    if len(dims) != 3 or dataset["v"].dims != dims:
        raise InputError(
            f"{path}: u has dimensions {_names(dims)} and v {_names(dataset['v'].dims)}: expected "
            "(tdim, ydim, xdim) for both"
        )
    axes = {axis: _axis(dataset, axis, dim, path) for axis, dim in zip(AXES, dims, strict=True)}
    return [dataset[name].values.astype(np.float32) for name in ("u", "v")], axes


def _axis(dataset: xr.Dataset, axis: str, dim: Hashable, path: Path) -> np.ndarray:
    for name in (dim, *ALIASES[axis]):
        if name in dataset.variables and dataset[name].dims == (dim,):
            return dataset[name].values
    raise InputError(
        f"{path}: no variable that gives the values of the dimension {dim}: expected "
        f"{' or '.join(ALIASES[axis])} over ({dim})"
    )


def _names(dims: tuple[Hashable, ...]) -> str:
    return f"({', '.join(map(str, dims))})"


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) + " values (time x y x x)"
