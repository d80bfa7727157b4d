"""From a source (a system or a file) and a run to the dataset of that run."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pyro_msm.cli.shell import say
from pyro_msm.config import Config
from pyro_msm.errors import InputError
from pyro_msm.files import replacing
from pyro_msm.presets import is_system
from pyro_msm.progress import progress_bar
from pyro_msm.runs import RunDirectory

if TYPE_CHECKING:
    import xarray as xr


def absolute(source: str) -> str:
    """A file's absolute path, so that a run finds it from anywhere; a system's name as it is."""
    return source if is_system(source) else str(Path(source).resolve())


def fingerprint(source: str) -> str | None:
    """Size and time of change of a data file, by which a changed one is told; None for a system.

    Raises:
        InputError: there is no such file.
    """
    if is_system(source):
        return None
    path = Path(source)
    if not path.exists():
        raise InputError(f"no such file: {source}")
    # A Zarr store is a folder of files.
    stats = [file.stat() for file in (path.rglob("*") if path.is_dir() else [path])]
    newest = max((stat.st_mtime for stat in stats), default=0.0)
    changed = datetime.datetime.fromtimestamp(newest, datetime.UTC).isoformat()
    return f"{sum(stat.st_size for stat in stats)} bytes, changed {changed}"


def simulate(config: Config, path: Path, quiet: bool) -> None:
    """Writes the dataset that the ``data`` section of the configuration describes to a file."""
    from pyro_msm.data import systems

    data = config.data
    system = systems.get(data.source, **data.options)
    counts = {
        "train": data.train,
        "validation": data.validation,
        "test": data.test,
        "extrapolation": data.extrapolation,
    }
    seed = config.seed if data.seed is None else data.seed
    say(_announcement(config, system.split_on == "time", sum(counts.values()), seed))
    with progress_bar("simulating", enabled=not quiet) as update:
        system.simulate_to(path, counts, seed=seed, noise_std=data.noise_std, progress=update)


def _announcement(config: Config, one_record: bool, count: int, seed: int) -> str:
    """What is about to be simulated, or read."""
    data = config.data
    if not one_record:
        return f"Simulating {count} trajectories of {data.source} (seed {seed})."
    if file := data.options.get("file"):
        doing = f"Reading the record of {data.source} from {file}"
    else:
        doing = f"Simulating one record of {data.source} (seed {seed})"
    return f"{doing}, split in time: data.train, data.validation and data.test do not apply."


def new_dataset(config: Config, path: Path, quiet: bool) -> xr.Dataset:
    """The dataset for a new run: simulated into the file ``path``, or the user's file, validated.

    Raises:
        InputError: the file is missing or is no dataset.
    """
    from pyro_msm import data

    if is_system(config.data.source):
        simulate(config, path, quiet)
        return data.open(path, check_values=False)
    return _numbered(data.open(config.data.source))


def dataset_of(run: RunDirectory) -> xr.Dataset:
    """The dataset of a run: ``RUN/data.nc`` if it was simulated, else the user's file.

    Raises:
        InputError: the file is gone, or has changed since the run was made.
    """
    from pyro_msm import data

    config = run.config
    source, then = config.data.source, config.data.fingerprint
    if is_system(source):
        if not run.data.exists():  # killed while it was written
            simulate(config, run.data, quiet=True)
        return data.open(run.data, check_values=False)
    if not Path(source).exists():
        raise InputError(f"{source}, the data file of {run.path}, is gone: put it back")
    now = fingerprint(source)
    if then is not None and now != then:
        raise InputError(
            f"{source} is no longer the data file with which {run.path} was made "
            f"(then {then}; now {now}): put it back, or train anew"
        )
    # The same file as then, when its values were checked.
    return _numbered(data.open(source, check_values=then is None))


def _numbered(dataset: xr.Dataset) -> xr.Dataset:
    """With a coordinate that tells trajectories apart, where the file has none."""
    if "trajectory" in dataset.coords:
        return dataset
    return dataset.assign_coords(trajectory=range(dataset.sizes["trajectory"]))


def check_output(path: Path, force: bool, suffixes: tuple[str, ...] = (".nc", ".zarr")) -> None:
    """Raises ``InputError`` if ``path`` has another suffix than these, or exists already."""
    if path.suffix not in suffixes:
        raise InputError(f"{path}: the output's name must end in {' or '.join(suffixes)}")
    if path.exists() and not force:
        raise InputError(f"{path} exists: choose another name or replace it with --force")


def write_forecast(forecast: xr.Dataset, path: Path) -> None:
    """Writes a forecast (member, trajectory, time, …) to a NetCDF file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        forecast.to_netcdf(temporary, engine="netcdf4")
