"""Paths and particles from the rollout to the report: what fields have, as far as it applies."""

import json

import numpy as np
import pytest
import scipy.stats
import xarray as xr

from pyro_msm import analysis, scores
from pyro_msm import data as datasets
from pyro_msm.analysis.family_scores import FAMILY_SCORES, Evaluated, family_scores
from pyro_msm.config import Config
from pyro_msm.errors import InputError
from pyro_msm.forecasting import open_ensemble, rollout, write_ensemble
from pyro_msm.forecasting.baselines import BASELINES, MeanTrajectory, Persistence, fit_all
from tests.small_paths import Latent, Walk, clouds, random_walks

PATHS = random_walks()
CLOUDS = clouds()
TEST = PATHS.isel(trajectory=slice(4, None))


def evaluated(tree, **options):
    """Scores as a file holds them."""
    return json.loads(json.dumps(analysis.evaluate(tree, **options), allow_nan=False))


def test_a_path_is_rolled_out_under_its_own_name_at_its_irregular_times(tmp_path):
    tree = rollout(Walk(), PATHS, members=5, generator=1)
    write_ensemble(tree, tmp_path / "ensemble.nc")
    tree = open_ensemble(tmp_path)
    sizes = {"chain": 1, "draw": 5, "trajectory": 3, "time": 13, "component": 2}
    assert tree["posterior"]["signal"].sizes == sizes
    assert tree["posterior_predictive"]["path"].sizes == sizes
    np.testing.assert_array_equal(tree["observed_data"]["path"], TEST["path"])
    np.testing.assert_array_equal(tree["constant_data"]["clean"], TEST["clean"])
    np.testing.assert_array_equal(tree["posterior"]["time"], PATHS["time"])
    noise = tree["posterior_predictive"]["path"] - tree["posterior"]["signal"]
    assert 0.04 < float(noise.std()) < 0.06


def test_scores_of_a_path_are_those_of_its_values():
    tree = rollout(Walk(), PATHS, members=19, generator=1)
    result = evaluated(tree)
    members = tree["posterior"]["signal"].values.reshape(19, 3, 13, 2)[:, :, 1:]
    clean, noisy = (TEST[name].values[:, 1:] for name in ("clean", "path"))
    away = np.linalg.norm(members.mean(0) - noisy, axis=-1) / np.linalg.norm(noisy, axis=-1)
    assert result["relative_error"]["mean"] == pytest.approx(away.mean(), rel=1e-5)
    assert result["by_lead_time"]["relative_error"] == pytest.approx(away.mean(0), rel=1e-5)
    assert result["crps_clean"] == pytest.approx(scores.fair_crps(members, clean).mean(), rel=1e-5)
    seen = tree["posterior_predictive"]["path"].values.reshape(19, 3, 13, 2)[:, :, 1:]
    inside = (np.sort(seen, 0)[0] <= noisy) & (np.sort(seen, 0)[-1] >= noisy)
    assert result["coverage"]["0.9"]["observed"] == pytest.approx(inside.mean())
    energy = [
        scores.fair_energy_score(seen[:, i, t], noisy[i, t]) for i in range(3) for t in range(12)
    ]
    assert result["energy_score"] == pytest.approx(np.mean(energy), rel=1e-5)
    assert len(result["rank_histogram"]) == 20
    assert result["variable"] == "path"
    assert result["spectrum"] is None
    assert result["scales"] is None
    assert result["pit"]["probability"]


def test_an_honest_path_forecast_reads_as_calibrated():
    walks = random_walks(splits=("train", *["test"] * 60), noise=0.05)
    result = evaluated(rollout(Walk(), walks, members=79, generator=1))
    assert 0.85 < result["spread_skill"] < 1.15
    assert 0.85 < result["coverage"]["0.9"]["observed"] < 0.95
    narrow = evaluated(rollout(Walk(0.5), walks, members=79, generator=1))
    assert narrow["spread_skill"] < 0.65


def test_one_deterministic_path_has_an_error_and_no_spread():
    result = evaluated(rollout(Walk(0.0), PATHS, members=5))
    assert result["members"] == 1
    assert result["relative_error"]["mean"] > 0
    assert result["spread_skill"] is None
    assert result["pit"] is None


