"""The command line around a real, tiny model: the whole path, resuming, and wrong input."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from pyro_msm import data as datasets
from pyro_msm.data import systems
from pyro_msm.inference import load_checkpoint

Cli = Callable[..., Any]


def settings(**values: Any) -> list[str]:
    """A run of a second: few points, frames, members and steps."""
    small: dict[str, Any] = {
        "data.train": 3, "data.validation": 1, "data.test": 2,
        "data.options.points": 40, "data.options.frames": 41,
        "model.macro": 10, "model.micro": 3, "model.hidden": 16, "model.drift_hidden": 16,
        "training.steps": 30, "training.windows": 4, "training.window_length": 4,
        "training.stride": 2, "training.validate_every": 15, "training.checkpoint_every": 10,
        "training.log_every": 10, "rollout.members": 5, "rollout.times": 11,
    }  # fmt: skip
    merged = small | {key.replace("__", "."): value for key, value in values.items()}
    return [part for key, value in merged.items() for part in ("--set", f"{key}={value}")]


@pytest.fixture(scope="module")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's file: 5 trajectories, no test split named."""
    path = tmp_path_factory.mktemp("data") / "mine.nc"
    data = systems.get("kdv-1d", points=40, frames=41).simulate({"train": 5}, seed=1)
    data[["field"]].drop_vars("split").to_netcdf(path)
    return path


def test_run_goes_all_the_way(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    result = cli("run", "kdv-1d", "--out", run, "--quiet", *settings())
    assert result.exit_code == 0, result.output
    scores = json.loads((run / "scores.json").read_text())
    assert scores["relative_error"]["mean"] > 0
    assert set(scores["baselines"]) == {"persistence", "mean-trajectory", "regression"}
    assert (run / "report.html").stat().st_size > 100_000
    again = cli("train", "kdv-1d", "--out", run, *settings())
    assert again.exit_code == 2
    assert "holds another run" in again.stderr


def test_k_steps_and_a_resumption_are_n_steps(cli: Cli, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert cli("train", "kdv-1d", "--out", whole, *settings()).exit_code == 0
    assert cli("train", "kdv-1d", "--out", parts, *settings(training__steps=14)).exit_code == 0
    resumed = cli("train", "kdv-1d", "--out", parts, "--resume", "--set", "training.steps=30")
    assert resumed.exit_code == 0, resumed.output
    one, other = (
        load_checkpoint(run / "checkpoints" / "last.safetensors", "training")[0]
        for run in (whole, parts)
    )
    assert one.keys() == other.keys()
    assert all(bool((one[name] == other[name]).all()) for name in one)


def test_an_ensemble_of_other_weights_is_not_scored(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("pyro_msm.analysis.report"), "png", lambda figure: "")
    run = tmp_path / "run"
    assert cli("run", "kdv-1d", "--out", run, "--quiet", *settings()).exit_code == 0
    assert cli("report", run).exit_code == 0
    longer = ("--resume", "--quiet", "--set", "training.steps=45")
    assert cli("train", "kdv-1d", "--out", run, *longer).exit_code == 0
    for command in ("evaluate", "report"):
        refused = cli(command, run, "--quiet")
        assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1), refused.output
        assert "other weights than those that are there now" in refused.stderr
        assert "pyro-msm rollout RUN --force" in refused.stderr
    assert cli("rollout", run, "--quiet", "--force").exit_code == 0
    assert "has no scores yet" in cli("report", run).stderr
    for command in ("evaluate", "report"):
        assert cli(command, run, "--quiet").exit_code == 0


def test_a_users_file_trains_and_sizes_are_said(cli: Cli, tmp_path: Path, data_file: Path) -> None:
    small = [*settings()]
    chosen = [p for p in small if p.startswith(("training", "rollout", "model.hidden", "model.dr"))]
    flags = [part for p in chosen for part in ("--set", p)]
    result = cli("run", data_file, "--out", tmp_path / "run", *flags)
    assert result.exit_code == 0, result.output
    assert "model.macro = [20] chosen" in result.stderr
    forecast = cli("forecast", tmp_path / "run", "--initial", data_file, "-o", tmp_path / "next.nc")
    assert forecast.exit_code == 0, forecast.output
    with xr.open_dataset(tmp_path / "next.nc") as found:
        assert found["field"].dims == ("member", "trajectory", "time", "channel", "x")
        assert found["unlike_training"].dims == ("trajectory",)
    with xr.open_dataset(data_file) as seen:
        datasets.save(datasets.validate(seen.assign(field=9 * seen["field"])), tmp_path / "odd.nc")
    odd = cli("forecast", tmp_path / "run", "--initial", tmp_path / "odd.nc", "-o",
              tmp_path / "odd_next.nc")  # fmt: skip
    assert odd.exit_code == 0, odd.output
    assert "initial snapshots show what no training snapshot did" in odd.stderr
    with xr.open_dataset(tmp_path / "odd_next.nc") as found:
        assert found["unlike_training"].all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model__macro": 7}, "model.macro = 7 does not divide the grid of 40 points"),
        ({"training__window_length": 50}, "a window needs 50 snapshots, the training trajectories"),
        ({"data__test": 0}, "test"),
        ({"rollout__members": 0}, "rollout.members"),
        ({"model__frame": '"comoving"', "model__micro": 2}, "model.micro must be at least 3"),
    ],
)
def test_wrong_sizes_end_in_one_line(
    cli: Cli, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    result = cli("run", "kdv-1d", "--out", tmp_path / "run", "--quiet", *settings(**change))
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    assert message in result.stderr
    assert not (tmp_path / "run" / "config.toml").exists()


@pytest.mark.parametrize(
    ("damage", "message"), [("cut", "truncated or no checkpoint"), ("gone", "has no checkpoint")]
)
def test_a_damaged_checkpoint_is_told(cli: Cli, tmp_path: Path, damage: str, message: str) -> None:
    run = tmp_path / "run"
    assert cli("train", "kdv-1d", "--out", run, *settings()).exit_code == 0
    for name in ("best", "last"):
        file = run / "checkpoints" / f"{name}.safetensors"
        if damage == "cut":
            file.write_bytes(file.read_bytes()[:500])
        else:
            file.unlink()
    result = cli("rollout", run, "--quiet")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    assert message in result.stderr


def test_resuming_with_another_configuration_is_refused(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert cli("train", "kdv-1d", "--out", run, *settings()).exit_code == 0
    result = cli("train", "kdv-1d", "--out", run, "--resume", "--set", "model.micro=4")
    assert result.exit_code == 2
    assert "model.micro was 3 and is now 4" in result.stderr
