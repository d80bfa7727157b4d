"""Figures, plain-language summary, the report page and the way to ArviZ."""

import json
import re
from html.parser import HTMLParser
from importlib import import_module

import arviz
import matplotlib.pyplot as plt
import numpy as np
import pytest

from pyro_msm import analysis
from pyro_msm.analysis import plots
from pyro_msm.analysis.plain_words import sentences
from pyro_msm.errors import InputError
from tests.synthetic_ensemble import deterministic_baseline, synthetic_ensemble

RECORDS = [{"step": i, "loss": 100.0 / (i + 1)} for i in range(60)]
RECORDS += [{"step": 20, "validation_error": 0.3}, {"step": 40, "validation_error": 0.1}]
RECORDS += [{"event": "resumed"}, {"step": 50, "loss": float("nan")}]


@pytest.fixture(autouse=True)
def coarse_pictures(monkeypatch):
    """The pictures' resolution is most of the time of a report."""
    monkeypatch.setattr(import_module("pyro_msm.analysis.report"), "DPI", 40)


class Outside(HTMLParser):
    """Collects what a page would load, and its text."""

    def __init__(self, page):
        super().__init__()
        self.loads, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.loads += [value for key, value in attrs if key in {"src", "href"}]
        if tag in {"script", "link", "iframe"}:
            self.loads.append(tag)

    def handle_data(self, data):
        self.text += data


def run_folder(folder, ensemble, **options):
    ensemble.to_netcdf(folder / "ensemble.nc")
    result = analysis.evaluate(ensemble, **options)
    analysis.write_scores(folder / "scores.json", result)
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, RECORDS)) + '\n{"step": 7')
    (folder / "config.toml").write_text('[data]\nsource = "<kdv>"\n')
    (folder / "environment.json").write_text('{"packages": {"torch": "2.13"}}')
    return result


def said(result):
    """The summary, its non-breaking spaces made plain."""
    return " ".join(sentences(result)).replace("\u00a0", " ")


def test_a_full_report_is_self_contained_and_says_everything(tmp_path):
    ensemble = synthetic_ensemble(splits=["test"] * 3 + ["extrapolation"])
    run_folder(tmp_path, ensemble, baselines={"other": deterministic_baseline(ensemble)})
    page = Outside(analysis.report(tmp_path).read_text())
    assert len(page.loads) == 12
    assert all(source.startswith("data:image/png;base64,") for source in page.loads)
    for words in (
        "travelling-wave",
        "It beats the best baseline, other",
        "Extrapolation split",
        "noise floor",
        'source = "<kdv>"',
        "packages.torch",
        "3 test, 1 extrapolation",
        "the one of median error",
        "How sure these scores are",
        "Where the uncertainty comes from",
        "One model was trained",
        "correlation with the encoded truth",
        "taken at its word over the whole horizon",
    ):
        assert words in page.text
    assert "Not on this page" not in page.text
    assert not [p.name for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_missing_pieces_are_said_in_one_line_each(tmp_path):
    ensemble = synthetic_ensemble(clean=False, micro=0)
    ensemble.to_netcdf(tmp_path / "ensemble.nc")
    (tmp_path / "environment.json").write_text("{not json")
    page = Outside(analysis.report(tmp_path).read_text())
    for words in (
        "scores.json is not in the run folder.",
        "metrics.jsonl is not in the run folder.",
        "config.toml is not in the run folder.",
        "environment.json cannot be read",
        "has not been scored",
    ):
        assert words in page.text
    assert len(page.loads) == 3  # fields, space and time, latent paths
    (tmp_path / "ensemble.nc").unlink()
    with pytest.raises(InputError, match="pyro-msm rollout"):
        analysis.report(tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"plane": True, "points": 15},
        {"channels": 2},
        {"members": 1, "trajectories": 1},
        {"chains": 3, "clean": False},
    ],
)
def test_reports_of_other_shapes(tmp_path, options, monkeypatch):
    # The figures are made but not painted, which would take seconds each time.
    monkeypatch.setattr(import_module("pyro_msm.analysis.report"), "png", lambda figure: "")
    ensemble = synthetic_ensemble(**options)
    run_folder(tmp_path, ensemble)
    page = Outside(analysis.report(tmp_path).read_text())
    assert "In plain words" in page.text
    channels = options.get("channels", 1)
    per_channel = 2 if options.get("plane") else 3
    # One member has no calibration, no probabilities, and no sources of its variance.
    unknown = 3 if options.get("members") == 1 else 0
    assert len(page.loads) == per_channel * channels + 9 - unknown


def test_a_diverged_run_is_reported_not_hidden(tmp_path):
    ensemble = synthetic_ensemble()
    for group, name in [("posterior", "signal"), ("posterior_predictive", "field")]:
        ensemble[group][name].values[0, 3, :, 6:] = np.nan
        ensemble[group][name].values[0, 4, 0, 5:] = np.inf
    ensemble["posterior"]["diverged_at"].values[0, 3] = 1.1
    run_folder(tmp_path, ensemble)
    text = Outside(analysis.report(tmp_path).read_text()).text.replace("\u00a0", " ")
    assert "5 of 76 forecasts DIVERGED, the first at t=1.1" in text
    assert "Errors can be given up to lead time 0.4 only" in text


