"""The reader of the public cylinder data set, on small files of the same form."""

import base64
import zlib

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal

from pyro_msm import data
from pyro_msm.data import systems
from pyro_msm.errors import InputError

TIMES, ROWS, COLUMNS = 16, 8, 64
SHAPE = (TIMES, ROWS, COLUMNS)
AXES = {
    "tdim": np.linspace(0, 15, TIMES),
    "ydim": np.linspace(-0.5, 0.5, ROWS),
    "xdim": np.linspace(-0.5, 7.5, COLUMNS),
}


@pytest.fixture
def velocity():
    return np.random.default_rng(0).standard_normal((2, *SHAPE)).astype(np.float32)


def published(velocity):
    parts = {name: (tuple(AXES), part) for name, part in zip("uv", velocity, strict=True)}
    axes = {name: (name, values.astype(np.float32)) for name, values in AXES.items()}
    return xr.Dataset({**parts, **axes, "Re": ("const", np.float32([160]))})


@pytest.fixture
def file(tmp_path, velocity):
    path = tmp_path / "cylinder2d.nc"
    published(velocity).to_netcdf(path, engine="netcdf4")
    return path


def test_left_half_with_time_first_and_x_before_y(file, velocity):
    record = data.read_cgl(file, shape=SHAPE)
    assert record["field"].dims == ("trajectory", "time", "channel", "x", "y")
    assert_array_equal(record["field"][0], velocity[..., :32].transpose(1, 0, 3, 2))
    assert_allclose(record["x"], AXES["xdim"][:32], atol=1e-6)
    assert_allclose(record["time"], AXES["tdim"])
    assert record.attrs["boundary"] == ["open", "wall"]
    assert_allclose(record.attrs["domain"], [32 * 8 / 63, 8 / 7], rtol=1e-5)
    assert record["split"].values.tolist() == ["train"] * 14 + ["validation", "test"]
    whole = data.read_cgl(file, shape=None, half=False)
    assert whole.sizes["x"] == COLUMNS


def test_the_system_reads_its_file(file, velocity):
    options = {"file": str(file), "points": ROWS, "frames": TIMES}
    record = systems.get("cylinder-2d", **options).simulate()
    assert_array_equal(record["field"][0, :, 1], velocity[1, ..., :32].swapaxes(1, 2))
    noisy = systems.get("cylinder-2d", **options).simulate(noise_std=0.1, seed=3)
    assert_array_equal(noisy["clean"], record["field"])
    # 8192 values: a standard error of 0.8 %, so five of them.
    assert_allclose((noisy["field"] - noisy["clean"]).values.std(), 0.1, rtol=0.04)
    with pytest.raises(InputError, match="has no extrapolation split"):
        systems.get("cylinder-2d", **options).simulate({"train": 1, "extrapolation": 1})
    with pytest.raises(InputError, match="expected 1501 x 80 x 640 values"):
        systems.get("cylinder-2d", file=str(file)).simulate()


def test_other_names_of_the_axes(tmp_path, velocity):
    path = tmp_path / "renamed.nc"
    dataset = published(velocity).rename_vars(tdim="times").rename_dims(ydim="y")
    dataset.rename_vars(ydim="y").to_netcdf(path, engine="netcdf4")
    assert_allclose(data.read_cgl(path, shape=None)["time"], AXES["tdim"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.drop_vars("v"), "no variable v: expected u and v over"),
        (lambda d: d.drop_vars(["u", "v"]), "no variable u and v"),
        (lambda d: d.isel(xdim=slice(60)), "u has 16 x 8 x 60 values .* expected 16 x 8 x 64"),
        (lambda d: d.isel(tdim=0), r"u has dimensions \(ydim, xdim\) and v \(ydim, xdim\): exp"),
        (lambda d: d.assign(v=d["v"].transpose()), r"and v \(xdim, ydim, tdim\): expected"),
        (lambda d: d.drop_vars("tdim"), "no variable that gives the values of the dimension tdim"),
    ],
)
def test_wrong_files_are_told_in_one_line(tmp_path, velocity, change, message):
    path = tmp_path / "wrong.nc"
    change(published(velocity)).to_netcdf(path, engine="netcdf4")
    with pytest.raises(InputError, match=message) as told:
        data.read_cgl(path, shape=SHAPE)
    assert "\n" not in str(told.value)