@pytest.mark.parametrize("data", [PATHS, CLOUDS], ids=["path", "particles"])
def test_latent_forecasters_stream_any_variable(data, tmp_path):
    made = Latent().fit(data)
    name = made.variable
    whole = rollout(made, data, members=6, generator=2)
    pieces = rollout(made, data, members=6, generator=2, store=tmp_path / "a.zarr", memory=2000)
    lazy = rollout(made, data, members=6, generator=2, fields=False)
    latents = tmp_path / "b.zarr"
    stored = rollout(made, data, members=6, generator=2, fields=False, store=latents)
    assert whole["posterior_predictive"][name].dims == (
        "chain", "draw", *data[name].dims,
    )  # fmt: skip
    for other in (pieces, lazy, stored):
        for group, variable in (("posterior", "signal"), ("posterior_predictive", name)):
            found = other[group][variable].values
            np.testing.assert_array_equal(found, whole[group][variable].values)
    signal = open_ensemble(latents, [made])["posterior"]["signal"]
    np.testing.assert_array_equal(signal, whole["posterior"]["signal"])
    noise = whole["posterior_predictive"][name] - whole["posterior"]["signal"]
    spread = noise.std([dim for dim in noise.dims if dim != "component"]).values
    wanted = whole["posterior"]["observation_std"].values[0]
    np.testing.assert_allclose(spread, wanted, rtol=0.25)


@pytest.mark.parametrize("data", [PATHS, CLOUDS], ids=["path", "particles"])
def test_scores_do_not_depend_on_how_the_work_is_cut(data):
    tree = rollout(Latent().fit(data), data, members=300, generator=2)
    whole, cut = evaluated(tree), evaluated(tree, memory=20_000)
    for key in ("crps", "energy_score", "particles", "by_lead_time", "relative_error"):
        if isinstance(whole.get(key), float):
            assert cut[key] == pytest.approx(whole[key], rel=1e-6)
        elif whole.get(key) is not None:
            for name, values in whole[key].items():
                if not isinstance(values, dict | str):
                    assert cut[key][name] == pytest.approx(values, rel=1e-6), (key, name)


def test_particles_are_scored_whatever_their_order():
    made = Latent().fit(CLOUDS)
    tree = rollout(made, CLOUDS, members=7, generator=2)
    result = evaluated(tree)
    signal = tree["posterior"]["signal"]
    order = np.random.default_rng(0).permutation(signal.sizes["particle"])
    shuffled = signal.copy(data=signal.values[..., order, :])
    tree["posterior"] = tree["posterior"].to_dataset().assign(signal=shuffled)
    again = evaluated(tree)
    for name in ("wasserstein", "m1_error", "m2_error"):
        assert again["particles"][name] == pytest.approx(result["particles"][name], rel=1e-9)


def test_particle_scores_against_scipy_and_by_hand():
    tree = rollout(Latent().fit(CLOUDS), CLOUDS, members=4, generator=2)
    result = evaluated(tree)
    members = tree["posterior"]["signal"].values[0][:, :, 1:].astype(float)
    truth = tree["constant_data"]["clean"].values[:, 1:].astype(float)
    distance = np.empty((4, 3, 5, 3))
    for place in np.ndindex(*distance.shape):
        m, i, t, c = place
        distance[place] = scipy.stats.wasserstein_distance(
            members[m, i, t, :, c], truth[i, t, :, c]
        )
    found = result["particles"]
    assert found["wasserstein"] == pytest.approx(distance.mean(), rel=1e-6)
    assert found["by_component"]["y"]["wasserstein"] == pytest.approx(distance[..., 1].mean())
    assert result["by_lead_time"]["wasserstein"] == pytest.approx(distance.mean((0, 1, 3)))
    assert result["by_trajectory"]["wasserstein"] == pytest.approx(distance.mean((0, 2, 3)))
    first = np.abs(members.mean(3).mean(0) - truth.mean(2))
    second = np.abs(members.var(3).mean(0) - truth.var(2))
    assert found["m1_error"] == pytest.approx(first.mean(), rel=1e-6)
    assert found["m2_error"] == pytest.approx(second.mean(), rel=1e-6)
    assert found["against"] == "clean"
    for name in ("relative_error", "crps", "coverage", "spread_skill", "energy_score", "pit"):
        assert result[name] is None
    low, high = result["intervals"]["particles"]["wasserstein"]
    assert low < found["wasserstein"] < high


def test_without_clean_particles_the_observed_ones_are_the_truth():
    data = clouds(clean=False)
    result = evaluated(rollout(Latent().fit(data), data, members=4, generator=2))
    assert result["particles"]["against"] == "noisy"
    assert result["particles"]["wasserstein"] > 0


