"""Recalibrated beside raw, dressed baselines, and the states against their own truth."""

import json

import numpy as np
import pytest
import scoringrules
import torch

from pyro_msm import analysis, scores
from pyro_msm.analysis.diagnostics import scales
from pyro_msm.analysis.dressing import dressed, dressed_crps
from pyro_msm.analysis.drift_attribution import drift_attribution
from pyro_msm.analysis.ensemble_file import Ensemble
from pyro_msm.analysis.post_hoc import recalibrated
from pyro_msm.analysis.scored_forecast import Forecast
from pyro_msm.errors import InputError
from pyro_msm.forecasting import rollout
from pyro_msm.forecasting.baselines import MeanTrajectory, Persistence
from tests.small_fields import forecaster, travelling_waves, with_drivers
from tests.small_paths import Walk, random_walks
from tests.synthetic_ensemble import synthetic_ensemble


def ensembles(**options):
    """A test and a validation ensemble of the same law."""
    both = {"members": 39, "points": 60, "spread": 0.5} | options
    return synthetic_ensemble(**both), synthetic_ensemble(**both, seed=1, trajectories=12)


def test_the_spread_of_a_narrow_ensemble_is_found_on_validation_and_mended_on_test():
    tree, held_out = ensembles()
    result = json.loads(json.dumps(analysis.evaluate(tree, validation=held_out), allow_nan=False))
    found = result["recalibrated"]
    assert found["raw"]["crps"] == pytest.approx(result["crps"], rel=1e-6)
    assert found["raw"]["coverage"]["0.9"] == pytest.approx(result["coverage"]["0.9"]["observed"])
    assert found["scaled"]["crps"] < found["raw"]["crps"]
    assert found["improved"] is True
    assert found["raw"]["spread_skill"] < 0.65
    assert found["scaled"]["spread_skill"] == pytest.approx(1, abs=0.05)
    assert found["scaled"]["coverage"]["0.9"] == pytest.approx(0.9, abs=0.03)
    assert found["conformal"]["level"] == 0.9
    # Trajectories that are all alike get what the guarantee costs with 12 of them: 1 - 0.3/12.
    assert found["conformal"]["coverage"] == pytest.approx(0.975, abs=0.01)
    assert found["conformal"]["coverage_raw"] < 0.75
    assert 1.5 < found["conformal"]["width"] < 2.5
    assert found["trajectories"] == 12
    assert "post hoc" in found["note"]
    assert {len(values) for values in found["by_lead_time"].values()} == {10}
    # Members in a file of their own are rescaled about their mean: the error stays what it is.
    assert found["by_lead_time"]["factor"][-1] > 1.5


def test_factors_are_those_of_the_functions_on_arrays():
    tree, held_out = ensembles()
    found = recalibrated(Ensemble(tree), Ensemble(held_out), np.arange(4))
    members = held_out["posterior_predictive"]["field"].values[0][:, :, 1:]
    truth = held_out["observed_data"]["field"].values[:, 1:]
    expected = analysis.spread_factors(members, truth)
    np.testing.assert_allclose(found["by_lead_time"]["factor"], expected)
    widths = analysis.conformal_factors(members, truth, 0.9)
    np.testing.assert_allclose(found["by_lead_time"]["conformal_factor"], widths)
    low, high = analysis.conformal_band(
        tree["posterior_predictive"]["field"].values[0][:, :, 1:], widths
    )
    seen = tree["observed_data"]["field"].values[:, 1:]
    held = ((low <= seen) & (seen <= high)).mean((0, 2, 3))
    np.testing.assert_allclose(found["by_lead_time"]["conformal_coverage"], held)
    for memory in (20_000, 200_000):
        cut = recalibrated(Ensemble(tree), Ensemble(held_out), np.arange(4), memory=memory)
        np.testing.assert_allclose(cut["by_lead_time"]["factor"], expected)
        assert cut["scaled"]["crps"] == pytest.approx(found["scaled"]["crps"], rel=1e-9)
        for key in ("coverage", "coverage_raw", "width"):
            assert cut["conformal"][key] == pytest.approx(found["conformal"][key])


def test_with_few_validation_trajectories_the_conformal_level_is_lower():
    tree, held_out = ensembles()
    few = held_out.isel(trajectory=slice(0, 5))
    found = recalibrated(Ensemble(tree), Ensemble(few), np.arange(4))
    assert found["conformal"]["level"] == 0.8
    assert found["reason"] == "5 validation trajectories allow no band of 90 %"
    assert 0.7 < found["conformal"]["coverage"] < 1