def test_no_file_and_no_netcdf_are_told(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        data.read_cgl(tmp_path / "none.nc")
    (tmp_path / "text.nc").write_text("not NetCDF at all")
    with pytest.raises(InputError, match="is not a readable NetCDF file"):
        data.read_cgl(tmp_path / "text.nc")


def encoded(values, form, header):
    """The text or bytes of one array as VTK writes it."""
    raw = values.astype("<f4").tobytes()
    length = np.dtype(header).type
    if form == "ascii":
        return " ".join(map(str, values.ravel())).encode()
    if form == "zlib":
        blocks = [zlib.compress(raw[i : i + 1024]) for i in range(0, len(raw), 1024)]
        sizes = [len(block) for block in blocks]
        head = np.array([len(blocks), 1024, len(raw) % 1024, *sizes], length).tobytes()
        return base64.b64encode(head) + base64.b64encode(b"".join(blocks))
    whole = length(len(raw)).tobytes() + raw
    return whole if form == "raw" else base64.b64encode(whole)


def image(arrays, form="ascii", header="u4", times=slice(None)):
    """A ``.vti`` file with point data ``arrays`` (time, y, x[, component])."""
    depth = len(next(iter(arrays.values()))[times])
    last = [COLUMNS - 1, ROWS - 1, depth - 1]
    step = [8 / (COLUMNS - 1), 1 / (ROWS - 1), 1.0]
    kind = {"u4": "UInt32", "u8": "UInt64"}[header]
    squeeze = ' compressor="vtkZLibDataCompressor"' if form == "zlib" else ""
    inline = {"zlib": "binary", "raw": "appended"}.get(form, form)
    body, appended = b"", b""
    for name, values in arrays.items():
        part = encoded(values[times], form, header)
        components = values.shape[3] if values.ndim == 4 else 1
        body += (
            f'<DataArray type="Float32" Name="{name}" NumberOfComponents="{components}" '
            f'format="{inline}" offset="{len(appended)}">'
        ).encode()
        body += (b"" if form == "raw" else part) + b"</DataArray>"
        appended += part if form == "raw" else b""
    tail = b'<AppendedData encoding="raw">_' + appended + b"</AppendedData>" if appended else b""
    extent = " ".join(f"0 {end}" for end in last)
    return (
        f'<?xml version="1.0"?><VTKFile type="ImageData" byte_order="LittleEndian" '
        f'header_type="{kind}"{squeeze}><ImageData WholeExtent="{extent}" Origin="-0.5 -0.5 0" '
        f'Spacing="{" ".join(map(str, step))}"><Piece Extent="{extent}"><PointData>'
    ).encode() + body + b"</PointData></Piece></ImageData>" + tail + b"</VTKFile>"  # fmt: skip


@pytest.mark.parametrize(
    ("form", "header"), [("ascii", "u4"), ("binary", "u4"), ("zlib", "u8"), ("raw", "u8")]
)
def test_vtk_volume_in_all_encodings(tmp_path, velocity, form, header):
    path = tmp_path / "cylinder2d.vti"
    path.write_bytes(image(dict(zip("uv", velocity, strict=True)), form, header))
    record = data.read_cgl(path, shape=SHAPE)
    assert_array_equal(record["field"][0], velocity[..., :32].transpose(1, 0, 3, 2))
    assert_allclose(record["x"], AXES["xdim"][:32])
    assert_allclose(record["y"], AXES["ydim"])
    assert_allclose(record["time"], AXES["tdim"])


def test_vtk_series_of_vectors(tmp_path, velocity):
    vectors = np.stack([*velocity, np.zeros(SHAPE, np.float32)], axis=-1)
    for index in range(TIMES):
        part = image({"velocity": vectors}, "binary", times=slice(index, index + 1))
        (tmp_path / f"flow{index}.vti").write_bytes(part)
    record = data.read_cgl(tmp_path, shape=SHAPE)
    assert_array_equal(record["field"][0], velocity[..., :32].transpose(1, 0, 3, 2))
    assert_allclose(record["time"], AXES["tdim"])


def test_wrong_images_are_told(tmp_path, velocity):
    path = tmp_path / "wrong.vti"
    whole = image({"u": velocity[0]}, "binary")
    path.write_bytes(whole)
    with pytest.raises(InputError, match="no velocity among its point data u: expected"):
        data.read_cgl(path, shape=SHAPE)
    path.write_bytes(whole[:2000])
    with pytest.raises(InputError, match="is not readable VTK image data"):
        data.read_cgl(path, shape=SHAPE)
    path.write_bytes(whole.replace(b"ImageData", b"PolyData"))
    with pytest.raises(InputError, match="of type PolyData: expected ImageData"):
        data.read_cgl(path, shape=SHAPE)
    with pytest.raises(InputError, match=r"1 \.vti files: expected one for each"):
        data.read_cgl(tmp_path, shape=SHAPE)
