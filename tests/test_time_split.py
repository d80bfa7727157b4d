"""One record that is split in time: train, roll out, evaluate, report, benchmark."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from pyro_msm import benchmark, data
from pyro_msm.forecasting import open_ensemble, rollout
from pyro_msm.forecasting.baselines import Persistence
from tests.small_fields import travelling_waves

Cli = Callable[..., Any]
SIZES = [
    "model.macro=10", "model.micro=2", "model.hidden=8", "model.drift_hidden=8", "model.basis=4",
    "training.steps=4", "training.window_length=4", "training.stride=2", "training.windows=2",
    "rollout.members=5", "rollout.times=6",
]  # fmt: skip
SETTINGS = [part for text in SIZES for part in ("--set", text)]
SMALL_CYLINDER = [
    "data.options.points=16", "data.options.reynolds=20", "data.options.frames=61",
    "data.options.end_time=0.6",
]  # fmt: skip


def record(test: int = 10, extrapolation: int = 0, count: int = 61) -> xr.Dataset:
    waves = travelling_waves(1, count, splits=("train",))
    sizes = {
        "train": count - test - extrapolation - 8,
        "validation": 8,
        "test": test,
        "extrapolation": extrapolation,
    }
    split = np.repeat(list(sizes), list(sizes.values()))
    return data.validate(waves.drop_vars("split").assign_coords(split=("time", split)))


@pytest.mark.parametrize("snapshots", [1, 2])
def test_a_record_trains_rolls_out_and_is_scored(cli: Cli, tmp_path: Path, snapshots: int) -> None:
    dataset = record()
    data.save(dataset, tmp_path / "mine.nc")
    out = tmp_path / "run"
    more = ["--set", f"model.snapshots={snapshots}"]
    result = cli("run", tmp_path / "mine.nc", "--out", out, *SETTINGS, *more)
    assert result.exit_code == 0, result.output
    assert "No regression beside it" in result.stderr

    test = data.select(dataset, "test")
    with open_ensemble(out) as opened:
        tree = opened.load()
    stored = tree["posterior"]["time"].values
    assert stored[0] == test["time"].values[snapshots - 1]
    assert stored[-1] == test["time"].values[-1]
    assert tree["constant_data"]["split"].values.tolist() == ["test"]
    observed = tree["observed_data"]["field"].sel(time=stored).values
    np.testing.assert_array_equal(observed, test["field"].sel(time=stored).values)
    scores = json.loads((out / "scores.json").read_text())
    assert scores["trajectories"] == 1
    assert set(scores["baselines"]) == {"persistence", "mean-trajectory"}
    # Persistence starts from the last snapshot that the model sees.
    start = test["field"].values[0, snapshots - 1]
    clean = test["clean"].sel(time=stored[1:]).values[0]
    error = [np.linalg.norm(start - truth) / np.linalg.norm(truth) for truth in clean]
    found = scores["baselines"]["persistence"]["relative_error_clean"]["mean"]
    assert found == pytest.approx(np.mean(error), rel=1e-4)
    assert (out / "report.html").exists()


@pytest.mark.parametrize("extrapolation", [10, 12])
def test_times_of_two_splits_are_not_mixed(
    extrapolation: int, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = record(10, extrapolation)
    fitted = Persistence().fit(dataset)
    tree = rollout(fitted, dataset, 1)
    assert "covers other times than test: left out" in caplog.text
    assert tree["constant_data"]["split"].values.tolist() == ["test"]
    later = rollout(fitted, dataset, 1, splits=("extrapolation",))
    assert (
        later["observed_data"]["time"].values.tolist()
        == dataset["time"][-extrapolation:].values.tolist()
    )
    assert later["constant_data"]["split"].values.tolist() == ["extrapolation"]


def test_counts_of_trajectories_do_not_apply_to_the_cylinder(cli: Cli, tmp_path: Path) -> None:
    settings = [part for text in SMALL_CYLINDER for part in ("--set", text)]
    result = cli("simulate", "cylinder-2d", "-o", tmp_path / "a.nc", *settings)
    assert result.exit_code == 0, result.output
    assert result.stderr == (
        "Simulating one record of cylinder-2d (seed 0), split in time: data.train, "
        "data.validation and data.test do not apply.\n"
    )
    file = ["--set", f"data.options.file='{tmp_path / 'none.nc'}'"]
    result = cli("simulate", "cylinder-2d", "-o", tmp_path / "b.nc", *file)
    assert result.exit_code == 2
    reading, error = result.stderr.splitlines()
    assert reading.startswith(f"Reading the record of cylinder-2d from {tmp_path / 'none.nc'}")
    assert error.startswith("Error: ")


def test_benchmark_of_the_cylinder_scores_both_splits(tmp_path: Path) -> None:
    small = [
        *SMALL_CYLINDER, "model.macro=[8, 2]", "model.hidden=8", "model.drift_hidden=8",
        "model.basis=4", "model.neighbourhood=1", "training.steps=4", "training.window_length=4",
        "training.stride=2", "training.windows=2", "rollout.members=3", "rollout.times=6",
    ]  # fmt: skip
    models = ["multiscale", "persistence", "regression"]
    out = tmp_path / "results"
    results = benchmark.run(["cylinder-2d"], models=models, out=out, overrides=small)
    found = {(r["model"], r["split"]): r for r in results.records}
    for split in ("test", "extrapolation"):
        assert found["noise-floor", split]["relative_error"] == 0
        assert found["persistence", split]["relative_error"] > 0
        assert found["multiscale", split]["crps"] > 0
        assert "intervals" not in found["multiscale", split]  # there is one trajectory
        assert "several trajectories" in found["regression", split]["note"]
    assert found["multiscale", "test"]["published"] == 0.009