def test_a_diverged_member_of_particles_is_told():
    tree = rollout(Latent().fit(CLOUDS), CLOUDS, members=4, generator=2)
    posterior = tree["posterior"].to_dataset()
    values = posterior["signal"].values.copy()
    values[0, 1, 2, 3:] = np.nan
    at = posterior["diverged_at"].copy()
    at[0, 1, 2] = 1.6
    posterior = posterior.assign(signal=posterior["signal"].copy(data=values), diverged_at=at)
    tree["posterior"] = posterior
    result = evaluated(tree)
    assert result["diverged"] == 1
    assert result["diverged_first_at"] == 1.6
    assert result["particles"]["wasserstein"] is None
    known = [value is not None for value in result["by_lead_time"]["wasserstein"]]
    assert known == [True, True, False, False, False]


def test_baselines_of_a_path_and_those_that_do_not_apply_to_particles():
    tree = rollout(Walk(), PATHS, members=9, generator=1)
    start, times = TEST.isel(time=slice(0, 1)), PATHS["time"].values
    beside = {
        kind.name: kind().fit(PATHS).forecast(start, times)
        for kind in (Persistence, MeanTrajectory)
    }
    result = evaluated(tree, baselines=beside)
    last = TEST["path"].values[:, :1]
    noisy = TEST["path"].values[:, 1:]
    away = np.linalg.norm(last - noisy, axis=-1) / np.linalg.norm(noisy, axis=-1)
    found = result["baselines"]["persistence"]
    assert found["relative_error"]["mean"] == pytest.approx(away.mean(), rel=1e-5)
    regular = random_walks(irregular=False)
    assert list(fit_all(regular, ["analog", "regression"])[0]) == ["analog", "regression"]
    fitted, problems = fit_all(CLOUDS)
    assert list(fitted) == ["persistence"]
    for name, line in problems.items():
        assert "\n" not in line, name
    assert "order of particles means nothing" in problems["mean-trajectory"]


@pytest.mark.parametrize("size", [1.0, 0.0], ids=["stochastic", "deterministic"])
def test_report_of_a_path(size, tmp_path):
    tree = rollout(Walk(size), PATHS, members=9, generator=1)
    beside = {"persistence": Persistence().fit(PATHS).forecast(
        TEST.isel(time=slice(0, 1)), PATHS["time"].values
    )}  # fmt: skip
    write_ensemble(tree, tmp_path / "ensemble.nc")
    analysis.write_scores(tmp_path / "scores.json", analysis.evaluate(tree, baselines=beside))
    page = analysis.report(tmp_path).read_text("utf-8")
    for text in ("of the path’s size", "persistence", "<h3>Path</h3>", "random-walk"):
        assert text.replace("’", "&#39;") in page, text
    for text in ("Energy spectra", "Scores over space", "Fields at five times"):
        assert text not in page
    with pytest.raises(InputError, match="moving pictures are made of fields"):
        analysis.animate(analysis.Ensemble(tree), tmp_path)


def test_report_and_table_of_particles(tmp_path):
    tree = rollout(Latent().fit(CLOUDS), CLOUDS, members=4, generator=2)
    start, times = CLOUDS.isel(trajectory=slice(4, None), time=slice(0, 1)), CLOUDS["time"].values
    beside = {"persistence": Persistence().fit(CLOUDS).forecast(start, times)}
    write_ensemble(tree, tmp_path / "ensemble.nc")
    result = analysis.evaluate(tree, baselines=beside)
    analysis.write_scores(tmp_path / "scores.json", result)
    page = analysis.report(tmp_path).read_text("utf-8")
    for text in ("Particles at five times", "Wasserstein", "Errors against lead time"):
        assert text in page
    assert "CRPS</th>" not in page
    assert "Calibration</h3>" not in page
    assert analysis.report_pdf(tmp_path).stat().st_size > 0
    assert analysis.table(result).columns[1].header == "Wasserstein"
    assert len(list(analysis.table(result).rows)) == 2


def test_runs_of_particles_are_not_compared_with_runs_of_paths(tmp_path):
    runs = {
        "walk": analysis.evaluate(rollout(Walk(), PATHS, members=4)),
        "cloud": analysis.evaluate(rollout(Latent().fit(CLOUDS), CLOUDS, members=4)),
    }
    with pytest.raises(InputError, match="no score in common"):
        analysis.comparison_page(runs, tmp_path / "page.html")


