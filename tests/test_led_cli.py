"""Learned effective dynamics through the command line, from training to hybrid forecasts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from pyro_msm.analysis.led_scores import sections
from pyro_msm.forecasting.solvers import SystemSolver

ROOT = Path(__file__).parents[1]
TINY = (
    "training.steps=30", "led.autoencoder_steps=10", "led.propagator_steps=10", "led.hidden=8",
    "led.propagator_hidden=8", "led.bptt=4", "led.horizon=4", "led.growth=4", "model.snapshots=3",
    "training.validate_every=10", "training.calibrate=false", "rollout.members=4",
    "rollout.times=9", "hybrid.long_time=6.0", "hybrid.solver_time=2.0",
)  # fmt: skip


def made(system: str, folder: Path, *settings: str) -> Path:
    from typer.testing import CliRunner

    from pyro_msm.cli import app

    words = [word for text in (*TINY, *settings) for word in ("--set", text)]
    result = CliRunner().invoke(
        app, ["run", system, "--model", "led", "--preset", "demo", "--out", str(folder), "--quiet",
              *words],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    small = "data.options={frames=31, end_time=30.0, time_step=0.1, scheme='strang'}"
    return made("fitzhugh-nagumo", tmp_path_factory.mktemp("led") / "run", small)


def test_a_run_is_scored_and_reported(run: Path) -> None:
    scores = json.loads((run / "scores.json").read_text())
    assert len(scores["mnad"]) == 2
    assert len(scores["wasserstein"]["state"]) == 2
    assert scores["mnad_long"]["horizon"] == 6.0
    assert 0 < scores["solver_share"] < 1
    speedup = scores["speedup"]
    assert speedup["batch"] == 1
    assert speedup["cheapest_solver"]["mnad"] <= np.mean(scores["mnad"])
    assert speedup["against_cheapest_solver"] <= speedup["against_own_solver"] * 1.001
    transition = np.array(scores["latent_states"]["transition"])
    assert np.allclose(transition.sum(1), 1)
    assert "Effective dynamics" in (run / "report.html").read_text()
    assert [section.heading for section in sections(scores)] == ["Effective dynamics"] * 2


def test_particles_are_compared_with_their_exact_law(tmp_path: Path) -> None:
    small = "data.options={frames=31, end_time=15.0, time_step=0.05, points=50}"
    run = made("advection-diffusion-1d", tmp_path / "run", small, "data.test=2")
    scores = json.loads((run / "scores.json").read_text())
    assert scores["diverged"] == 0
    found, floor = scores["wasserstein"], scores["wasserstein_self_similar"]
    assert found.keys() == floor.keys() == {"particles", "m1", "m2"}
    assert 0 < floor["m1"] < 0.05  # 0.2 / √50, that of a mean, is 0.03
    assert all(found[name] > floor[name] for name in ("particles", "m1"))  # ten steps of training
    rows = dict(sections(scores)[0].tables[0].rows)
    assert {"Wasserstein distance, m1", "of two true ensembles, m1"} <= rows.keys()


@pytest.mark.parametrize(
    ("how", "members"), [(("--ratio", "2"), "1"), (("--error-budget", "0.01"), "3")]
)
def test_hybrid_forecasts_of_the_test_split(
    run: Path, tmp_path: Path, cli: Callable[..., Any], how: tuple[str, str], members: str
) -> None:
    target = tmp_path / "forecast.nc"
    result = cli(
        "forecast", run, "-o", target, "--hybrid", *how, "--members", members, "--solver-time", "3"
    )
    assert result.exit_code == 0, result.output
    assert "MNAD against the test split" in result.stderr
    with xr.open_dataset(target) as found:
        assert found["field"].dims == ("member", "trajectory", "time", "channel", "x")
        assert found.sizes["member"] == int(members)
        assert float(found["solver"].mean()) == pytest.approx(found.attrs["solver_share"])
        if how[0] == "--ratio":
            assert found["solver"].values[0, 0, :9].tolist() == [0] * 6 + [1] * 3


def test_paths_that_diverge_are_told_and_count_in_the_error(
    run: Path, tmp_path: Path, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The solver loses the first of three members at t = 11, in its first phase."""
    step = SystemSolver.step

    def broken(self: SystemSolver, state: np.ndarray, t: float, duration: float) -> np.ndarray:
        found = step(self, state, t, duration)
        found[0] = np.nan if t == 10.0 else found[0]
        return found

    monkeypatch.setattr(SystemSolver, "step", broken)
    target = tmp_path / "forecast.nc"
    result = cli(
        "forecast", run, "-o", target, "--hybrid", "--ratio", "2", "--members", "3",
        "--solver-time", "4",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    told = "1 of 3 paths diverged, the first at t = 11: from there on their values are NaN."
    assert told in " ".join(result.stderr.split())
    assert "MNAD against the test split: u nan, v nan." in result.stderr
    with xr.open_dataset(target) as found:
        assert found["diverged_at"].values.ravel().tolist()[0] == 11.0
        assert found["diverged_at"].notnull().sum() == 1
        np.testing.assert_array_equal(found["nad"].notnull().all("channel"), found["time"] < 11.0)


def test_what_does_not_go_together_is_told(
    run: Path, tmp_path: Path, cli: Callable[..., Any]
) -> None:
    target = tmp_path / "forecast.nc"
    for words, message in (
        (("--ratio", "2"), "add --hybrid"),
        ((), "--initial FILE"),
        (("--hybrid",), "give one of them"),
        (("--hybrid", "--error-budget", "0.1", "--members", "1"), "2 members or more"),
        (("--hybrid", "--ratio", "1", "--until", "1"), "is not after the last initial"),
    ):
        result = cli("forecast", run, "-o", target, *words)
        assert result.exit_code == 2
        assert message in result.stderr
    assert not target.exists()


def test_the_page_runs() -> None:
    text = (ROOT / "docs" / "led.md").read_text()
    names: dict[str, Any] = {}
    for block in text.split("```python")[1:]:
        exec(compile(block.split("```")[0], "led.md", "exec"), names)
    assert np.mean(names["losses"][-5:]) < names["losses"][0]
