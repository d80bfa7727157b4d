"""What all trained families have in common, on one that learns a single number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor, nn

from pyro_msm import data as datasets
from pyro_msm.config import TRAINED_FAMILIES, Config, TrainingConfig
from pyro_msm.errors import InputError
from pyro_msm.forecasting.families import FAMILIES
from pyro_msm.forecasting.trained import TrainedForecaster
from pyro_msm.forecasting.trained_latent import check_times, within_reach
from pyro_msm.inference import Trainer, load_checkpoint, save_checkpoint
from pyro_msm.inference.stages import Stage, StagedTrainer
from pyro_msm.records import read_records
from pyro_msm.runs import RunDirectory
from tests.small_fields import travelling_waves

DATA = travelling_waves()


class Level(nn.Module):
    """One number."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.full((1,), start))


class LevelForecaster(TrainedForecaster):
    """Forecasts one number everywhere: the mean of the squared data, learned as a square."""

    name = "level"
    model: Level
    guide: Level

    def __init__(self, training: TrainingConfig | None = None) -> None:
        self.training = training or TrainingConfig()
        self.offset, self.square, self.finished = 0.0, np.nan, 0

    @classmethod
    def of_config(cls, config: Config) -> Self:
        return cls(config.training)

    def check(self, data: xr.Dataset) -> None:
        if "field" not in data:
            raise InputError("no field")

    def build(self, data: xr.Dataset, seed: int = 0) -> None:
        self.offset = float(data["time"][0])
        self.model, self.guide = Level(1.0 + seed), Level(0.0)

    def _trainer(self, data: xr.Dataset, resume: bool, **how: Any) -> Trainer:
        values = self._tensor(datasets.select(data, "train")["field"].values).square().flatten()

        def loss(age: int, generator: torch.Generator) -> torch.Tensor:
            chosen = values[torch.randint(len(values), (50,), generator=generator)]
            level, other = self.model.value, self.guide.value
            return (chosen - level**2).square().mean() + other.square().sum()

        return StagedTrainer(self.model, self.guide, [Stage("only", 0, loss)], self.training, **how)

    def _settle(self) -> None:
        self.square = self.model.value.item() ** 2

    def _finish(self, trainer: Trainer, data: xr.Dataset) -> None:
        self.finished += 1

    def _header(self) -> dict[str, Any]:
        return {"offset": self.offset}

    @classmethod
    def _empty(cls, header: dict[str, Any]) -> Self:
        forecaster = cls()
        forecaster.offset = header["offset"]
        forecaster.model, forecaster.guide = Level(np.nan), Level(np.nan)
        return forecaster

    def forecast_blocks(
        self, initial: xr.Dataset, times: np.ndarray, members: int = 1, generator: Any = None
    ) -> Iterator[xr.Dataset]:
        field = xr.full_like(initial["field"].isel(time=-1), self.square)
        yield xr.Dataset({"field": field.expand_dims(member=1, time=times)})


def training(**settings: Any) -> TrainingConfig:
    usual: dict[str, Any] = {
        "steps": 40, "learning_rate": 0.05, "log_every": 5, "checkpoint_every": 10, "ema": 0.5,
    }  # fmt: skip
    return TrainingConfig(**(usual | settings))


class Entered(Level):
    """One number, and how often a stage was entered since its weights were loaded."""

    def __init__(self) -> None:
        super().__init__(1.0)
        self.register_buffer("entered", torch.zeros(()))


def in_two_stages(failing: int | None, errors: Sequence[float], **settings: Any) -> StagedTrainer:
    """Stages of 10 and 20 steps; at step ``failing`` the loss is NaN, once.

    The first stage has an error of .1 at all times, the second has ``errors``, one after another.
    """
    model, left, failed = Entered(), iter(errors), []

    def enter() -> None:
        model.entered += 1

    def loss(age: int, draws: torch.Generator) -> Tensor:
        found = model.value.square().sum()
        if age + 10 == failing and not failed:
            failed.append(age)
            return found * torch.nan
        return found

    stages = [
        Stage("first", 0, lambda age, draws: model.value.square().sum(), validate=lambda: 0.1),
        Stage("second", 10, loss, enter, validate=lambda: next(left), afresh=True),
    ]
    how = {"steps": 30, "validate_every": 5, "checkpoint_every": 10}
    return StagedTrainer(model, Level(0.0), stages, training(**(how | settings)))


def test_going_back_to_where_a_stage_began_does_not_undo_its_beginning() -> None:
    made = in_two_stages(13, [5.0, 4.0, 3.0, 6.0])
    made.run()
    assert [r["step"] for r in made.history if "recovered_from" in r] == [10]
    assert made.model.entered == 1
    assert (made.state.best_error, made.state.best_step) == (3.0, 25)


def test_patience_of_the_last_stage_begins_with_it() -> None:
    """The first stage finds nothing better from its first validation on."""
    made = in_two_stages(None, [5.0, 6.0, 7.0, 8.0], patience=2)
    made.run()
    assert (made.state.step, made.state.best_step) == (25, 15)
    stages = [replace(stage, afresh=False, validate=lambda: 0.1) for stage in made.stages]
    same = StagedTrainer(Entered(), Level(0.0), stages, training(
        steps=30, validate_every=5, checkpoint_every=10, patience=2,
    ))  # fmt: skip
    same.run()
    assert (same.state.step, same.state.best_step) == (20, 5)


