"""Examples and the README's program run, with few steps."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import ModuleType

import pytest

import pyro_msm

ROOT = Path(__file__).parents[1]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_plain_svi_trains_two_models() -> None:
    for first, last in load("plain_svi").main(steps=60):
        assert last < first


def test_plain_svi_is_shorter_than_40_lines() -> None:
    assert len((ROOT / "examples" / "plain_svi.py").read_text().splitlines()) < 40


def test_forecast_kdv_scores_an_ensemble() -> None:
    scores = load("forecast_kdv").main(steps=40)
    assert 0 < scores["relative_error"]["mean"] < 2


def test_a_netcdf_file_of_ones_own_becomes_a_forecast_in_its_units(tmp_path: Path) -> None:
    """Drop-outs are masked, common mistakes told in one line, scores in metres per second."""
    program = load("own_netcdf")
    program.record(tmp_path / "probes.nc")
    data = pyro_msm.data.validate(program.prepare(tmp_path / "probes.nc"))
    assert abs(float(data["field"].where(data["mask"]).std()) - 0.03) < 0.01
    assert 0.01 < float((~data["mask"]).mean()) < 0.03
    told = "\n".join(program.complaints(data))
    assert len(told.splitlines()) == 3
    for part in ("NaN or infinite", "no variable field", "attribute boundary"):
        assert part in told
    scores = program.main(tmp_path, steps=12)
    assert 0 < scores["crps"] < 0.1
    assert (tmp_path / "probe.png").stat().st_size > 10_000
    assert (tmp_path / "prepared.nc").exists()


def test_whoever_only_wants_the_report_gets_it(tmp_path: Path) -> None:
    settings = (
        "training.steps=3", "training.calibrate=false", "rollout.members=19", "rollout.times=11",
        "data.train=3", "data.validation=2", "data.test=2",
        "data.options={points=80, frames=101}", "training.window_length=4", "training.stride=4",
    )  # fmt: skip
    told = load("report_only").main(tmp_path, settings)
    assert len(told) == 5
    assert "off by" in told[0]
    for name in ("report.html", "report.pdf", "scores.json"):
        assert (tmp_path / "kdv" / name).stat().st_size > 1000


def test_led_forecasts_with_and_without_the_solver() -> None:
    found = load("led_fhn").main(steps=2, frames=81)
    assert sorted(found) == ["hybrid", "latent"]
    for errors in found.values():
        assert len(errors) == 2  # u and v
        assert all(0 < float(error) < 2 for error in errors)


def test_slow_fast_learns_the_averaged_drift_from_a_short_path() -> None:
    found = load("slow_fast").main(steps=5, end_time=10.0)
    assert 0 < found["drift error"] < 5
    assert 0.1 < found["information bound at k = 1"] < 0.5  # forty time units tell little
    assert found["parameters that the path has told"] > 0
    assert 0 <= found["share of places in the 90 % band"] <= 1


@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto:UserWarning")
@pytest.mark.parametrize("page", ["bayesian", "tutorials"])
def test_the_pages_run(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text()
    names: dict[str, object] = {}
    for block in text.split("```python")[1:]:
        exec(compile(block.split("```")[0], f"{page}.md", "exec"), names)
    assert capsys.readouterr().out


def test_the_programs_of_the_readme_run(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "README.md").read_text()
    program = text.split("```python")[1].split("```")[0]
    assert "steps=6000" in program
    exec(compile(program.replace("steps=6000", "steps=10"), "README.md", "exec"), {})
    assert math.isfinite(float(capsys.readouterr().out.split()[0]))
