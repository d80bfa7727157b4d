"""Examples and the README's program run, with few steps."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import ModuleType

import pytest

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


def test_the_programs_of_the_readme_run(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "README.md").read_text()
    program = text.split("```python")[1].split("```")[0]
    assert "steps=6000" in program
    exec(compile(program.replace("steps=6000", "steps=10"), "README.md", "exec"), {})
    assert math.isfinite(float(capsys.readouterr().out.split()[0]))
