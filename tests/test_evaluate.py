"""evaluate() on an ensemble of known calibration: the contract of scores.json, and its numbers."""

import json

import numpy as np
import pytest
import xarray as xr

from pyro_msm import analysis
from pyro_msm.analysis.score_rows import rows
from pyro_msm.errors import InputError
from tests.synthetic_ensemble import deterministic_baseline, synthetic_ensemble


def test_scores_are_the_published_definitions_and_json():
    ensemble = synthetic_ensemble(chains=2)
    result = analysis.evaluate(ensemble, seconds={"train": 2.0})
    json.dumps(result, allow_nan=False)

    mean = ensemble["posterior"]["signal"].mean(("chain", "draw")).values[:, 1:]
    for key, truth in [
        ("relative_error", ensemble["observed_data"]["field"]),
        ("relative_error_clean", ensemble["constant_data"]["clean"]),
    ]:
        target = truth.values[:, 1:]
        axes = (2, 3)
        ratio = np.sqrt(((mean - target) ** 2).sum(axes) / (target**2).sum(axes))
        assert result[key]["mean"] == pytest.approx(ratio.mean(), rel=1e-5)
        assert result[key]["std"] == pytest.approx(ratio.std(), rel=1e-4)
        assert result[key]["per_trajectory"] == pytest.approx(ratio.mean(1), rel=1e-5)
        assert result["by_lead_time"][key] == pytest.approx(ratio.mean(0), rel=1e-5)
    assert result["seconds"] == {"train": 2.0, "rollout": 1.5}
    assert result["members"] == 38
    assert result["trajectories"] == 4
    assert result["by_lead_time"]["lead_time"] == pytest.approx(np.arange(1, 11) / 10)
    assert {len(values) for values in result["by_lead_time"].values()} == {10}


def test_a_calibrated_ensemble_is_told_from_a_narrow_one():
    calibrated = analysis.evaluate(synthetic_ensemble(members=79, points=200))
    assert calibrated["spread_skill_against"] == "clean"
    assert calibrated["spread_skill"] == pytest.approx(1, abs=0.05)
    for level in ("0.5", "0.8", "0.9", "0.95"):
        for name in ("coverage", "coverage_clean"):
            held = calibrated[name][level]
            assert held["nominal"] == pytest.approx(float(level))
            assert held["observed"] == pytest.approx(held["nominal"], abs=0.04)
    narrow = analysis.evaluate(synthetic_ensemble(members=79, points=200, spread=0.5))
    assert narrow["spread_skill"] == pytest.approx(0.5, abs=0.05)
    assert narrow["coverage_clean"]["0.9"]["observed"] < 0.7
    assert narrow["crps"] > calibrated["crps"]


def test_without_clean_truth_the_spread_is_compared_with_noise_on_both_sides():
    result = analysis.evaluate(synthetic_ensemble(members=79, points=200, noise=0.3, clean=False))
    assert result["spread_skill_against"] == "noisy"
    assert result["spread_skill"] == pytest.approx(1, abs=0.05)
    for key in ("relative_error_clean", "crps_clean", "coverage_clean", "noise_floor"):
        assert result[key] is None
    assert "relative_error_clean" not in result["by_lead_time"]


def test_baselines_stand_beside_the_model():
    ensemble = synthetic_ensemble()
    copy = ensemble["posterior"].to_dataset()[["signal"]].isel(chain=0)
    baselines = {
        "half as much again": deterministic_baseline(ensemble, 0.5),
        "twin": copy.rename(signal="field", draw="member"),
    }
    result = analysis.evaluate(ensemble, baselines=baselines)
    worse = result["baselines"]["half as much again"]
    assert worse["relative_error_clean"]["mean"] == pytest.approx(0.5, rel=1e-5)
    observed = ensemble["observed_data"]["field"].values[:, 1:]
    forecast = 1.5 * ensemble["constant_data"]["clean"].values[:, 1:]
    assert worse["crps"] == pytest.approx(np.abs(forecast - observed).mean(), rel=1e-5)
    assert worse["spread_skill"] is None
    assert worse["coverage"]["0.9"] == {"nominal": None, "observed": None}
    # The same members with other draws of the same noise.
    twin = result["baselines"]["twin"]
    assert twin["relative_error"] == result["relative_error"]
    assert twin["crps"] == pytest.approx(result["crps"], rel=0.05)
    assert twin["spread_skill"] == pytest.approx(result["spread_skill"])
    names = [row.cells[0] for row in rows(result)]
    assert names == ["model", "twin", "half as much again", "noise floor"]


def test_noise_floor_is_the_error_of_the_clean_truth():
    ensemble = synthetic_ensemble()
    perfect = {"perfect": deterministic_baseline(ensemble, 0.0)}
    result = analysis.evaluate(ensemble, baselines=perfect)
    floor, score = result["noise_floor"], result["baselines"]["perfect"]
    assert score["relative_error"]["mean"] == pytest.approx(floor["relative_error"]["mean"])
    assert score["relative_error_clean"]["mean"] == pytest.approx(0, abs=1e-6)
    assert floor["crps"] == pytest.approx(0.05 / np.sqrt(np.pi))


