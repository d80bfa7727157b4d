"""Files: what is written comes back the same, and no damaged file passes."""

import errno
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_array_equal

from pyro_msm import data
from pyro_msm.data import io, lazy
from pyro_msm.errors import InputError
from tests.counted_reads import counted

FORMATS = ["kdv.nc", "kdv.zarr"]


@pytest.fixture
def simulated():
    return data.systems.get("kdv-1d").simulate({"train": 1, "test": 2}, frames=3, points=64)


def two_dimensional():
    values = np.random.default_rng(0).standard_normal((2, 3, 2, 4, 6)).astype(np.float32)
    dims = ("trajectory", "time", "channel", "x", "y")
    dataset = xr.Dataset(
        {
            "field": (dims, values),
            "mask": (dims, values > 0),
            "parameters": (("trajectory", "parameter"), np.ones((2, 1))),
            "forcing": (("trajectory", "time", "component"), np.ones((2, 3, 1))),
        },
        coords={
            "time": [0.0, 0.5, 1.0],
            "channel": ["u", "v"],
            "split": ("time", ["train", "train", "test"]),
        },
        attrs={"boundary": ["periodic", "wall"], "domain": [1.0, 2.0], "seed": np.int64(3)},
    )
    return data.validate(dataset)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("make", ["one", "two"])
def test_what_is_saved_comes_back_identical(tmp_path, simulated, name, make):
    given = simulated if make == "one" else two_dimensional()
    data.save(given, tmp_path / name)
    opened = data.open(tmp_path / name)
    xr.testing.assert_identical(opened, given)
    assert opened.attrs == given.attrs
    assert isinstance(opened.attrs["boundary"], list)
    assert [type(length) for length in opened.attrs["domain"]] == [float] * len(
        given.attrs["domain"]
    )


@pytest.mark.parametrize("name", FORMATS)
def test_only_large_files_stay_on_disk(tmp_path, simulated, name, monkeypatch):
    data.save(simulated, tmp_path / name)
    assert data.open(tmp_path / name)["field"].variable._in_memory
    monkeypatch.setattr(lazy, "IN_MEMORY", 0)
    with data.open(tmp_path / name) as large:
        assert not large["field"].variable._in_memory


@pytest.mark.parametrize("name", FORMATS)
def test_saving_replaces_what_was_there_even_while_it_is_open(tmp_path, simulated, name):
    data.save(simulated, tmp_path / name)
    opened = data.open(tmp_path / name)
    data.save(opened, tmp_path / name)
    data.save(data.select(opened, "test"), tmp_path / name)
    assert_array_equal(data.open(tmp_path / name)["split"], ["test", "test"])
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", FORMATS)
def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, simulated, name, monkeypatch):
    data.save(simulated, tmp_path / name)

    def fail(dataset, path, **_):
        Path(path).write_text("half")
        raise OSError("no space left")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", fail)
    monkeypatch.setattr(xr.Dataset, "to_zarr", fail)
    with pytest.raises(OSError, match="no space left"):
        data.save(simulated * 2, tmp_path / name)
    monkeypatch.undo()
    xr.testing.assert_identical(data.open(tmp_path / name), simulated)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_saving_makes_the_folder_and_checks_the_dataset(tmp_path, simulated):
    data.save(simulated, tmp_path / "new" / "kdv.nc")
    assert (tmp_path / "new" / "kdv.nc").is_file()
    with pytest.raises(InputError, match=r"bad.nc: no variable field"):
        data.save(simulated.rename(field="u"), tmp_path / "bad.nc")


@pytest.mark.parametrize("action", ["open", "save"])
def test_other_suffixes_are_told(tmp_path, simulated, action):
    path = tmp_path / "kdv.csv"
    path.write_text("1,2")
    with pytest.raises(InputError, match=r"suffix '.csv': expected .nc \(NetCDF\) or .zarr"):
        data.open(path) if action == "open" else data.save(simulated, path)


def test_missing_files_are_told(tmp_path):
    with pytest.raises(InputError, match=r"no such file: .*missing.nc"):
        data.open(tmp_path / "missing.nc")


def test_foreign_files_are_told(tmp_path):
    (tmp_path / "text.nc").write_text("hello")
    (tmp_path / "empty.nc").touch()
    (tmp_path / "folder.zarr").mkdir()
    for name, kind in (("text.nc", "NetCDF"), ("empty.nc", "NetCDF"), ("folder.zarr", "Zarr")):
        with pytest.raises(InputError, match=f"{name} is not a readable {kind}") as caught:
            data.open(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["NETCDF4", "NETCDF3_64BIT"])
