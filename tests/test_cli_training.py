"""`pyro-msm train` around a forecaster that learns nothing: folders, seeds, resuming, Ctrl-C."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyro_msm.errors import InputError
from pyro_msm.runs import RunDirectory

Cli = Callable[..., Any]
TINY = [
    part
    for text in ("data.train=2", "data.validation=0", "data.test=1", "data.options.frames=3")
    for part in ("--set", text)
]


class Learner:
    """Stands for a forecaster: notes how it was fitted, writes a checkpoint, may be interrupted."""

    def __init__(self) -> None:
        self.fits: list[dict[str, Any]] = []
        self.built: Exception | None = None
        self.interrupted = False

    def build(self, config: Any, dataset: Any) -> Learner:
        if self.built:
            raise self.built
        self.sizes = dict(dataset.sizes)
        return self

    def fit(self, dataset: Any, **how: Any) -> Learner:
        self.fits.append(how | {"folder": how["run"].path.name})
        if self.interrupted:
            raise KeyboardInterrupt
        (how["run"].checkpoints / "last.safetensors").write_text("")
        return self


@pytest.fixture
def learner(monkeypatch: pytest.MonkeyPatch) -> Learner:
    learner = Learner()
    monkeypatch.setattr("pyro_msm.forecasting.build", learner.build, raising=False)
    return learner


@pytest.fixture
def file(cli: Cli, tmp_path: Path) -> Path:
    """A user's data file."""
    path = tmp_path / "mine.nc"
    assert cli("simulate", "kdv-1d", "-o", path, *TINY).exit_code == 0
    return path


@pytest.mark.parametrize("model", ["multiscale", "macro-only"])
def test_another_family_than_the_presets_is_resumed(
    cli: Cli, learner: Learner, tmp_path: Path, model: str
) -> None:
    """What the preset says of LED is no setting of a run of ours."""
    small = "data.options={frames=31, end_time=30.0, time_step=0.1, scheme='strang'}"
    command = ("train", "fitzhugh-nagumo", "--out", tmp_path / "run", "--preset", "demo",
               "--model", model, "--set", small)  # fmt: skip
    assert cli(*command).exit_code == 0
    again = cli(*command, "--resume")
    assert again.exit_code == 0, again.output
    assert [fit["resume"] for fit in learner.fits] == [False, True]


def test_run_folder_is_self_contained(cli: Cli, learner: Learner, tmp_path: Path) -> None:
    result = cli("train", "kdv-1d", "--out", tmp_path / "run", *TINY, "--seed", 4, "--quiet")
    assert result.exit_code == 0, result.output
    assert (result.stdout.strip().replace("\n", ""), result.stderr) == (str(tmp_path / "run"), "")
    run = RunDirectory.open(tmp_path / "run")
    assert run.data.exists()
    assert run.environment.exists()
    assert run.config.seed == 4
    assert learner.sizes["trajectory"] == 3
    (fit,) = learner.fits
    assert (fit["seed"], fit["resume"], fit["device"], fit["progress"]) == (4, False, "auto", False)


def test_chains_are_trained_apart_and_can_be_added(
    cli: Cli, learner: Learner, tmp_path: Path
) -> None:
    train = ("train", "kdv-1d", "--out", tmp_path / "run")
    assert cli(*train, *TINY, "--chains", 2).exit_code == 0
    assert [(fit["seed"], fit["folder"]) for fit in learner.fits] == [(0, "run"), (1, "chain-1")]
    learner.fits.clear()
    assert cli(*train, "--resume", "--chains", 3).exit_code == 0
    assert [fit["resume"] for fit in learner.fits] == [True, True, False]
    assert RunDirectory.open(tmp_path / "run" / "chain-2").config.seed == 2


def test_interruption_tells_how_to_continue(cli: Cli, learner: Learner, tmp_path: Path) -> None:
    train = ("train", "kdv-1d", "--out", tmp_path / "run")
    learner.interrupted = True
    result = cli(*train, *TINY, "--preset", "demo")
    command = f"pyro-msm train kdv-1d --out {tmp_path / 'run'} --resume"
    assert result.exit_code == 130
    assert "Interrupted before the first checkpoint" in result.stderr
    assert command in result.stderr

    learner.interrupted = False
    assert cli(*train, "--resume").exit_code == 0
    assert not learner.fits[-1]["resume"]  # there was nothing to continue from
    learner.interrupted = True
    result = cli(*train, "--resume")
    assert learner.fits[-1]["resume"]
    assert f"saved in {tmp_path / 'run' / 'checkpoints'}" in result.stderr
    assert RunDirectory.open(tmp_path / "run").config.training.steps == 6000  # of the demo preset


def test_unfit_data_leave_folders_as_they_were(cli: Cli, learner: Learner, tmp_path: Path) -> None:
    train = ("train", "kdv-1d", "--out", tmp_path / "run", *TINY)
    learner.built = InputError("model.macro=7 does not divide the 1000 points of x")
    assert cli(*train).exit_code == 2
    assert not (tmp_path / "run").exists()
    learner.built = None
    assert cli(*train).exit_code == 0
    learner.built = InputError("no")
    assert cli(*train, "--force").exit_code == 2
    assert RunDirectory.open(tmp_path / "run").has_checkpoint


def test_run_needs_a_test_split(cli: Cli, learner: Learner, tmp_path: Path) -> None:
    result = cli("run", "kdv-1d", "--out", tmp_path / "run", *TINY, "--set", "data.test=0")
    assert result.exit_code == 2
    assert "has no test split" in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_file_is_found_from_anywhere(
    cli: Cli, learner: Learner, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli("train", "mine.nc", "--out", "run").exit_code == 0
    run = RunDirectory.open(tmp_path / "run")
    assert run.config.data.source == str(file.resolve())
    assert not run.data.exists()
    monkeypatch.chdir(tmp_path.parent)
    assert cli("train", file, "--out", run.path, "--resume").exit_code == 0


def test_a_changed_file_is_told(cli: Cli, learner: Learner, file: Path, tmp_path: Path) -> None:
    from pyro_msm.cli.sources import dataset_of

    train = ("train", file, "--out", tmp_path / "run")
    assert cli(*train).exit_code == 0
    run = RunDirectory.open(tmp_path / "run")
    os.utime(file, (0, 0))
    with pytest.raises(InputError, match=r"is no longer the data file with which"):
        dataset_of(run)
    result = cli(*train, "--resume")
    assert result.exit_code == 2
    assert "data.fingerprint was" in result.stderr
    file.unlink()
    with pytest.raises(InputError, match="is gone: put it back"):
        dataset_of(run)