def run_at(folder: Path) -> RunDirectory:
    return RunDirectory.create(folder, Config())


def weights(forecaster: LevelForecaster) -> list[float]:
    return [float(value[0]) for value in forecaster.state()[0].values()]


def test_the_families_are_those_of_the_configuration() -> None:
    assert set(FAMILIES) == TRAINED_FAMILIES
    assert all(issubclass(family, TrainedForecaster) for family in FAMILIES.values())


def test_a_run_keeps_what_was_trained(tmp_path: Path) -> None:
    run = run_at(tmp_path / "run")
    made = LevelForecaster(training()).fit(DATA, run=run, seed=1, device="cpu")
    assert made.finished == 1
    assert weights(made)[0] != 2.0
    assert made.square == weights(made)[0] ** 2
    made.save(tmp_path / "saved")
    for again in (LevelForecaster.from_run(run), LevelForecaster.load(tmp_path / "saved")):
        assert weights(again) == weights(made)
        assert (again.square, again.offset) == (made.square, made.offset)
    *steps, end = read_records(run.metrics)
    assert [r["step"] for r in steps] == list(range(5, 41, 5))
    assert end["end"]
    assert run.training_seconds() == end["seconds"] >= steps[-1]["seconds"]
    assert list(made.state()[0]) == ["model.value", "guide.value"]


def test_a_resumed_run_is_the_same_to_the_last_bit(tmp_path: Path) -> None:
    whole, parts = run_at(tmp_path / "whole"), run_at(tmp_path / "parts")
    LevelForecaster(training()).fit(DATA, run=whole, device="cpu")
    LevelForecaster(training(steps=20)).fit(DATA, run=parts, device="cpu")
    LevelForecaster(training()).fit(DATA, run=parts, resume=True, device="cpu")
    one, other = (LevelForecaster.from_run(run) for run in (whole, parts))
    assert weights(one) == weights(other)
    records = [read_records(run.metrics) for run in (whole, parts)]
    steps, resumed = [[r["step"] for r in each if "loss" in r] for each in records]
    assert steps == resumed
    ends = [r["seconds"] for r in records[1] if "end" in r]
    assert ends == sorted(ends)
    assert len(ends) == 2


def test_data_are_checked_before_anything_is_built(tmp_path: Path) -> None:
    run, made = run_at(tmp_path / "run"), LevelForecaster(training())
    with pytest.raises(InputError, match="no field"):
        made.fit(DATA.drop_vars("field"), run=run)
    assert not hasattr(made, "model")
    assert not run.metrics.exists()
    with pytest.raises(InputError, match=r"has no checkpoint last\.safetensors"):
        made.fit(DATA, run=run, resume=True)


def test_foreign_checkpoints_are_told(tmp_path: Path) -> None:
    run = run_at(tmp_path / "run")
    with pytest.raises(InputError, match="train it first"):
        LevelForecaster.from_run(run)
    LevelForecaster(training(steps=5)).fit(DATA, run=run, device="cpu")
    path = run.checkpoints / "best.safetensors"
    tensors, header = load_checkpoint(path, "model")
    save_checkpoint(path, {"model.value": tensors["model.value"]}, header)
    with pytest.raises(InputError, match="holds another model"):
        LevelForecaster.from_run(run)
    save_checkpoint(path, tensors, {"kind": "model"})
    with pytest.raises(InputError, match=r"is a foreign checkpoint \('offset'\): train again"):
        LevelForecaster.from_run(run)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_told() -> None:
    made = LevelForecaster(training())
    made.build(DATA)
    assert made.to("auto").device == torch.device("cpu")
    with pytest.raises(InputError, match="PyTorch finds no CUDA device"):
        made.to("cuda")


def test_times_go_forward_from_the_last_but_one_step() -> None:
    check_times(np.array([1.2, 1.2, 1.3]), 1.0, 3, 0.1)
    check_times(np.array([1.0]), 1.0, 0, 0.1)
    for times in ([], [1.3, 1.2]):
        with pytest.raises(InputError, match="must be increasing, and at least one"):
            check_times(np.array(times), 1.0, 3, 0.1)
    with pytest.raises(InputError, match=r"t = 1\.1 was asked for, .* the state at t = 1\.2"):
        check_times(np.array([1.1]), 1.0, 3, 0.1)


def test_a_path_that_left_the_world_does_not_come_back() -> None:
    path = np.zeros((4, 1, 3, 2))
    path[1, 0, 0, 1] = 2001.0  # the spread is 2, and and 1000 of them are the world
    path[2, 0, 1, 0] = np.inf
    path[:, 0, 2, 1] = 2000.0
    found = within_reach(path, np.array([0.0, 1.0]), np.array([1.0, 2.0]))
    lost = np.isnan(found).all(-1)[:, 0]
    assert lost.tolist() == [[False] * 3, [True, False, False], [True, True, False],
                             [True, True, False]]  # fmt: skip
    assert np.isfinite(found[~np.isnan(found)]).all()