def test_truncated_netcdf_files_are_told(tmp_path, simulated, share, kind):
    path = tmp_path / "cut.nc"
    simulated.to_netcdf(path, format=kind, engine="netcdf4")
    whole = path.read_bytes()
    data.open(path)
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=re.escape("cut.nc is not a readable NetCDF file")):
        data.open(path)


def test_incomplete_zarr_folders_are_told(tmp_path, simulated):
    path = tmp_path / "cut.zarr"

    def damaged():
        data.save(simulated, path)
        return next(part for part in sorted((path / "field").iterdir()) if part.name[0] == "1")

    chunk = damaged()
    chunk.write_bytes(chunk.read_bytes()[:50])
    with pytest.raises(InputError, match=r"cut.zarr is not a readable Zarr folder"):
        data.open(path)
    damaged().unlink()
    with pytest.raises(InputError, match=r"field has 192 values .* trajectory 1, time 0"):
        data.open(path)
    data.save(simulated, path)
    shutil.rmtree(path / "field")
    (path / ".zmetadata").unlink()
    with pytest.raises(InputError, match="no variable field"):
        data.open(path)


def test_time_units_are_left_alone(tmp_path, simulated):
    simulated["time"].attrs["units"] = "days since 2000-01-01"
    simulated.to_netcdf(tmp_path / "days.nc", engine="netcdf4")
    assert_array_equal(data.open(tmp_path / "days.nc")["time"], [0.0, 0.5, 1.0])


# --- data larger than memory -------------------------------------------------------------------


@pytest.fixture
def nothing_fits(monkeypatch):
    """As if the memory were too small for any dataset, and for more than a few values at once."""
    monkeypatch.setattr(lazy, "IN_MEMORY", 0)
    monkeypatch.setattr(lazy, "BLOCK_VALUES", 50)


def write_raw(dataset, path):
    """As a user would write it, without validation."""
    if path.suffix == ".nc":
        dataset.to_netcdf(path)
    else:
        dataset.to_zarr(path, zarr_format=2, consolidated=True)


def bare():
    """A record of another type, without an axis trajectory or channel, with gaps."""
    rng = np.random.default_rng(1)
    observed = rng.random((20, 8)) > 0.2
    return xr.Dataset(
        {
            "field": (("time", "x"), np.where(observed, rng.standard_normal((20, 8)), np.nan)),
            "mask": (("time", "x"), observed.astype(np.int16)),
        },
        {"time": 0.5 * np.arange(20), "x": np.arange(8.0)},
        {"boundary": "open", "domain": 8.0},
    )


@pytest.mark.parametrize("name", ["bare.nc", "bare.zarr"])
def test_what_is_filled_in_and_converted_stays_on_disk(tmp_path, nothing_fits, name):
    write_raw(bare(), tmp_path / name)
    expected = data.validate(bare())
    with data.open(tmp_path / name) as opened:
        for variable in ("field", "mask"):
            assert not lazy.is_in_memory(opened[variable])
        xr.testing.assert_identical(opened, expected)
        for place in (
            {"time": 3},
            {"trajectory": 0, "time": [7, 2]},
            {"trajectory": [0], "channel": 0, "x": slice(1, 7, 2)},
            {"trajectory": slice(None), "time": slice(2, 9, 3), "channel": [0, 0], "x": -1},
        ):
            xr.testing.assert_identical(opened.isel(place), expected.isel(place))
        test = data.select(opened, "test")
        assert not lazy.is_in_memory(test["field"])
        xr.testing.assert_identical(test, data.select(expected, "test"))


@pytest.mark.parametrize("name", FORMATS)
def test_large_files_are_checked_a_block_at_a_time(tmp_path, simulated, nothing_fits, name):
    simulated["field"][2, 1, 0, 40] = np.inf
    write_raw(simulated, tmp_path / name)
    with pytest.raises(InputError, match=r"field has 1 values .* trajectory 2, time 1, channel 0"):
        data.open(tmp_path / name)
    with data.open(tmp_path / name, check_values=False) as opened:
        assert not lazy.is_in_memory(opened["field"])


