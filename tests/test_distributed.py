"""Training on two processes that ``torchrun`` starts: loss, weights and files as of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pyro_msm import data as datasets
from pyro_msm.distributions.windows_noise import part_of_windows, windows_noise
from pyro_msm.inference import Processes
from pyro_msm.records import read_records
from tests import two_processes
from tests.small_fields import training_windows, travelling_waves

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two processes have left, see ``two_processes.main``."""
    folder = tmp_path_factory.mktemp("two")
    two_processes.trainer(folder / "resumed", steps=4).run()
    datasets.save(travelling_waves(), folder / "data.nc")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, "tests/two_processes.py", str(folder)],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder / "stderr").write_text(done.stderr)
    return folder


@pytest.fixture(scope="module")
def seen(folder):
    """What the process of rank 0 has seen, and that of rank 1."""
    return [json.loads((folder / f"process-{rank}.json").read_text()) for rank in range(2)]


@pytest.fixture(scope="module")
def alone():
    made = two_processes.trainer()
    made.run()
    return made


def test_two_processes_have_the_loss_and_the_weights_of_one(seen, alone):
    """On the same global batches: masked data, random points, random paths, validation, average."""
    for each in seen:
        assert each["losses"] == pytest.approx(two_processes.losses(alone), rel=1e-6)
        assert each["weights"] == pytest.approx(two_processes.weights(alone), rel=1e-5)


def test_what_a_process_decides_it_decides_as_the_others(seen, alone):
    assert seen[0]["weights"] == seen[1]["weights"]
    assert seen[0]["losses"] == seen[1]["losses"]
    assert seen[0]["error"] == seen[1]["error"] == alone.state.best_error
    assert seen[0]["seconds"] == seen[1]["seconds"]


def test_two_processes_go_on_from_the_checkpoint_of_one(seen, alone):
    for each in seen:
        assert each["resumed"] == pytest.approx(two_processes.losses(alone)[4:], rel=1e-5)


def test_checkpoints_are_those_of_one_process(folder, tmp_path):
    two_processes.trainer(tmp_path).run()
    for name in ("last", "best"):
        one, two = (
            load_file(where / f"{name}.safetensors") for where in (tmp_path, folder / "whole")
        )
        assert one.keys() == two.keys()
        for key in one:
            torch.testing.assert_close(two[key], one[key], rtol=1e-4, atol=1e-5)
            if key.startswith("generator/"):
                assert torch.equal(two[key], one[key])


def test_random_weights_are_the_same_in_all_processes_and_count_once(seen):
    alone = two_processes.trainer(steps=3, bayesian=True)
    alone.run()
    for each in seen:
        assert each["random weights"] == pytest.approx(two_processes.losses(alone), rel=1e-6)


def test_an_infinite_loss_in_one_process_takes_all_of_them_back(seen):
    assert [each["recoveries"] for each in seen] == [1, 1]


def test_ctrl_c_in_one_process_reaches_the_others_after_the_step(folder, seen):
    assert [each["interrupted"] for each in seen] == [5, 5]
    resumed, whole = (
        two_processes.trainer(folder / "pressed", steps=8),
        two_processes.trainer(steps=8),
    )
    resumed.run(resume=True)
    whole.run()
    assert two_processes.losses(resumed) == pytest.approx(two_processes.losses(whole)[5:], rel=1e-4)


def test_a_failure_of_the_leader_ends_the_others(seen):
    assert [each["failure"] for each in seen] == ["IndexError", "SystemExit"]


def test_the_command_trains_on_two_processes_and_one_of_them_writes(folder, seen):
    assert [each["train"] for each in seen] == [0, 0]
    records = read_records(folder / "run" / "metrics.jsonl")
    assert [r["step"] for r in records if "loss" in r] == [1, 2, 3, 4]
    assert [r["step"] for r in records if "validation_error" in r] == [2, 4]
    assert (folder / "run" / "checkpoints" / "best.safetensors").exists()
    assert (folder / "stderr").read_text().count("Training multiscale into") == 1


def test_a_batch_that_does_not_divide_is_told_in_one_line(folder, seen):
    told = "training.windows = 5 cannot be shared by 2 processes: give a multiple of 2"
    assert told in seen[0]["odd"]
    assert [each["odd train"] for each in seen] == [2, 1]
    assert (folder / "stderr").read_text().count(f"Error: {told}") == 1
    assert not (folder / "odd").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_no_thread_of_the_group_is_left_to_abort_the_exit(seen):
    for each in seen:
        during, after = each["threads"]
        assert during > 0
        assert after == 0


def test_shares_of_a_batch_are_scaled_as_batches_of_their_own():
    """Their mean is then the whole, and what belongs to no window counts once."""
    windows = training_windows(travelling_waves())

    def draw(**share):
        return windows.draw(4, torch.Generator().manual_seed(0), **share)

    whole, parts = draw(), [draw(share=slice(0, 2)), draw(share=slice(2, 4))]
    assert torch.equal(torch.cat([part.field for part in parts]), whole.field)
    assert torch.equal(torch.cat([part.initial_weight for part in parts]), whole.initial_weight)
    for part in parts:
        assert part.likelihood_scale == pytest.approx(2 * whole.likelihood_scale)
        assert part.path_scale == pytest.approx(2 * whole.path_scale)


def test_noise_of_the_parts_is_that_of_the_whole_and_generators_stay_in_step():
    torch.manual_seed(3)
    whole, after = windows_noise((2, 6, 4, 3), torch.zeros(())), torch.rand(())
    parts = []
    for index in range(3):
        torch.manual_seed(3)
        with part_of_windows(index, 3):
            parts.append(windows_noise((2, 2, 4, 3), torch.zeros(())))
        assert torch.rand(()) == after
    assert torch.equal(torch.cat(parts, 1), whole)


def test_one_process_alone_leads_itself():
    alone = Processes()
    assert (alone.rank, alone.count, alone.leads, alone.share(5)) == (0, 1, True, slice(0, 5))
    assert alone.by_leader(lambda: "done") == "done"
    assert alone.any(True)
    assert not alone.any(False)