def test_an_ensemble_without_a_variable_of_the_contract_is_told():
    tree = rollout(Walk(), PATHS, members=4)
    tree["observed_data"] = xr.Dataset({"strange": ("x", [1.0])})
    with pytest.raises(InputError, match="observed_data: no variable field"):
        analysis.evaluate(tree)


def test_a_stochastic_path_through_the_command_line(cli, tmp_path, monkeypatch):
    monkeypatch.setitem(BASELINES, "persistence", Walk)
    datasets.save(PATHS, tmp_path / "walks.nc")
    run = tmp_path / "run"
    done = cli("run", tmp_path / "walks.nc", "--out", run, "--model", "persistence",
               "--members", 19, "--quiet")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    result = json.loads((run / "scores.json").read_text())
    assert result["variable"] == "path"
    assert result["members"] == 19
    assert set(result["baselines"]) == {"mean-trajectory", "regression"}
    assert (run / "report.html").exists()
    start = PATHS.isel(time=slice(0, 1), trajectory=[5])
    datasets.save(start, tmp_path / "start.nc")
    now = cli("forecast", run, "--initial", tmp_path / "start.nc", "-o", tmp_path / "next.nc",
              "--members", 3, "--times", 5, "--until", 2.0)  # fmt: skip
    assert now.exit_code == 0, now.stderr
    with xr.open_dataset(tmp_path / "next.nc") as forecast:
        assert forecast["path"].sizes == {"member": 3, "trajectory": 1, "time": 5, "component": 2}


def test_particles_through_the_command_line(cli, tmp_path):
    datasets.save(CLOUDS, tmp_path / "clouds.nc")
    run = tmp_path / "run"
    done = cli("run", tmp_path / "clouds.nc", "--out", run, "--model", "persistence")
    assert done.exit_code == 0, done.stderr
    said = [line for line in (done.stderr + done.stdout).splitlines() if "No regression" in line]
    assert len(said) == 1
    result = json.loads((run / "scores.json").read_text())
    assert result["particles"]["wasserstein"] > 0
    assert result["baselines"] == {}
    shown = cli("compare", run, run)
    assert "Wasserstein" in shown.stdout


def test_a_family_has_scores_and_sections_of_its_own(cli, tmp_path, monkeypatch):
    monkeypatch.setitem(BASELINES, "persistence", Walk)
    monkeypatch.setitem(FAMILY_SCORES, "persistence", "tests.small_family")
    datasets.save(PATHS, tmp_path / "walks.nc")
    run = tmp_path / "run"
    done = cli("run", tmp_path / "walks.nc", "--out", run, "--model", "persistence",
               "--members", 5)  # fmt: skip
    assert done.exit_code == 0, done.stderr
    result = json.loads((run / "scores.json").read_text())
    assert result["family"] == "persistence"
    assert result["drift_error"] == 0.25
    assert len(result["reach"]["last"]) == 2
    page = (run / "report.html").read_text("utf-8")
    for text in (
        "<h2>Drift and diffusion</h2>",
        "How far it reaches.",
        "Figure “Nothing”: nothing was learned.",
        "<td>0.25</td>",
        "The drift is off by a quarter.",
    ):
        assert text in page, text
    assert analysis.report_pdf(run).stat().st_size > 0


def test_a_family_whose_scores_do_not_apply_is_told_in_one_line(cli, tmp_path, monkeypatch):
    monkeypatch.setitem(FAMILY_SCORES, "persistence", "tests.small_family")
    datasets.save(CLOUDS, tmp_path / "clouds.nc")
    run = tmp_path / "run"
    done = cli("run", tmp_path / "clouds.nc", "--out", run, "--model", "persistence")
    assert done.exit_code == 0, done.stderr
    assert "No scores of the family persistence itself: clouds have no drift." in (
        done.stdout + done.stderr
    )
    assert "drift_error" not in json.loads((run / "scores.json").read_text())


def test_a_family_may_not_replace_the_common_scores(monkeypatch):
    monkeypatch.setitem(FAMILY_SCORES, "persistence", "tests.small_family")
    tree = rollout(Walk(), PATHS, members=3)
    config = Config.model_validate({"model": {"family": "persistence"}})
    run = Evaluated(config, [Walk()], PATHS, tree, {"drift_error": 1.0})
    with pytest.raises(ValueError, match="would replace drift_error"):
        family_scores(run)
