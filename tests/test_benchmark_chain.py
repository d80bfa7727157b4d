"""`pyro-msm benchmark`: models that are grown, each from the size before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from pyro_msm import forecasting
from pyro_msm.benchmark import Job, Results, jobs, load_plan, runner
from pyro_msm.benchmark.plan import OURS
from pyro_msm.benchmark.training import Trainings
from pyro_msm.config import Config
from tests.test_benchmark import read, tiny


@pytest.fixture
def chained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool]]:
    """A preset with n_η = 0, 1, 2 as a chain, and what was trained: n_η, and whether resumed."""
    plan = replace(load_plan("paper"), micro=(0, 1, 2), seeds=(0, 1), grown={"learning_rate": 1e-4})
    monkeypatch.setattr(runner, "load_plan", lambda _: plan)
    fit, trained = forecasting.MultiscaleForecaster.fit, []

    def noting(self: Any, data: Any, **how: Any) -> Any:
        trained.append((self.model_settings.micro, how["resume"]))
        return fit(self, data, **how)

    monkeypatch.setattr(forecasting.MultiscaleForecaster, "fit", noting)
    return trained


def test_models_of_the_first_seed_grow_one_from_the_other(
    tmp_path: Path, chained: list[tuple[int, bool]]
) -> None:
    ours = ["macro-only", "multiscale"]
    results = tiny(tmp_path / "results", ours, preset="paper")
    assert chained == [(size, False) for size in (0, 0, 1, 2, 2)]
    configs = {
        (size, seed): results.run_of(Job("kdv-1d", "", size, seed)).config
        for size, seed in [(0, 0), (1, 0), (2, 0), (0, 1), (2, 1)]
    }
    starts = {key: config.model.warm_start for key, config in configs.items()}
    runs = results.runs.resolve() / "kdv-1d"
    assert starts == {
        (0, 0): None, (1, 0): str(runs / "micro-0-seed-0"), (2, 0): str(runs / "micro-1-seed-0"),
        (0, 1): None, (2, 1): None,
    }  # fmt: skip
    rates = {key: config.training.learning_rate for key, config in configs.items()}
    assert rates == {(0, 0): 2e-3, (1, 0): 1e-4, (2, 0): 1e-4, (0, 1): 2e-3, (2, 1): 2e-3}

    records = [r for r in results.records if r["micro"] is not None and r["split"] == "test"]
    found = {(r["micro"], r["seed"]): r for r in records}
    assert found[2, 0]["note"] == "seed 0 is grown from n_η = 1"
    assert "note" not in found[2, 1]
    own = {key: results.run_of(Job("kdv-1d", "", *key)).training_seconds() for key in configs}
    total = own[0, 0] + own[1, 0] + own[2, 0]
    assert found[2, 0]["train_seconds"] == pytest.approx(total)
    assert found[2, 1]["train_seconds"] == pytest.approx(own[2, 1])


def test_a_chain_goes_on_where_it_stopped(
    tmp_path: Path, chained: list[tuple[int, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyro_msm.inference import Trainer

    out, ours = tmp_path / "results", ["multiscale"]
    loop = Trainer._loop

    def stopped(self: Trainer, interruption: Any) -> None:
        self.settings = self.settings.model_copy(update={"steps": 2})
        loop(self, interruption)
        if len(chained) == 3:  # in the training of n_η = 2
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_loop", stopped)
        with pytest.raises(KeyboardInterrupt):
            tiny(out, ours, preset="paper", seeds=[0])
    assert chained == [(0, False), (1, False), (2, False)]  # the chain's start came along
    assert {r["micro"] for r in read(out)} == {None, 1}
    before = (
        out / "runs" / "kdv-1d" / "micro-1-seed-0" / "checkpoints" / "best.safetensors"
    ).stat()
    chained.clear()
    tiny(out, ours, preset="paper", seeds=[0])
    assert chained == [(2, True)]
    assert {r["micro"] for r in read(out)} == {None, 1, 2}
    after = (out / "runs" / "kdv-1d" / "micro-1-seed-0" / "checkpoints" / "best.safetensors").stat()
    assert after.st_mtime_ns == before.st_mtime_ns
    chained.clear()
    tiny(out, ours, preset="paper", seeds=[0], force=True)
    assert chained == [(0, True), (1, False), (2, False)]  # what was not asked for is not replaced


@pytest.mark.parametrize("preset", ["demo", "paper"])
def test_a_configuration_is_itself_when_it_is_saved(tmp_path: Path, preset: str) -> None:
    plan, file = load_plan(preset), tmp_path / "config.toml"
    for job in jobs(plan, models=OURS):
        if job.model in OURS:
            config = plan.configuration(job)
            config.save(file)
            assert Config.load(file) == config, (job.system, job)


@pytest.mark.parametrize("system", ["fitzhugh-nagumo", "kuramoto-sivashinsky"])
def test_our_other_models_of_led_systems_go_on_where_they_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str
) -> None:
    resumed: list[bool] = []

    class Fitted:
        def fit(self, data: Any, **how: Any) -> None:
            resumed.append(how["resume"])

    monkeypatch.setattr(forecasting, "build", lambda *_: Fitted())
    results = Results.open(tmp_path / "results", "demo", (), False)
    trainings, job = Trainings(load_plan("demo"), results), Job(system, "macro-only", 0, 0)
    trainings.trained(job, xr.Dataset())
    (results.run_of(job).checkpoints / "last.safetensors").write_text("half way")
    trainings.trained(job, xr.Dataset())
    assert resumed == [False, True]


def test_growth_stops_where_the_frame_changes() -> None:
    plan = load_plan("paper")
    moving = ["model.frame=comoving"]
    starts = {
        size: (smaller := plan.smaller(Job("wave-1d", "", size, 0), moving)) and smaller.micro
        for size in plan.micro
    }
    assert starts == {0: None, 1: 0, 2: 1, 3: None, 4: 3, 5: None}
    afresh, grown = (
        plan.configuration(Job("wave-1d", "multiscale", size, 0), moving).training
        for size in (3, 4)
    )
    assert plan.grown
    assert {key: getattr(grown, key) for key in plan.grown} == plan.grown
    assert afresh.steps > grown.steps
    own = plan.configuration(Job("wave-1d", "multiscale", 4, 0), ["training.steps=7"])
    assert own.training.steps == 7
    assert plan.smaller(Job("wave-1d", "multiscale", 5, 1)) is None
    assert plan.smaller(Job("wave-1d", "dmd")) is None
    assert load_plan("demo").smaller(Job("kdv-1d", "multiscale", 5, 0)) is None
