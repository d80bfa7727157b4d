"""Files: what is written comes back the same, and no damaged file passes."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_array_equal

from pyro_msm import data
from pyro_msm.errors import InputError

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
    monkeypatch.setattr("pyro_msm.data.io.IN_MEMORY", 0)
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


def test_the_page_for_users_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = Path(__file__).parents[1] / "docs" / "data-schema.md"
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    assert blocks
    namespace: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(page), "exec"), namespace)
