"""The PDF, moving pictures and the comparison of runs."""

from importlib import import_module
from itertools import pairwise

import numpy as np
import pytest

from pyro_msm import analysis
from pyro_msm.analysis.report_page import read_run
from pyro_msm.analysis.report_pdf import _sheets
from pyro_msm.config import resolve
from pyro_msm.runs import RunDirectory
from tests.synthetic_ensemble import deterministic_baseline, synthetic_ensemble
from tests.test_report import Outside, run_folder

Image = pytest.importorskip("PIL.Image")


@pytest.fixture(autouse=True)
def coarse_pictures(monkeypatch):
    monkeypatch.setattr(import_module("pyro_msm.analysis.report"), "DPI", 30)
    monkeypatch.setattr(import_module("pyro_msm.analysis.animate"), "DPI", 30)


def test_the_pdf_holds_the_words_tables_and_figures_of_the_page(tmp_path):
    ensemble = synthetic_ensemble(chains=2)
    run_folder(tmp_path, ensemble, baselines={"other": deterministic_baseline(ensemble)})
    path = analysis.report_pdf(tmp_path)
    assert path.read_bytes().startswith(b"%PDF")
    page = read_run(tmp_path)
    figures = sum(len(drawings) for drawings in page.sections.values())
    sheets = list(_sheets(page))
    assert len(sheets) == figures + 2
    text = "\n".join(t.get_text() for sheet in sheets for t in sheet.texts)
    text = text.replace("\u00a0", " ")
    for words in (
        "It beats the best baseline, other",
        "noise floor",
        "Where the uncertainty comes from",
        "Sources of the forecast's variance",
        'source = "<kdv>"',
        "packages.torch",
    ):
        assert words in text
    sizes = [sheet.get_size_inches() for sheet in sheets]
    assert all(8 < width < 9 and height < 12 for width, height in sizes)


@pytest.mark.parametrize("plane", [False, True])
def test_a_moving_picture_has_a_frame_for_each_time(tmp_path, plane, monkeypatch):
    module = import_module("pyro_msm.analysis.animate")
    monkeypatch.setattr(module.FFMpegWriter, "isAvailable", classmethod(lambda cls: False))
    ensemble = synthetic_ensemble(points=12, times=4, plane=plane)
    ensemble["posterior"]["signal"].values[0, 1, 1, 3:] = np.nan  # diverged at the last frame
    paths = analysis.animate(analysis.Ensemble(ensemble), tmp_path, trajectory=1)
    assert [path.name for path in paths] == ["animation.gif"]
    assert {path.name for path in tmp_path.iterdir()} == {"animation.gif"}
    with Image.open(paths[0]) as film:
        assert film.n_frames == 4
        frames = []
        for number in range(4):
            film.seek(number)
            frames.append(np.asarray(film.convert("L")))
    assert all((a != b).any() for a, b in pairwise(frames))


def test_the_command_line_writes_them_all(tmp_path, cli, monkeypatch):
    # Nothing is painted: the other tests do that.
    monkeypatch.setattr(import_module("pyro_msm.analysis.report"), "png", lambda figure: "")
    module = import_module("pyro_msm.analysis.report_pdf")
    monkeypatch.setattr(module, "_sheets", lambda page: iter([module.Figure()]))
    run = RunDirectory.create(tmp_path / "run", resolve("kdv-1d"))
    ensemble = synthetic_ensemble(points=12, times=3, micro=1)
    ensemble.to_netcdf(run.ensemble)
    assert "has no scores yet" in cli("report", run.path, "--pdf").stderr
    analysis.write_scores(run.scores, analysis.evaluate(ensemble))
    done = cli("report", run.path, "--pdf", "--animate")
    assert done.exit_code == 0, done.output
    for name in ("report.html", "report.pdf", "animation.gif"):
        assert (run.path / name).stat().st_size > 500
        assert name in done.stdout.replace("\n", "")
    page = tmp_path / "compare.html"
    assert cli("compare", run.path, run.path, "--html", page).exit_code == 0
    assert page.exists()
    wrong = cli("compare", run.path, "--html", run.ensemble)
    assert wrong.exit_code == 2
    assert "expected the name of an .html file" in wrong.stderr
    run.scores.write_text('{"crps": 1}')
    old = cli("compare", run.path, "--html", page)
    assert old.exit_code == 2
    assert "pyro-msm evaluate" in old.stderr
    RunDirectory.create(run.path, resolve("kdv-1d"), force=True)
    assert not (run.path / "report.pdf").exists()


def test_runs_stand_side_by_side(tmp_path):
    runs = {
        name: analysis.evaluate(synthetic_ensemble(spread=spread))
        for name, spread in [("runs/right", 1.0), ("runs/narrow", 0.5)]
    }
    path = analysis.comparison_page(runs, tmp_path / "compare.html")
    page = Outside(path.read_text())
    assert [source[:22] for source in page.loads] == ["data:image/png;base64,"]
    assert "runs/right" in page.text
    assert "runs/narrow" in page.text
    axes = analysis.plots.comparison(runs).axes
    spread = [line for line in axes[2].lines if line.get_label() == "runs/narrow"]
    expected = runs["runs/narrow"]["by_lead_time"]["spread_skill"]
    np.testing.assert_allclose(spread[0].get_ydata(), expected)