def test_a_diverged_member_makes_scores_null_and_is_counted():
    ensemble = synthetic_ensemble()
    for group, name in [("posterior", "signal"), ("posterior_predictive", "field")]:
        ensemble[group][name].values[0, 3, 1, 6:] = np.nan
    ensemble["posterior"]["diverged_at"].values[0, 3, 1] = ensemble["posterior"]["time"][6]
    result = analysis.evaluate(ensemble)
    assert result["diverged"] == 1
    assert result["diverged_first_at"] == pytest.approx(1.1)
    for key in ("crps", "crps_clean", "spread_skill", "energy_score"):
        assert result[key] is None
    assert result["coverage"]["0.9"]["observed"] is None
    assert result["relative_error"]["mean"] is None
    assert [e is None for e in result["relative_error"]["per_trajectory"]] == [
        False,
        True,
        False,
        False,
    ]
    finite = [value is not None for value in result["by_lead_time"]["crps"]]
    assert finite == [True] * 5 + [False] * 5
    assert result["intervals"]["crps"] == [None, None]
    assert rows(result)[0].cells[1] == "diverged at t=1.1"


def test_a_member_that_is_not_finite_counts_even_if_nobody_said_so():
    ensemble = synthetic_ensemble()
    ensemble["posterior"]["signal"].values[0, 2, 3, 8] = np.inf
    assert analysis.evaluate(ensemble)["diverged"] == 1


def test_splits_are_scored_apart():
    ensemble = synthetic_ensemble(splits=["validation", "test", "test", "extrapolation"])
    result = analysis.evaluate(ensemble)
    assert result["split"] == "test"
    assert result["trajectories"] == 2
    assert set(result["splits"]) == {"validation", "extrapolation"}
    alone = synthetic_ensemble(splits=["validation", "test", "test", "extrapolation"])
    alone = alone.isel(trajectory=[3])
    assert analysis.evaluate(alone)["split"] == "extrapolation"
    assert analysis.evaluate(alone)["crps"] == result["splits"]["extrapolation"]["crps"]
    assert result["splits"]["extrapolation"]["intervals"]["crps"] is None


def test_one_member_has_no_spread_scores():
    result = analysis.evaluate(synthetic_ensemble(members=1))
    assert result["spread_skill"] is None
    assert result["rank_histogram"] is None
    assert result["coverage"]["0.9"]["observed"] is None
    assert result["crps"] > 0


def test_a_mask_hides_points():
    ensemble = synthetic_ensemble()
    seen = np.random.default_rng(0).random(ensemble["observed_data"]["field"].shape) < 0.7
    spoiled = ensemble.copy(deep=True)
    spoiled["observed_data"]["field"].values[~seen] = 1e6
    dims = ensemble["observed_data"]["field"].dims
    constant = spoiled["constant_data"].to_dataset().assign(mask=(dims, seen))
    spoiled["constant_data"] = xr.DataTree(constant)
    result = analysis.evaluate(spoiled)
    assert result["relative_error"]["mean"] == pytest.approx(
        analysis.evaluate(ensemble)["relative_error"]["mean"], rel=0.1
    )


@pytest.mark.parametrize("options", [{"plane": True, "points": 12}, {"channels": 2}, {"micro": 0}])
def test_other_shapes_of_field(options):
    result = analysis.evaluate(synthetic_ensemble(members=79, **options))
    assert result["spread_skill"] == pytest.approx(1, abs=0.1)


def test_files_give_the_same_scores_as_memory_in_blocks(tmp_path):
    ensemble = synthetic_ensemble()
    expected = analysis.evaluate(ensemble)
    ensemble.to_netcdf(tmp_path / "ensemble.nc")
    with analysis.open_ensemble(tmp_path) as opened:
        result = analysis.evaluate(opened, memory=16 * 19 * 40 * 4 * 3)
    path = analysis.write_scores(tmp_path / "scores.json", result)
    assert {p.name for p in tmp_path.iterdir()} == {"ensemble.nc", "scores.json"}
    read = json.loads(path.read_text())
    assert read["crps"] == pytest.approx(expected["crps"], rel=1e-12)
    assert read["relative_error"] == expected["relative_error"]
    assert read["intervals"]["coverage"] == expected["intervals"]["coverage"]


def test_wrong_input_is_told_in_one_line(tmp_path):
    ensemble = synthetic_ensemble()
    with pytest.raises(InputError, match=r"holds no ensemble\.nc"):
        analysis.open_ensemble(tmp_path)
    (tmp_path / "ensemble.nc").write_text("no ensemble")
    with pytest.raises(InputError, match="not a readable ensemble"):
        analysis.open_ensemble(tmp_path)
    with pytest.raises(InputError, match="no group 'posterior'"):
        analysis.evaluate(ensemble.filter(lambda node: node.name != "posterior"))
    with pytest.raises(InputError, match="has no variable 'field'"):
        analysis.evaluate(ensemble, baselines={"b": xr.Dataset()})
    short = deterministic_baseline(ensemble).isel(time=slice(0, 5))
    with pytest.raises(InputError, match=r"lacks 6 of the ensemble's times, the first t=1"):
        analysis.evaluate(ensemble, baselines={"b": short})
    few = deterministic_baseline(ensemble).isel(trajectory=slice(0, 2))
    with pytest.raises(InputError, match="2 trajectories"):
        analysis.evaluate(ensemble, baselines={"b": few})


def test_the_printed_table_names_everyone(capsys):
    from rich.console import Console

    ensemble = synthetic_ensemble()
    result = analysis.evaluate(ensemble, baselines={"other": deterministic_baseline(ensemble)})
    Console(width=80).print(analysis.table(result))
    printed = capsys.readouterr().out
    for word in ("model", "other", "noise floor", "band"):
        assert word in printed
