"""Simulations that go to disk: the same numbers, in parts, and nothing half done."""

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from pyro_msm import data
from pyro_msm.cli import app
from pyro_msm.data.io import save_parts
from pyro_msm.data.systems import simulation
from pyro_msm.errors import InputError

COUNTS = {"train": 3, "validation": 1, "extrapolation": 1}


@pytest.fixture
def two_at_a_time(monkeypatch):
    """Parts of two trajectories of 3 frames of 64 points."""
    monkeypatch.setattr(simulation, "TOGETHER", 2 * 3 * 64)


@pytest.mark.parametrize("name", ["kdv-1d", "wave-1d-second-order", "wave-1d-hard"])
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_the_file_holds_what_simulate_returns(tmp_path, two_at_a_time, name, suffix):
    system = data.systems.get(name, points=64, frames=3)
    path = tmp_path / f"simulated{suffix}"
    system.simulate_to(path, COUNTS, seed=4, noise_std=0.1)
    expected = data.validate(system.simulate(COUNTS, seed=4, noise_std=0.1))
    opened = data.open(path)
    xr.testing.assert_identical(opened, expected)
    assert opened.attrs == expected.attrs
    assert [path.name for path in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["burgers-2d", "shallow-water-2d-hard"])
def test_planes_too(tmp_path, monkeypatch, name):
    monkeypatch.setattr(simulation, "TOGETHER", 1)
    system = data.systems.get(name, points=16, frames=3)
    system.simulate_to(tmp_path / "plane.nc", {"train": 2}, seed=1)
    expected = data.validate(system.simulate({"train": 2}, seed=1))
    xr.testing.assert_identical(data.open(tmp_path / "plane.nc"), expected)


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_forcing_too(tmp_path, suffix):
    system = data.systems.get("advection-diffusion-3d", points=20, frames=3, end_time=0.1)
    system.simulate_to(tmp_path / f"driven{suffix}", {"train": 2}, seed=1)
    expected = data.validate(system.simulate({"train": 2}, seed=1))
    xr.testing.assert_identical(data.open(tmp_path / f"driven{suffix}"), expected)


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_what_lacks_values_is_not_written(tmp_path, suffix):
    system = data.systems.get("advection-diffusion-1d", points=20, frames=3, end_time=0.1)
    whole = simulation.Simulation(system, {"train": 2}, 0, 0.0)
    form = data.validate(whole.form())
    lacking = [part for part in whole.parts() if part.name != "forcing"]
    with pytest.raises(ValueError, match="do not make up the whole of forcing"):
        save_parts(form, lacking, tmp_path / f"driven{suffix}")
    assert not list(tmp_path.iterdir())


def test_a_record_is_one_part(tmp_path, monkeypatch):
    record = data.systems.get("wave-1d", points=16, frames=10).simulate({"train": 1})
    record = record.drop_vars("split").assign_coords(split=("time", ["train"] * 8 + ["test"] * 2))
    cylinder = data.systems.get("cylinder-2d")
    asked = []

    def simulate(_, *given, **options):
        asked.append((given, options))
        return record

    monkeypatch.setattr(type(cylinder), "simulate", simulate)
    cylinder.simulate_to(tmp_path / "record.nc", {"train": 1}, 3, frames=10)
    assert asked == [(({"train": 1}, 3, None), {"frames": 10, "progress": None})]
    xr.testing.assert_identical(data.open(tmp_path / "record.nc"), data.validate(record))


def test_no_more_than_a_part_is_computed_at_once(tmp_path, two_at_a_time, monkeypatch):
    computed = []
    run = simulation.Simulation._run

    def noted(self, place, progress):
        noisy, clean = run(self, place, progress)
        computed.append(len(clean))
        return noisy, clean

    monkeypatch.setattr(simulation.Simulation, "_run", noted)
    done = []
    system = data.systems.get("kdv-1d", points=64, frames=3)
    system.simulate_to(tmp_path / "kdv.nc", COUNTS, progress=lambda *now: done.append(now))
    assert computed == [2, 2, 1]
    assert done == [(frames, 6) for frames in (1, 2, 3, 4, 5, 6)]


def test_the_form_takes_no_memory():
    system = data.systems.get("shallow-water-2d")
    whole = simulation.Simulation(system, {"train": 900}, 0, 0.01).form()
    assert whole["field"].shape == (900, 101, 1, 128, 128)
    assert whole["field"].values.base.nbytes == 4


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_solution_that_is_lost_leaves_no_file(tmp_path, two_at_a_time, suffix, monkeypatch):
    system = data.systems.get("kdv-1d", points=64, frames=3)
    calls = []

    def step(self, state, t, duration, generator=None):
        calls.append(t)
        return state * (np.inf if len(calls) > 3 else 1)

    monkeypatch.setattr(type(system), "step", step)
    with pytest.raises(InputError, match="kdv-1d does not stay finite"):
        system.simulate_to(tmp_path / f"kdv{suffix}", COUNTS)
    assert len(calls) == 4  # in the second part
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_an_interrupted_command_keeps_the_old_file_only(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"kdv{suffix}"
    small = ["--set", "data.options.points=64", "--set", "data.options.frames=3", "--quiet"]
    command = ["simulate", "kdv-1d", "-o", str(path), *small]
    assert CliRunner().invoke(app, command).exit_code == 0
    before = data.open(path)
    monkeypatch.setattr(simulation, "TOGETHER", 1)
    integrate = simulation.Simulation._integrate

    def interrupted(self, place, progress):
        if place.start:
            raise KeyboardInterrupt
        return integrate(self, place, progress)

    monkeypatch.setattr(simulation.Simulation, "_integrate", interrupted)
    result = CliRunner().invoke(app, [*command, "--force", "--seed", "5"])
    assert result.exit_code != 0
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    xr.testing.assert_identical(data.open(path), before)