def test_summary_says_when_the_model_loses():
    ensemble = synthetic_ensemble()
    better = {"better": deterministic_baseline(ensemble, 0.01)}
    assert "The model LOSES to the best baseline, better" in said(
        analysis.evaluate(ensemble, baselines=better)
    )
    copy = ensemble["posterior"].to_dataset()[["signal"]].isel(chain=0)
    twin = {"twin": copy.rename(signal="field", draw="member")}
    assert "as good as the best baseline, twin" in said(analysis.evaluate(ensemble, baselines=twin))
    assert "No baseline was scored" in said(analysis.evaluate(ensemble))


@pytest.mark.parametrize(
    ("spread", "words"),
    [
        (0.5, "too narrow by a factor of 2"),
        (2.0, "too wide by a factor of 2"),
        (1.0, "about right"),
    ],
)
def test_summary_says_by_what_factor_the_spread_is_wrong(spread, words):
    ensemble = synthetic_ensemble(members=79, points=200, spread=spread)
    assert words in said(analysis.evaluate(ensemble))


def test_summary_says_until_when_the_spread_is_right():
    result = analysis.evaluate(synthetic_ensemble())
    lists = result["by_lead_time"]
    lists["rmse"] = [0.1] * 4 + [0.3] * 6
    lists["spread"] = [0.1] * 10
    assert "right up to lead time 0.4 and after that too narrow by a factor of 3" in said(result)


def test_coverage_is_said_with_its_interval():
    text = said(analysis.evaluate(synthetic_ensemble(members=79, points=200)))
    assert re.search(r"The 90 % band held (89|90|91) % \[\d\d, \d\d\] of the noisy truth", text)
    assert re.search(r"and (89|90|91) % of the noise-free one", text)


def test_captions_stay_with_their_figures():
    ensemble = analysis.Ensemble(synthetic_ensemble())
    result = analysis.evaluate(ensemble.tree)
    for figure, words in [
        (plots.fields(ensemble, 2), "trajectory 17 at 5 times"),
        (plots.space_time(ensemble), "over space and time"),
        (plots.latents(ensemble), "encoder"),
        (plots.error_growth(result), "relative error of the ensemble mean"),
        (plots.calibration(result), "Calibration"),
        (plots.probability(result), "effective samples"),
        (plots.variance_parts(ensemble, result), "one chain"),
        (plots.spectra(result), "Energy spectra"),
        (plots.scales(result), "What the scales do"),
        (plots.maps(ensemble, np.arange(4)), "4 trajectories, against the clean truth"),
        (plots.comparison({"one": result, "other": result}), "Runs side by side"),
        (plots.training(RECORDS), "Training"),
    ]:
        assert words in figure.get_label()


def test_figures_show_the_numbers_that_they_claim():
    tree = synthetic_ensemble()
    ensemble = analysis.Ensemble(tree)
    signal = tree["posterior"]["signal"].values[0, :, 1, :, 0]
    clean = tree["constant_data"]["clean"].values[1, :, 0]
    axes = plots.fields(ensemble, 1).axes
    assert [a.get_title() for a in axes[:5]] == [f"t = {t}" for t in (0.7, 0.9, 1.1, 1.3, 1.5)]
    truth, mean = (line.get_ydata() for line in axes[4].lines)
    np.testing.assert_allclose(truth, clean[-1])
    np.testing.assert_allclose(mean, signal[:, -1].mean(0), rtol=1e-5)
    error, spread = axes[19].lines[0].get_ydata(), axes[24].lines[0].get_ydata()
    np.testing.assert_allclose(error, mean - truth)
    np.testing.assert_allclose(spread, signal[:, -1].std(0, ddof=1), rtol=1e-5)
    assert axes[24].get_ylim()[0] == 0
    assert axes[24].get_ylim()[1] >= spread.max()


def test_training_curves_tolerate_missing_keys():
    for records in (RECORDS[:5], RECORDS[60:62]):
        assert len(plots.training(records).axes) == 2
    with pytest.raises(InputError, match="no loss and no validation error"):
        plots.training([{"step": 1}, {"event": "x"}])


def test_ensembles_go_into_arviz(tmp_path):
    ensemble = synthetic_ensemble(chains=2, times=3, trajectories=2)
    table = analysis.summary(ensemble, ["micro"])
    assert len(table) == 2 * 5 * 3
    micro = ensemble["posterior"]["micro"].mean(("chain", "draw")).values.ravel()
    np.testing.assert_allclose(table["mean"], micro, atol=6e-4)
    ensemble.to_netcdf(tmp_path / "ensemble.nc")
    with analysis.open_ensemble(tmp_path) as opened:
        again = analysis.summary(opened, ["micro"], kind="stats")
    assert again["mean"].tolist() == table["mean"].tolist()
    data = arviz.from_netcdf(tmp_path / "ensemble.nc")
    assert data.posterior["signal"].shape == ensemble["posterior"]["signal"].shape
    chosen = {"trajectory": ensemble["posterior"]["trajectory"].values[:1], "micro_component": [0]}
    arviz.plot_rank(analysis.to_inference_data(ensemble), var_names=["micro"], coords=chosen)
    assert len(plt.gcf().axes) >= 5  # one a time
    plt.close("all")