def test_other_lead_times_and_single_members_cannot_be_recalibrated():
    tree, held_out = ensembles()
    with pytest.raises(InputError, match=r"reaches lead time 0\.8 in 8 stored times"):
        analysis.evaluate(tree, validation=held_out.isel(time=slice(0, 9)))
    single = Ensemble(tree.isel(draw=[0]))
    with pytest.raises(InputError, match="one member has no spread"):
        recalibrated(single, Ensemble(held_out), np.arange(4))


def test_conformal_bands_of_forecast_walks_reach_their_level_over_repeated_splits():
    # A walk that is half as uncertain as it should be: the model's own band holds far too little.
    walks = random_walks(count=5, splits=("train", *["test"] * 150), noise=0.3, seed=3)
    tree = rollout(Walk(0.5), walks, members=19, generator=1)
    rng = np.random.default_rng(0)
    held, raw = [], []
    for _ in range(100):
        order = rng.permutation(150)
        calibration = Ensemble(tree.isel(trajectory=order[:12]))
        rest = Ensemble(tree.isel(trajectory=order[12:]))
        found = recalibrated(rest, calibration, np.arange(138))["conformal"]
        held.append(found["coverage"])
        raw.append(found["coverage_raw"])
    # The guarantee: at least 0.9, and no more than 2/(n + 1) above it (Angelopoulos et al. 2024,
    # theorem 2). The standard error comes from the splits themselves.
    error = np.std(held) / np.sqrt(len(held))
    assert np.mean(raw) < 0.8
    assert 0.9 - 5 * error < np.mean(held) < 0.9 + 2 / 13 + 5 * error


def test_dressed_crps_against_the_ensemble_of_all_errors():
    rng = np.random.default_rng(0)
    errors, residuals = rng.normal(0.3, 1, 200), rng.normal(size=(3, 5))
    expected = scoringrules.crps_ensemble(
        residuals, np.broadcast_to(errors, (3, 5, 200)), estimator="nrg"
    )
    np.testing.assert_allclose(dressed_crps(residuals, errors), expected)
    tied = np.array([0.0, 0.0, 1.0])
    np.testing.assert_allclose(
        dressed_crps(np.array([0.0, 1.0]), tied),
        scoringrules.crps_ensemble(np.array([0.0, 1.0]), np.stack([tied, tied]), estimator="nrg"),
    )


@pytest.mark.parametrize("masked", [False, True])
def test_baselines_are_dressed_by_lead_time_and_component(masked):
    splits = (*["train"] * 3, *["validation"] * 6, *["test"] * 4)
    walks = random_walks(splits=splits)
    if masked:
        rng = np.random.default_rng(1)
        walks["mask"] = walks["path"].dims, rng.random(walks["path"].shape) > 0.2
        walks["mask"][:, 0] = True
    tree = rollout(Walk(), walks, members=19, generator=1)
    held_out = rollout(Walk(), walks, members=9, splits=("validation",))
    times = walks["time"].values
    own, past = (
        {"persistence": Persistence().fit(walks).forecast(part.isel(time=slice(0, 1)), times)}
        for part in (walks.isel(trajectory=slice(9, 13)), walks.isel(trajectory=slice(3, 9)))
    )
    result = analysis.evaluate(tree, baselines=own, validation=held_out, validation_baselines=past)
    path = walks["path"].values
    seen = walks["mask"].values if masked else np.ones(path.shape, bool)
    away = path - path[:, :1]
    expected = []
    for t in range(1, 13):
        at = []
        for c in range(2):
            errors = away[3:9, t, c][seen[3:9, t, c]]
            left = away[9:, t, c][seen[9:, t, c]]
            past_errors = np.broadcast_to(errors, (len(left), len(errors)))
            at += scoringrules.crps_ensemble(left, past_errors, estimator="nrg").tolist()
        expected.append(at)
    row = result["baselines"]["persistence"]
    means = [np.mean(at) for at in expected]
    assert row["by_lead_time"]["crps_dressed"] == pytest.approx(means, rel=1e-4)
    assert row["crps_dressed"] == pytest.approx(np.mean(np.concatenate(expected)), rel=1e-4)
    if not masked:
        assert row["crps_dressed"] < row["crps"]


def test_a_diverged_baseline_is_not_dressed():
    splits = (*["train"] * 3, *["validation"] * 3, *["test"] * 2)
    walks = random_walks(splits=splits)
    tree = rollout(Walk(), walks, members=9, generator=1)
    held_out = rollout(Walk(), walks, members=9, splits=("validation",))
    mean = MeanTrajectory().fit(walks)
    times = walks["time"].values
    own = mean.forecast(walks.isel(trajectory=slice(6, 8), time=slice(0, 1)), times)
    past = mean.forecast(walks.isel(trajectory=slice(3, 6), time=slice(0, 1)), times)
    past["path"][:, 1, 5:] = np.nan
    result = json.loads(
        json.dumps(
            analysis.evaluate(
                tree,
                baselines={"mean": own},
                validation=held_out,
                validation_baselines={"mean": past},
            )
        )
    )
    row = result["baselines"]["mean"]
    assert row["crps_dressed"] is None
    assert [v is None for v in row["by_lead_time"]["crps_dressed"]] == [False] * 4 + [True] * 8


