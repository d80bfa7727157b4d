"""The run directory: what it refuses, what it deletes, when it may be resumed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pyro_msm.config import resolve
from pyro_msm.environment import describe_environment
from pyro_msm.errors import InputError
from pyro_msm.files import replacing, write_text
from pyro_msm.records import MetricsLog, read_records
from pyro_msm.runs import RESUMABLE, RunDirectory, check_same_config

CONFIG = resolve("kdv-1d", preset="demo")


def test_created_run_opens(tmp_path: Path) -> None:
    created = RunDirectory.create(tmp_path / "deep" / "run", CONFIG)
    assert RunDirectory.open(created.path).config == CONFIG
    assert created.checkpoints.is_dir()


def test_another_run_is_refused_without_force(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, CONFIG)
    run.scores.write_text("{}")
    with pytest.raises(InputError, match=r"holds another run.*--resume.*--force"):
        RunDirectory.create(tmp_path, CONFIG)
    assert run.scores.exists()


def test_force_deletes_only_what_a_run_wrote(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, CONFIG)
    for file in (run.scores, run.metrics, run.data, run.checkpoints / "step.safetensors"):
        file.write_text("old")
    chain = RunDirectory.create(run.chain(1).path, CONFIG)
    mine = [tmp_path / "notes.txt", run.checkpoints / "notes.txt", tmp_path / "chain-x" / "a.txt"]
    for file in mine:
        file.parent.mkdir(exist_ok=True)
        file.write_text("mine")
    RunDirectory.create(tmp_path, CONFIG, force=True)
    assert all(file.read_text() == "mine" for file in mine)
    assert not any(file.exists() for file in (run.scores, run.metrics, run.data, chain.path))
    assert not (run.checkpoints / "step.safetensors").exists()


@pytest.mark.parametrize("force", [False, True])
def test_files_that_no_run_wrote_are_never_overwritten(tmp_path: Path, force: bool) -> None:
    (tmp_path / "data.nc").write_text("mine")
    with pytest.raises(InputError, match=r"no run but holds data\.nc"):
        RunDirectory.create(tmp_path, CONFIG, force=force)
    assert (tmp_path / "data.nc").read_text() == "mine"


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(InputError, match="is a file: a run needs a folder"):
        RunDirectory.create(tmp_path / "run", CONFIG)
    with pytest.raises(InputError, match="cannot write to"):
        RunDirectory.create(tmp_path / "run" / "deeper", CONFIG)


def test_opening_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no run \(it has no config\.toml\)"):
        RunDirectory.open(tmp_path)
    with pytest.raises(InputError, match=r"holds no run \(there is no such folder\)"):
        RunDirectory.open(tmp_path / "nothing")


def test_chains_have_their_own_seeds(tmp_path: Path) -> None:
    config = resolve("kdv-1d", flags={"seed": 5, "chains": 3})
    run = RunDirectory.create(tmp_path, config)
    assert [run.chain_config(i).seed for i in range(3)] == [5, 6, 7]
    assert [run.chain(i).path.name for i in (1, 2)] == ["chain-1", "chain-2"]
    assert run.chain(0).path == run.path


def test_resuming_otherwise_is_told() -> None:
    other = resolve("kdv-1d", base=CONFIG, overrides=["model.micro=3", "training.clip=1"])
    expected = (
        r"cannot resume runs/a with a different configuration: model\.micro was 5 and is now 3"
    )
    with pytest.raises(InputError, match=expected):
        check_same_config(CONFIG, other, "runs/a")


def test_longer_training_may_be_resumed() -> None:
    longer = resolve(
        "kdv-1d",
        base=CONFIG,
        overrides=["training.steps=99999", "rollout.members=7"],
        flags={"device": "cpu", "chains": 2},
    )
    check_same_config(CONFIG, longer, "runs/a")
    assert set(CONFIG.flat()) > RESUMABLE


def test_environment_says_what_timings_need() -> None:
    found = describe_environment("cpu")
    assert found["versions"]["torch"]
    assert found["threads"] >= 1
    assert found["processor"]
    json.dumps(found)


def test_log_drops_what_will_be_done_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path) as log:
        for step in (50, 100, 150):
            log.write(step=step, seconds=step / 10)
    path.write_text(path.read_text() + '{"step": 2')  # killed while writing
    with MetricsLog(path, resume_step=100) as log:
        log.write(step=150, seconds=14.0)
    records = read_records(path)
    assert [record["step"] for record in records] == [50, 100, 150]
    assert RunDirectory(tmp_path).training_seconds() == 14.0
    MetricsLog(path).close()
    assert read_records(path) == []
    assert RunDirectory(tmp_path).training_seconds() is None


def test_log_at_step_zero_keeps_nothing(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path) as log:
        log.write(step=50)
    MetricsLog(path, resume_step=0).close()
    assert read_records(path) == []


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    write_text(path, "old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["scores.json"]
