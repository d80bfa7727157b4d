"""Every wrong dataset is told in one line that names what to do; every incomplete one is filled."""

import logging

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal

from pyro_msm import data
from pyro_msm.errors import InputError


def complete(trajectories=4, times=6, points=8):
    shape = (trajectories, times, 1, points)
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return xr.Dataset(
        {"field": (("trajectory", "time", "channel", "x"), values)},
        coords={
            "time": 0.1 * np.arange(times),
            "x": np.arange(points) / points,
            "channel": ["u"],
            "trajectory": np.arange(trajectories),
            "split": ("trajectory", ["train", "train", "validation", "test"][:trajectories]),
        },
        attrs={"boundary": ["periodic"], "domain": [1.0], "noise_std": 0.1},
    )


def with_values(name, place, value):
    def change(d):
        changed = d.get(name, d["field"]).copy(deep=True)
        changed.values[place] = value
        return d.assign({name: changed})

    return change


def recoordinate(axis, values):
    return lambda d: d.assign_coords({axis: (axis, np.asarray(values))})


def resplit(dim, values):
    return lambda d: d.drop_vars("split").assign_coords(split=(dim, values))


def extra(name, dims, values):
    return lambda d: d.assign({name: (dims, values)})


def forced(times, values=None):
    """With a forcing at times of its own, or at ``times`` without a coordinate, if a number."""

    def change(d):
        count = times if isinstance(times, int) else len(times)
        filled = np.ones((4, count, 1)) if values is None else values
        changed = d.assign(forcing=(("trajectory", "forcing_time", "component"), filled))
        return changed if isinstance(times, int) else changed.assign_coords(forcing_time=times)

    return change