def test_errors_of_other_lead_times_dress_nothing():
    """As many stored times over another horizon are no lead times of the forecast."""
    splits = (*["train"] * 3, *["validation"] * 3, *["test"] * 2)
    walks = random_walks(splits=splits)
    tree = rollout(Walk(), walks, members=1, generator=1)
    faster = walks.assign_coords(time=0.5 * walks["time"])
    held_out = rollout(Walk(), faster, members=1, splits=("validation",))
    here, there = (Ensemble(each) for each in (tree, held_out))
    forecast, past = (Forecast(v.signal, None, 0.0, v.diverged_at) for v in (here, there))
    with pytest.raises(InputError, match="other lead times"):
        dressed(here, forecast, np.arange(2), there, past)


def test_states_are_scored_against_the_encoded_truth():
    tree = synthetic_ensemble(members=19, points=40)
    found = scales(Ensemble(tree), np.arange(4))["parts"]
    posterior, observed = tree["posterior"], tree["observed_data"]
    for name in ("macro", "micro"):
        members = posterior[name].values[0][:, :, 2::2]
        truth = observed[f"encoded_{name}"].values[:, 2::2]
        error = scores.relative_error(members, truth)
        assert found[name]["relative_error"] == pytest.approx(error.mean())
        lists = found[name]["by_lead_time"]
        np.testing.assert_allclose(lists["relative_error"], error.mean(0))
        crps = scores.fair_crps(members, truth)
        axes = (0, *range(2, crps.ndim))
        np.testing.assert_allclose(lists["crps"], crps.mean(axes), rtol=1e-5)
        inside = (members.min(0) <= truth) & (truth <= members.max(0))
        assert found[name]["coverage"] == pytest.approx(inside.mean())
        assert found[name]["components"] == members[0, 0, 0].size
    cut = scales(Ensemble(tree), np.arange(4), memory=20_000)["parts"]
    assert cut["micro"]["crps"] == pytest.approx(found["micro"]["crps"])


def test_without_a_microscale_there_are_scores_of_the_macro_state_only():
    tree = synthetic_ensemble(micro=0)
    assert set(scales(Ensemble(tree), np.arange(4))["parts"]) == {"macro"}


def test_drift_attribution_is_that_of_a_drift_that_is_known():
    data = with_drivers(travelling_waves(trajectories=4))
    made = forecaster(data)
    network = made.model.network
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(2, network.macro_values)).astype("f4")

    def drift(times, state, context=None, parameters=None):
        macro, micro = state.split([network.macro_values, network.micro], -1)
        rate = network.state_rate[: network.macro_values] * (micro @ torch.tensor(weights))
        return torch.nn.functional.pad(0.5 * macro + rate, (0, network.micro))

    network.drift = drift
    found = drift_attribution(made, data)
    latents = made.encoded(data).astype(float)
    scale = network.state_rate[: network.macro_values].numpy()
    macro, micro = np.split(latents, [network.macro_values], -1)
    part = micro @ weights
    whole = 0.5 * macro / scale + part
    variance = whole.var((0, 1)).sum()
    assert found["share"] == pytest.approx(part.var((0, 1)).sum() / variance, rel=1e-3)
    one = np.multiply.outer(micro[..., 0], weights[0])
    assert found["by_component"][0] == pytest.approx(one.var((0, 1)).sum() / variance, rel=1e-3)
    assert found["first_component"] == 1
    assert np.shape(found["by_point"]) == (1, 10)
    assert np.mean(found["by_time"]) == pytest.approx(found["share"], rel=1e-6)
    assert np.mean(found["by_point"]) == pytest.approx(found["share"], rel=1e-6)


def test_a_macro_only_model_has_no_attribution():
    data = travelling_waves()
    assert drift_attribution(forecaster(data, micro=0), data) is None


def test_of_second_order_the_drift_that_is_attributed_is_the_rates():
    data = travelling_waves()
    made = forecaster(data, order=2, snapshots=2)
    found = drift_attribution(made, data)
    assert np.mean(found["by_point"]) == pytest.approx(found["share"], rel=1e-6)
    with torch.no_grad():
        for parameter in made.model.network.macro_drift.context.parameters():
            parameter.zero_()
    assert drift_attribution(made, data)["share"] == 0