def test_checking_never_reads_more_than_a_block(simulated, nothing_fits):
    on_disk, reads = counted(simulated)
    data.validate(on_disk)
    assert sum(reads) == simulated["field"].size
    assert max(reads) == 64  # one snapshot, which is more than BLOCK_VALUES
    data.validate(on_disk, check_values=False)
    assert sum(reads) == simulated["field"].size


@pytest.mark.parametrize("name", FORMATS)
def test_saving_what_is_on_disk_copies_it_a_block_at_a_time(
    tmp_path, simulated, nothing_fits, name
):
    on_disk, reads = counted(simulated)
    data.save(on_disk, tmp_path / name)
    assert max(reads) == 64
    with data.open(tmp_path / name) as opened:
        xr.testing.assert_identical(opened.load(), simulated)
        data.save(opened, tmp_path / "again.nc")
        data.save(opened, tmp_path / "again.zarr")
    for again in ("again.nc", "again.zarr"):
        with data.open(tmp_path / again) as opened:
            xr.testing.assert_identical(opened, simulated)


def test_stores_that_stay_on_disk_have_small_chunks(tmp_path, monkeypatch):
    values = np.zeros((2, 3, 1, 160, 128), np.float32)
    dims = ("trajectory", "time", "channel", "x", "y")
    large = data.validate(xr.Dataset({"field": (dims, values)}, {"time": [0.0, 1.0, 2.0]}))
    for limit, chunks in ((large.nbytes, (1, 3, 1, 160, 128)), (0, (1, 1, 1, 160, 128))):
        monkeypatch.setattr(lazy, "IN_MEMORY", limit)
        data.save(large, tmp_path / "large.zarr")
        stored = xr.open_dataset(tmp_path / "large.zarr", engine="zarr")
        assert stored["field"].encoding["chunks"] == chunks


@pytest.mark.parametrize("name", FORMATS)
def test_what_comes_in_parts_is_there_only_when_all_parts_are(tmp_path, simulated, name):
    path = tmp_path / name
    parts = list(io._parts(simulated))

    def interrupted():
        yield parts[0]
        assert [p.name for p in tmp_path.iterdir()] != [name]
        assert not path.exists()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        io.save_parts(simulated, interrupted(), path)
    assert not list(tmp_path.iterdir())
    # What a killed process left is replaced.
    left = tmp_path / f".kdv.partial{path.suffix}"
    if name == "kdv.nc":
        left.write_text("half")
    else:
        (left / "field").mkdir(parents=True)
        (left / "field" / "0.0.0.0").write_text("half")
    io.save_parts(simulated, parts[::-1], path)
    xr.testing.assert_identical(data.open(path), data.validate(simulated))
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_full_disk_is_told_before_anything_is_written(tmp_path, simulated, monkeypatch):
    monkeypatch.setattr(
        io.shutil, "disk_usage", lambda _: SimpleNamespace(free=simulated.nbytes - 1)
    )
    message = r"the file takes 0.0 GiB and the disk of .* has 0.0 GiB left"
    with pytest.raises(InputError, match=message):
        data.save(simulated, tmp_path / "kdv.nc")
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fills_up_is_told(tmp_path, simulated):
    def parts():
        raise OSError(errno.ENOSPC, "No space left on device")
        yield

    with pytest.raises(InputError, match=r"cannot write .*kdv.zarr: No space left on device"):
        io.save_parts(simulated, parts(), tmp_path / "kdv.zarr")
    assert not list(tmp_path.iterdir())


def test_fill_values_other_than_nan_are_gaps(tmp_path, simulated):
    simulated["field"][1, 2, 0, 5] = np.nan
    encoding = {"field": {"_FillValue": np.float32(-999)}}
    simulated.to_netcdf(tmp_path / "gap.nc", encoding=encoding)
    with pytest.raises(InputError, match=r"field has 1 values .* trajectory 1, time 2, channel 0"):
        data.open(tmp_path / "gap.nc")


def test_what_no_machine_can_hold_is_told(simulated, monkeypatch):
    on_disk, reads = counted(simulated)
    monkeypatch.setattr(lazy.os, "sysconf", lambda _: 16)  # of 256 bytes
    with pytest.raises(InputError, match=r"DMD needs all values of field at once, .* GiB"):
        lazy.check_fits(on_disk["field"], "DMD")
    lazy.check_fits(simulated["field"], "DMD")
    assert not reads


def test_the_page_for_users_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = Path(__file__).parents[1] / "docs" / "data-schema.md"
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    assert blocks
    namespace: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(page), "exec"), namespace)