WRONG = {
    "no field": (
        lambda d: d.rename(field="u").assign(v=1.0),
        r"no variable field \(nor particles, nor path\); found u, v: rename",
    ),
    "two variables": (
        lambda d: d.assign(path=d["field"]),
        "holds field and path: expected exactly",
    ),
    "unknown dimension": (
        lambda d: d.rename(x="lon"),
        r"field has dimensions \(trajectory, time, channel, lon\): expected \(trajectory, time, "
        r"channel, x\) \(unknown lon; missing x\)",
    ),
    "no time": (lambda d: d.isel(time=0, drop=True), "missing time"),
    "wrong order": (
        lambda d: d.transpose("trajectory", "x", "channel", "time"),
        r'expected the order \(trajectory, time, channel, x\); use dataset.transpose\("traj',
    ),
    "empty": (lambda d: d.isel(time=slice(0)), "field is empty: its dimension time has no entries"),
    "text": (lambda d: d.assign(field=d["field"].astype(str)), "field has type .*real numbers"),
    "complex": (lambda d: d.assign(field=d["field"] * 1j), "field has type complex64"),
    "NaN": (
        with_values("field", (1, slice(2, 4), 0, 3), np.nan),
        "field has 2 values that are NaN or infinite .* first at index trajectory 1, time 2, "
        "channel 0, x 3: repair them, or add a boolean variable mask",
    ),
    "infinite": (with_values("field", (0, 0, 0, 0), np.inf), "field has 1 values that are NaN"),
    "too large": (
        lambda d: d.assign(field=d["field"].astype(float) * 1e200),
        "infinite .in single precision",
    ),
    "NaN in clean": (with_values("clean", (0, 0, 0, 1), np.nan), "clean has 1 values .* x 1"),
    "NaN marked observed": (
        lambda d: with_values("field", (0, 1, 0, 2), np.nan)(d).assign(
            mask=d["field"] == d["field"]
        ),
        "time 1, channel 0, x 2: the mask marks them as observed",
    ),
    "no time values": (lambda d: d.drop_vars("time"), "no coordinate time: add one"),
    "decreasing time": (
        recoordinate("time", [0, 1, 2, 1.5, 4, 5]),
        r"time decreases at index 3 \(2, then 1.5\)",
    ),
    "repeated time": (recoordinate("time", [0, 1, 1, 2, 3, 4]), "time repeats a value at index 2"),
    "uneven time": (
        recoordinate("time", [0, 1, 2, 3, 4, 7]),
        r"time is not uniform \(step 3 after index 4, median step 1\)",
    ),
    "dates": (
        recoordinate("time", np.datetime64("2000-01-01") + np.arange(6)),
        "time has type datetime64.*expected numbers",
    ),
    "NaN in time": (recoordinate("time", [0, 1, 2, np.nan, 4, 5]), "time holds NaN"),
    "uneven x": (recoordinate("x", [0, 1, 2, 3, 4, 5, 6, 9]), "x is not uniform"),
    "repeated x": (recoordinate("x", [0, 1, 1, 3, 4, 5, 6, 7]), "x repeats a value at index 2"),
    "one point": (lambda d: d.isel(x=[0]), "axis x has 1 point"),
    "unknown boundary": (
        lambda d: d.assign_attrs(boundary=["reflecting"]),
        r"boundary is \['reflecting'\]: expected one of periodic, wall, open for each .* x",
    ),
    "too many boundaries": (
        lambda d: d.assign_attrs(boundary=["wall", "wall"]),
        "boundary is .*for each of the axes x",
    ),
    "no length": (lambda d: d.assign_attrs(domain=[0.0]), r"domain is \[0.0\]: expected one pos"),
    "length in words": (lambda d: d.assign_attrs(domain="long"), "domain is .*positive length"),
    "end point twice": (
        lambda d: d.assign_coords(x=np.linspace(0, 1, 8)),
        "domain says 1 for the periodic axis x, .* the last point repeats the first one",
    ),
    "wrong length": (
        lambda d: d.assign_attrs(domain=[2.0], boundary=["wall"]),
        r"domain says 2 for the wall axis x.* 1 \(points.* or 0.875 \(outer points",
    ),
    "repeated label": (
        lambda d: d.assign_coords(trajectory=[0, 1, 1, 2]),
        "coordinate trajectory holds 1 more than once",
    ),
    "unknown split": (
        resplit("trajectory", ["train", "tset", "train", "test"]),
        "split holds 'tset': expected only train, validation, test, extrapolation",
    ),
    "split on x": (resplit("x", ["test"] * 8), r"split has dimensions \(x\): expected"),
    "broken split": (
        resplit("time", ["train", "test", "train", "test", "test", "test"]),
        r"split on time is not contiguous \(4 blocks of 2 splits\)",
    ),
    "clean of other dimensions": (
        lambda d: d.assign(clean=d["field"].isel(time=0)),
        "clean has dimensions .*expected those of field",
    ),
    "mask of other dimensions": (extra("mask", ("x",), np.ones(8, bool)), "mask has dimensions"),
    "mask of other values": (
        lambda d: d.assign(mask=2 * xr.ones_like(d["field"])),
        "mask has type float32 with values other than 0 and 1",
    ),
    "parameters": (
        extra("parameters", ("trajectory",), np.ones(4)),
        r"parameters has dimensions \(trajectory\): expected \(trajectory, parameter\)",
    ),
    "NaN in parameters": (
        extra("parameters", ("trajectory", "parameter"), np.full((4, 2), np.nan)),
        "parameters has 8 values that are NaN .* trajectory 0, parameter 0",
    ),
    "forcing": (
        extra("forcing", ("time", "component"), np.ones((6, 1))),
        r"forcing has dimensions \(time, component\)",
    ),
    "forcing at times nobody tells": (forced(3), "no coordinate forcing_time: add one"),
    "forcing without times": (forced([]), "forcing is empty: its dimension forcing_time has no"),
    "forcing at decreasing times": (
        forced([0.0, 1.0, 0.5]),
        r"forcing_time decreases at index 2 .* dataset\.sortby\('forcing_time'\)",
    ),
    "forcing at repeated times": (forced([0.0, 1.0, 1.0]), "forcing_time repeats a value"),
    "forcing at times that are not finite": (
        forced([0.0, np.inf]),
        "coordinate forcing_time holds NaN or infinite values",
    ),
    "NaN in a forcing at times of its own": (
        forced([0.0, 1.0], np.full((4, 2, 1), np.nan)),
        "forcing has 8 values that are NaN .* trajectory 0, forcing_time 0",
    ),
    "forcing at times of its own in another order": (
        lambda d: (
            forced([0.0, 1.0])(d)
            .transpose("forcing_time", "trajectory", ...)
            .pipe(lambda t: t.assign(field=d["field"]))
        ),
        r"forcing has dimensions .*: expected \(trajectory, forcing_time, component\)",
    ),
    "negative noise": (lambda d: d.assign_attrs(noise_std=-1.0), "noise_std is -1.0"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_datasets_are_told_in_one_line(name):
    change, message = WRONG[name]
    with pytest.raises(InputError, match=message) as caught:
        data.validate(change(complete()), source="mine.nc")
    assert str(caught.value).startswith("mine.nc: ")
    assert "\n" not in str(caught.value)


def test_a_complete_dataset_passes_silently_and_uncopied(caplog):
    given = complete()
    checked = data.validate(given)
    xr.testing.assert_identical(checked, given.transpose(*checked.dims))
    assert np.shares_memory(checked["field"].values, given["field"].values)
    assert not caplog.records


def test_the_position_of_a_bad_value_is_right_in_later_blocks(monkeypatch):
    monkeypatch.setattr("pyro_msm.data.lazy.BLOCK_VALUES", 20)
    bad = with_values("field", (3, 5, 0, 7), np.nan)(complete())
    with pytest.raises(InputError, match=r"1 values .* trajectory 3, time 5, channel 0, x 7:"):
        data.validate(bad)


def test_a_bare_record_is_filled_in_and_said(caplog):
    values = np.random.default_rng(0).standard_normal((20, 10))
    bare = xr.Dataset({"field": (("time", "x"), values)}, {"time": np.arange(20)})
    with caplog.at_level(logging.WARNING, logger="pyro_msm"):
        full = data.validate(bare, source="bare.nc")
    said = "\n".join(record.getMessage() for record in caplog.records)
    for expected in (
        "field has no axis trajectory and channel; added",
        "no attribute boundary; every axis taken as open",
        "no coordinate x; taken as 10 cells of width 1",
        "no attribute domain; axis x taken as 10 long",
        "no variable split; split on time, in this order: 14 train, 3 validation, 3 test",
    ):
        assert f"bare.nc: {expected}" in said
    assert full["field"].dims == ("trajectory", "time", "channel", "x")
    assert full["field"].dtype == np.float32
    assert full["time"].dtype == np.float64
    assert full.attrs["boundary"] == ["open"]
    assert_allclose(full["x"], np.arange(10) + 0.5)
    assert data.select(full, "validation")["time"].values.tolist() == [14, 15, 16]
    assert "field" not in bare.coords
    assert bare["field"].dims == ("time", "x")


@pytest.mark.parametrize(("count", "held_out"), [(3, 1), (10, 2), (20, 3), (100, 15)])
def test_trajectories_are_split_where_there_are_several(count, held_out):
    bare = xr.Dataset(
        {"field": (("trajectory", "time", "x"), np.zeros((count, 2, 4)))}, {"time": [0.0, 1.0]}
    )
    full = data.validate(bare)
    assert data.select(full, "test").sizes["trajectory"] == held_out
    assert data.select(full, "validation").sizes["trajectory"] == held_out
    assert data.select(full, "train").sizes["trajectory"] == count - 2 * held_out
    assert_array_equal(full["split"], data.validate(bare)["split"])


def test_initial_conditions_alone_are_a_test_split():
    bare = xr.Dataset({"field": (("time", "x"), np.zeros((1, 4)))}, {"time": [3.0]})
    assert data.select(data.validate(bare), "test")["time"].item() == 3.0


def test_domain_is_inferred_for_a_periodic_axis():
    given = complete().drop_attrs(deep=False).assign_attrs(boundary="periodic")
    assert_allclose(data.validate(given).attrs["domain"], [1.0])


def test_periodic_axis_without_coordinate_takes_the_domain():
    given = complete().drop_vars("x").assign_attrs(domain=[4.0])
    assert_allclose(data.validate(given)["x"], 0.5 * np.arange(8))


def test_node_and_cell_centred_axes_are_told_apart():
    nodes = complete().assign_coords(x=np.linspace(0, 1, 8)).assign_attrs(boundary=["wall"])
    assert data.node_centred(data.validate(nodes)) == [True]
    assert data.node_centred(data.validate(complete())) == [False]


def test_two_space_dimensions():
    given = complete().expand_dims(y=np.arange(3) / 3, axis=4)
    given = given.assign_attrs(boundary=["periodic", "open"], domain=(1.0, 1.0))
    full = data.validate(given)
    assert data.space_axes(full) == ["x", "y"]
    assert full.attrs["domain"] == [1.0, 1.0]
    with pytest.raises(InputError, match="each of the axes x, y"):
        data.validate(given.assign_attrs(domain=[1.0]))


def test_unobserved_values_may_be_anything():
    given = with_values("field", (0, 1, 0, 2), np.nan)(complete())
    given["mask"] = np.isfinite(given["field"]).astype("int8")
    assert data.validate(given)["mask"].dtype == np.bool_


def test_single_precision_times_become_exact():
    given = complete().assign_coords(time=np.arange(6, dtype=np.float32) * np.float32(0.1) + 7)
    assert_allclose(np.diff(np.diff(data.validate(given)["time"])), 0, atol=1e-15)


def test_paths_may_be_irregular_and_particles_may_not():
    times = [0.0, 0.1, 0.5, 2.0]
    path = xr.Dataset({"path": (("time", "component"), np.zeros((4, 2)))}, {"time": times})
    full = data.validate(path)
    assert data.variable(full) == "path"
    assert full["path"].dims == ("trajectory", "time", "component")
    dims = ("trajectory", "time", "particle", "component")
    particles = xr.Dataset({"particles": (dims, np.zeros((3, 4, 5, 2)))}, {"time": times})
    with pytest.raises(InputError, match="time is not uniform"):
        data.validate(particles)
    assert data.variable(data.validate(particles.assign_coords(time=range(4)))) == "particles"


def test_forcing_and_parameters_of_a_single_record():
    given = complete(1).isel(trajectory=0, drop=True).drop_vars("split", errors="ignore")
    given["forcing"] = (("time", "component"), np.ones((6, 2)))
    given["parameters"] = (("parameter",), [1, 2])
    full = data.validate(given)
    assert full["forcing"].dims == ("trajectory", "time", "component")
    assert full["parameters"].dims == ("trajectory", "parameter")
    assert full["parameters"].dtype == np.float64


def test_forcing_may_have_irregular_times_of_its_own():
    given = complete(1).isel(trajectory=0, drop=True).drop_vars("split", errors="ignore")
    given["forcing"] = (("forcing_time", "component"), np.ones((3, 2)))
    full = data.validate(given.assign_coords(forcing_time=[0, 1, 5]))
    assert full["forcing"].dims == ("trajectory", "forcing_time", "component")
    assert full["forcing_time"].dtype == np.float64
    assert_array_equal(full["time"], given["time"])


def test_select_returns_what_the_split_says():
    given = data.validate(complete())
    train = data.select(given, "train")
    assert_array_equal(train["trajectory"], [0, 1])
    assert np.shares_memory(train["field"].values, given["field"].values)
    scattered = resplit("trajectory", ["train", "test", "train", "test"])(given)
    assert_array_equal(data.select(scattered, "test")["trajectory"], [1, 3])


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (
            "extrapolation",
            r"no extrapolation split: its variable split\(trajectory\) holds train, ",
        ),
        ("tests", "unknown split 'tests'"),
    ],
)
def test_absent_splits_are_told(split, message):
    with pytest.raises(InputError, match=message):
        data.select(data.validate(complete()), split)
