"""The command line: help, tables, and wrong input, which ends with one line and exit code 2."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyro_msm import __version__
from pyro_msm.cli.commands import app
from pyro_msm.config import MODELS, describe, resolve
from pyro_msm.runs import RunDirectory

Cli = Callable[..., Any]
COMMANDS = [
    command.name or command.callback.__name__  # type: ignore[union-attr]
    for command in app.registered_commands
]


def refused(cli: Cli, *arguments: object) -> str:
    """The one line with which the command line refuses its input."""
    result = cli(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if not line.startswith("Simulating")]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("Error: ")
    return lines[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(cli: Cli, command: str) -> None:
    result = cli(command, "--help")
    assert result.exit_code == 0
    assert "Examples:" in result.stdout
    assert f"pyro-msm {command}" in result.stdout


def test_help_names_every_model(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    text = cli("train", "--help").stdout
    assert all(re.search(rf"[ ,]{name}[ ,.]", text) for name in MODELS)


def test_all_commands_are_there() -> None:
    assert set(COMMANDS) == {
        "systems", "config", "simulate", "train", "rollout", "forecast", "evaluate", "report",
        "run", "compare", "benchmark",
    }  # fmt: skip


def test_version_is_told(cli: Cli) -> None:
    assert cli("--version").stdout == f"pyro-msm {__version__}\n"


def test_help_does_not_wait_for_torch() -> None:
    program = (
        "import sys; from pyro_msm.cli import app; app(['--help'], standalone_mode=False); "
        "print([name for name in ('torch', 'xarray', 'numpy', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


def test_systems_and_config_are_listed(cli: Cli) -> None:
    assert "kdv-1d" in cli("systems").stdout
    listed = cli("config", "kdv-1d", "--preset", "demo", "--set", "training.steps=123").stdout
    assert "123" in listed
    assert all(key in listed for key, _, _ in describe())
    assert "name a SOURCE too" in refused(cli, "config", "--preset", "demo")


def test_systems_are_readable_at_80_columns(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = cli("systems").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    row = next(index for index, line in enumerate(lines) if line.split()[:1] == ["kdv-1d"])
    assert "u_t = -u u_x - 0.02 u_xxx" in lines[row]
    assert lines[row + 1].strip() == "1000, 1001 times, 10/5/5, ±0.01; demo, paper"
    assert any("320x80, 1501 times, one record" in line for line in lines)


def test_simulate_writes_and_does_not_overwrite(cli: Cli, tmp_path: Path) -> None:
    from pyro_msm import data

    file = tmp_path / "kdv.nc"
    small = ["--set", "data.train=2", "--set", "data.validation=0", "--set", "data.test=1"]
    short = ["--set", "data.options.frames=3"]
    result = cli("simulate", "kdv-1d", "-o", file, *small, *short, "--seed", 4)
    assert result.exit_code == 0, result.output
    assert result.stdout.replace("\n", "") == str(file)
    assert "Simulating 3 trajectories of kdv-1d (seed 4)." in result.stderr
    with data.open(file) as dataset:
        assert dataset.sizes["trajectory"] == 3
        assert dataset.attrs["seed"] == 4
    assert "exists" in refused(cli, "simulate", "kdv-1d", "-o", file)
    quiet = cli("simulate", "kdv-1d", "-o", file, *small, *short, "--force", "--quiet")
    assert (quiet.exit_code, quiet.stderr) == (0, "")


def test_wrong_options_are_told(cli: Cli, tmp_path: Path) -> None:
    out = ["--out", tmp_path / "run"]
    assert "did you mean 'kdv-1d'" in refused(cli, "train", "kdv", *out)
    assert "did you mean 'training.steps'" in refused(
        cli, "train", "kdv-1d", *out, "--set", "training.stpes=3"
    )
    assert "unknown preset 'x'" in refused(cli, "train", "kdv-1d", *out, "--preset", "x")
    assert "unknown model 'x'" in refused(cli, "train", "kdv-1d", *out, "--model", "x")
    assert "'auto', 'cpu' or 'cuda'" in refused(cli, "train", "kdv-1d", *out, "--device", "tpu")
    assert "give one of them" in refused(cli, "train", "kdv-1d", *out, "--force", "--resume")
    assert "--members 0: " in refused(cli, "run", "kdv-1d", *out, "--members", 0)
    assert "must end in .nc or .zarr" in refused(cli, "simulate", "kdv-1d", "-o", tmp_path / "a.x")
    assert "is a file and not a system" in refused(cli, "simulate", "a.nc", "-o", tmp_path / "a.nc")
    assert "no option 'x'" in refused(
        cli, "simulate", "kdv-1d", "-o", tmp_path / "a.nc", "--set", "data.options.x=1"
    )
    assert not any(tmp_path.iterdir())


def test_missing_cuda_is_told(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    line = refused(cli, "train", "kdv-1d", "--out", tmp_path / "run", "--device", "cuda")
    assert "finds no CUDA device here; use --device cpu" in line
    assert not (tmp_path / "run").exists()


def test_missing_data_file_is_told(cli: Cli, tmp_path: Path) -> None:
    line = refused(cli, "train", tmp_path / "none.nc", "--out", tmp_path / "run")
    assert line == f"Error: no such file: {tmp_path / 'none.nc'}"


def test_wrong_folders_are_told(cli: Cli, tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", resolve("kdv-1d"))
    assert "holds another run" in refused(cli, "train", "kdv-1d", "--out", run.path)
    assert "model.micro was 5 and is now 2" in refused(
        cli, "train", "kdv-1d", "--out", run.path, "--resume", "--set", "model.micro=2"
    )
    assert "data.source was 'kdv-1d' and is now 'burgers-1d'" in refused(
        cli, "train", "burgers-1d", "--out", run.path, "--resume"
    )
    assert "has no ensemble yet" in refused(cli, "evaluate", run.path)
    assert "has no scores yet" in refused(cli, "report", run.path)
    assert "has no scores yet" in refused(cli, "compare", run.path)
    assert "--members 0: " in refused(cli, "rollout", run.path, "--members", 0)
    for command in ("rollout", "evaluate", "report", "compare"):
        assert "holds no run" in refused(cli, command, tmp_path / "nothing")
    assert "holds no run" in refused(cli, "train", "kdv-1d", "--out", tmp_path / "no", "--resume")


def test_compare_shows_runs_side_by_side(cli: Cli, tmp_path: Path) -> None:
    for name, error in (("a", 0.03125), ("b", 0.5)):
        run = RunDirectory.create(tmp_path / name, resolve("kdv-1d"))
        run.scores.write_text(json.dumps({"relative_error": {"mean": error}, "crps": None}))
    result = cli("compare", tmp_path / "a", tmp_path / "b")
    assert result.exit_code == 0, result.output
    row = next(line for line in result.stdout.splitlines() if "relative error  " in line)
    assert [cell.strip() for cell in row.split("│")[2:4]] == ["0.03125", "0.5"]


def test_defects_keep_their_traceback(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr("pyro_msm.cli.tables.systems_table", fail)
    result = cli("systems")
    assert result.exit_code == 1
    assert isinstance(result.exception, RuntimeError)


def test_interruption_ends_with_130(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pyro_msm.cli.tables.systems_table", interrupt)
    result = cli("systems")
    assert (result.exit_code, result.stderr) == (130, "Interrupted.\n")
