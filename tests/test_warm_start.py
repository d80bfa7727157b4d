"""Runs that start from the weights of another run: `model.warm_start` and `--from`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import xarray as xr
from safetensors.torch import load_file

from pyro_msm.config import Config
from pyro_msm.errors import InputError
from pyro_msm.forecasting import MultiscaleForecaster, build, initial_window
from pyro_msm.runs import RunDirectory, check_warm_start
from tests.small_fields import tiny_configuration, travelling_waves

Cli = Callable[..., Any]
DATA = travelling_waves()
SIZES = [
    "data.options.points=40", "data.options.frames=31", "data.train=2", "data.validation=1",
    "data.test=1", "model.macro=10", "model.hidden=8", "model.drift_hidden=8", "model.basis=4",
    "training.steps=4", "training.window_length=4", "training.stride=2", "training.windows=2",
    "training.validate_every=4", "training.checkpoint_every=2", "training.calibrate=false",
]  # fmt: skip
TINY = [part for text in SIZES for part in ("--set", text)]


def configuration(training: dict[str, Any] | None = None, **model: Any) -> Config:
    sections = tiny_configuration(**(training or {}))
    sizes = sections[0].model_dump() | model
    return Config.model_validate({"model": sizes, "training": sections[1].model_dump()})


def fitted(folder: Path, config: Config, resume: bool = False) -> MultiscaleForecaster:
    run = RunDirectory.open(folder) if resume else RunDirectory.create(folder, config)
    return build(config, DATA).fit(DATA, run=run, resume=resume, device="cpu")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run with n_η = 1."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    fitted(folder, configuration(micro=1))
    return folder


def test_a_run_starts_from_the_best_weights_of_another(small: Path) -> None:
    config = configuration(micro=3, warm_start=str(small))
    made = build(config, DATA)
    made.build(DATA)
    assert made.model.network.micro == 3
    best = load_file(small / "checkpoints" / "best.safetensors")
    torch.testing.assert_close(
        made.model.network.macro_drift.first.weight, best["model.network.macro_drift.first.weight"]
    )
    torch.testing.assert_close(
        made.guide.encoder.basis[:1], best["guide.encoder.basis"][:1], rtol=0, atol=0
    )


def test_a_grown_run_resumes_exactly(small: Path, tmp_path: Path) -> None:
    grown = {"micro": 2, "warm_start": str(small)}
    longer = configuration({"steps": 30}, **grown)
    whole = fitted(tmp_path / "whole", longer)
    fitted(tmp_path / "part", configuration({"steps": 20}, **grown))
    longer.save(tmp_path / "part" / "config.toml")
    resumed = fitted(tmp_path / "part", longer, resume=True)
    times = DATA["time"].values
    one, other = (f.forecast(initial_window(DATA, 1), times, 2, 4) for f in (whole, resumed))
    xr.testing.assert_identical(one, other)
    assert RunDirectory.open(tmp_path / "whole").config.model.warm_start == str(small)


def test_the_same_size_goes_on_from_the_weights(small: Path) -> None:
    """With another step size, say: nothing is grown."""
    again = build(configuration({"quadrature": 7}, micro=1, warm_start=str(small)), DATA)
    again.build(DATA)
    first = MultiscaleForecaster.from_run(RunDirectory.open(small))
    start, times = initial_window(DATA, 1), DATA["time"].values[:9]
    one, other = (each.forecast(start, times, 2, 1)["field"] for each in (first, again))
    xr.testing.assert_allclose(one, other, atol=1e-5)
    assert again.model.quadrature == again.model.settings["quadrature"] == 7


def test_what_a_run_cannot_start_from_is_told(small: Path, tmp_path: Path) -> None:
    def told(match: str, data: xr.Dataset = DATA, **model: Any) -> None:
        with pytest.raises(InputError, match=match):
            build(configuration(**({"micro": 2, "warm_start": str(small)} | model)), data)

    told("model.warm_start = .*nowhere.*no such folder", warm_start=str(tmp_path / "nowhere"))
    told(r"has model\.hidden = 16, and this model 32", hidden=32)
    told(r"has 1 microscale components, more than model\.micro = 0", micro=0)
    told("is in the fixed frame.*says nothing in the comoving one", micro=3, frame="comoving")
    told(r"\[1, 40\], the data have \[1, 20\]", data=travelling_waves(grid=(20,)))

    RunDirectory.create(tmp_path / "untrained", configuration(micro=1))
    told("has no checkpoint best.safetensors", warm_start=str(tmp_path / "untrained"))
    mean = configuration().model_copy(
        update={"model": configuration().model.model_copy(update={"family": "mean-trajectory"})}
    )
    RunDirectory.create(tmp_path / "mean", mean)
    told("is a run of mean-trajectory, which has no weights", warm_start=str(tmp_path / "mean"))


def test_chains_start_from_chains(small: Path, tmp_path: Path) -> None:
    config = configuration(micro=2, warm_start=str(small)).model_copy(update={"chains": 2})
    with pytest.raises(InputError, match="2 chains cannot start from the 1 of"):
        check_warm_start(config, tmp_path / "run")
    run = RunDirectory.create(tmp_path / "run", config)
    assert run.chain_config(0).model.warm_start == str(small)
    assert run.chain_config(1).model.warm_start == str(small / "chain-1")
    assert run.chain_config(1).seed == 1


def test_from_takes_over_what_is_not_given(cli: Cli, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    first = cli("train", "kdv-1d", "--out", runs / "0", *TINY, "--model", "macro-only", "--seed", 3)
    assert first.exit_code == 0, first.output
    grow = ("train", "kdv-1d", "--from", runs / "0", "--set", "model.micro=1")
    result = cli(*grow, "--out", runs / "1", "--set", "training.learning_rate=1e-4")
    assert result.exit_code == 0, result.output
    one, other = (RunDirectory.open(runs / name).config.flat() for name in "01")
    changed = {key for key in one if one[key] != other[key]}
    assert changed == {"model.micro", "model.warm_start", "training.learning_rate"}
    assert other["model.warm_start"] == str(runs / "0")

    again = cli("train", "kdv-1d", "--out", runs / "1", "--resume", "--set", "training.steps=6")
    assert again.exit_code == 0, again.output
    assert MultiscaleForecaster.from_run(RunDirectory.open(runs / "1")).model.network.micro == 1

    # Nothing is lost where a run would replace the one that it needs.
    result = cli(*grow, "--out", runs / "0", "--force")
    assert result.exit_code == 2
    assert "cannot grow into its own folder" in result.stderr
    assert RunDirectory.open(runs / "0").has_checkpoint
    result = cli("train", "kdv-1d", "--from", runs / "none", "--out", runs / "2")
    assert result.exit_code == 2
    assert "holds no run (there is no such folder)" in result.stderr
    assert not (runs / "2").exists()
