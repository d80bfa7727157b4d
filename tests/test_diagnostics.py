"""What evaluate() says beyond the scores, against direct computation from the ensemble."""

import json

import numpy as np
import pytest

from pyro_msm import analysis, scores
from pyro_msm.analysis.diagnostics.trust import too_narrow
from pyro_msm.analysis.plain_words import sentences
from tests.synthetic_ensemble import deterministic_baseline, synthetic_ensemble


@pytest.fixture(scope="module")
def ensemble():
    return synthetic_ensemble(members=19, chains=2, smooth=True)


@pytest.fixture(scope="module")
def result(ensemble):
    return analysis.evaluate(ensemble, baselines={"other": deterministic_baseline(ensemble)})


def said(result):
    return " ".join(sentences(result)).replace("\u00a0", " ")


def test_variance_parts_add_up_over_lead_time(ensemble, result):
    signal = ensemble["posterior"]["signal"].values[:, :, :, 1:].astype(float)
    within = signal.var(1, ddof=1).mean(0)
    between = signal.mean(1).var(0, ddof=1) - within / 19
    parts = result["variance_parts"]
    over = (0, 2, 3)
    assert parts["dynamical"] == pytest.approx(within.mean())
    assert parts["by_lead_time"]["dynamical"] == pytest.approx(within.mean(over))
    expected = np.maximum(between.mean(over), 0)
    assert parts["by_lead_time"]["epistemic"] == pytest.approx(expected, abs=1e-9)
    assert parts["observation"] == pytest.approx(0.05**2)
    assert sum(parts["shares"].values()) == pytest.approx(1)
    assert parts["note"] is None
    fields = analysis.variance_fields(ensemble)
    np.testing.assert_allclose(fields["dynamical"].values[:, 1:], within, rtol=1e-5)
    np.testing.assert_allclose(fields["epistemic"].values[:, 1:], between, atol=1e-6)


def test_chains_that_disagree_are_epistemic():
    ensemble = synthetic_ensemble(members=19, chains=3)
    shift = np.array([-0.3, 0.0, 0.3]).reshape(3, *[1] * 5)
    for group, name in [("posterior", "signal"), ("posterior_predictive", "field")]:
        ensemble[group][name].values += shift.astype("f4")
    result = analysis.evaluate(ensemble)
    assert result["variance_parts"]["epistemic"] == pytest.approx(0.09, rel=0.1)
    assert "disagreement between 3 trained models" in said(result)


def test_one_chain_or_one_draw_has_no_such_part_and_says_so():
    parts = analysis.evaluate(synthetic_ensemble())["variance_parts"]
    assert parts["epistemic"] is None
    assert parts["by_lead_time"]["epistemic"] is None
    assert parts["shares"]["epistemic"] is None
    assert "one chain" in parts["note"]
    assert parts["shares"]["dynamical"] + parts["shares"]["observation"] == pytest.approx(1)
    alone = analysis.evaluate(synthetic_ensemble(members=1, chains=2))["variance_parts"]
    assert alone["dynamical"] is None
    assert alone["total"] is None
    assert set(alone["shares"].values()) == {None}
    assert "one draw" in alone["note"]


def test_observation_variance_is_the_one_of_the_file_if_it_has_one(ensemble):
    told = ensemble.copy()
    std = np.array([[0.1], [0.3]])
    posterior = told["posterior"].to_dataset()
    told["posterior"] = posterior.assign(observation_std=(("chain", "channel"), std))
    parts = analysis.evaluate(told)["variance_parts"]
    assert parts["observation"] == pytest.approx((0.1**2 + 0.3**2) / 2)


def test_exceedance_is_of_the_truths_own_quantile(ensemble, result):
    truth = ensemble["observed_data"]["field"].values[:, 1:]
    members = ensemble["posterior_predictive"]["field"].values[:, :, :, 1:]
    members = members.reshape(38, *truth.shape)
    event = result["exceedance"]
    limit = np.quantile(truth, 0.9)
    assert event["threshold"] == pytest.approx([limit])
    chance, happened = (members > limit).mean(0), truth > limit
    score = (chance - happened) ** 2 - chance * (1 - chance) / 37
    base = happened.mean()
    assert event["brier"] == pytest.approx(score.mean())
    assert event["base_rate"] == pytest.approx(base)
    assert event["skill"] == pytest.approx(1 - score.mean() / (base * (1 - base)))
    assert event["by_lead_time"]["brier"] == pytest.approx(score.mean((0, 2, 3)))
    curve = event["reliability"]
    assert sum(curve["share"]) == pytest.approx(1)
    filled = [i for i, share in enumerate(curve["share"]) if share > 0]
    assert all(curve["low"][i] <= curve["observed"][i] <= curve["high"][i] for i in filled)
    sure = (1.5 * ensemble["constant_data"]["clean"].values[:, 1:] > limit) != happened
    assert result["baselines"]["other"]["exceedance"]["brier"] == pytest.approx(sure.mean())


def test_member_spectra_are_those_of_noise_free_members(ensemble, result):
    spectrum = scores.Spectrum((40,), (1.0,), (True,))
    signal = ensemble["posterior"]["signal"].values[:, :, :, 1:]
    found = result["spectrum"]
    assert found["wavenumber"] == pytest.approx(np.arange(21))
    assert found["members"] == pytest.approx(spectrum(signal).reshape(-1, 21).mean(0), abs=1e-9)
    clean = ensemble["constant_data"]["clean"].values[:, 1:]
    assert found["truth"] == pytest.approx(spectrum(clean).reshape(-1, 21).mean(0), abs=1e-9)
    assert len(found["periods"]) == 3
    assert found["periods"][-1]["to"] == pytest.approx(1)
    noisy = analysis.evaluate(synthetic_ensemble(clean=False, noise=0.2))["spectrum"]
    assert noisy["against"] == "noisy"
    assert noisy["log_ratio_rms"] < 0.3


def test_scales_are_the_direct_moments(ensemble, result):
    found = result["scales"]
    assert found["variance_fraction"] == pytest.approx(
        {"macro": 0.64, "micro": 0.04, "covariance": 0.32}, rel=1e-4
    )
    macro = ensemble["posterior"]["mean_macro_part"].values[0, :, 1:].astype(float)
    truth = ensemble["constant_data"]["clean"].values[:, 1:].astype(float)
    for key, part in [("macro", macro), ("both", 1.25 * macro)]:
        assert found["explained"][key] == pytest.approx(1 - (truth - part).var() / truth.var())
        share = 1 - (truth - part).var((0, 2, 3)) / truth.var((0, 2, 3))
        assert found["by_lead_time"][f"explained_by_{key}"] == pytest.approx(share)
    assert found["correlation"] == pytest.approx({"field": 1, "energy": 1})
    parts = found["spectrum"]
    assert sum(parts["macro"]) == pytest.approx((macro**2).mean(), rel=1e-5)
    assert sum(parts["micro"]) == pytest.approx((macro**2).mean() / 16, rel=1e-5)


def test_latents_are_described_component_by_component(ensemble, result):
    micro = ensemble["posterior"]["micro"].values.astype(float)
    encoded = ensemble["observed_data"]["encoded_micro"].values.astype(float)
    found = result["scales"]["latents"]["micro"]
    assert found["components"] == 3
    assert found["std"] == pytest.approx(micro.std((0, 1, 2, 3)))
    members = micro.reshape(38, *micro.shape[2:])
    assert found["spread"] == pytest.approx(np.sqrt(members.var(0, ddof=1).mean((0, 1))))
    for i in range(3):
        paths = members.mean(0)[..., i].ravel(), encoded[..., i].ravel()
        assert found["correlation"][i] == pytest.approx(np.corrcoef(*paths)[0, 1])
    # cos(2πkt) has an autocorrelation of 1/e at t = 0.19/k.
    assert found["memory"] == pytest.approx(0.19 / np.arange(1, 4), abs=0.06)
    assert analysis.evaluate(synthetic_ensemble(micro=0))["scales"]["latents"].keys() == {"macro"}


def test_ensembles_without_parts_have_no_scales(ensemble):
    bare = ensemble.copy()
    bare["posterior"] = bare["posterior"].to_dataset()[["signal"]]
    assert analysis.evaluate(bare)["scales"] is None


def fail_late(factor):
    """A calibrated ensemble, but for members that are ``factor`` as wide after half the horizon."""
    ensemble = synthetic_ensemble(members=79, points=100, times=21)
    for group, name in [("posterior", "signal"), ("posterior_predictive", "field")]:
        values = ensemble[group][name].values
        mean = values.mean((0, 1), keepdims=True)
        values[:, :, :, 11:] = (mean + factor * (values - mean))[:, :, :, 11:]
    return analysis.evaluate(ensemble)


def test_the_band_is_trusted_up_to_where_it_fails():
    result = fail_late(0.5)
    held = result["band_holds"]
    # It fails after index 10; a running window of two times may see it one time early.
    assert held["until"] in (pytest.approx(0.45), pytest.approx(0.5))
    assert held["observed"] == pytest.approx(0.9, abs=0.03)
    assert held["beyond"]["factor"] == pytest.approx(2, rel=0.1)
    assert "beyond that it held " in said(result)
    assert "and is too narrow by " in said(result)
    assert held["from"] == 0
    assert held["before"] is None
    wide = fail_late(2.0)["band_holds"]
    assert wide["beyond"]["factor"] == pytest.approx(0.5, rel=0.15)


def test_a_band_that_fails_at_first_and_then_recovers_is_described_as_such():
    ensemble = synthetic_ensemble(members=79, points=100, times=21)
    for group, name in [("posterior", "signal"), ("posterior_predictive", "field")]:
        values = ensemble[group][name].values
        mean = values.mean((0, 1), keepdims=True)
        values[:, :, :, :7] = (mean + 0.4 * (values - mean))[:, :, :, :7]
    result = analysis.evaluate(ensemble)
    held = result["band_holds"]
    assert held["from"] in (pytest.approx(0.3), pytest.approx(0.35))
    assert held["until"] == pytest.approx(1)
    assert held["before"]["factor"] == pytest.approx(2.5, rel=0.1)
    assert held["beyond"] is None
    assert "before that it held" in said(result)


def test_a_calibrated_band_is_trusted_throughout_and_a_wrong_one_never():
    right = analysis.evaluate(synthetic_ensemble(members=79, points=100, times=21))
    assert right["band_holds"]["until"] == pytest.approx(1)
    assert right["band_holds"]["beyond"] is None
    wrong = analysis.evaluate(synthetic_ensemble(members=79, points=100, times=21, spread=0.5))
    assert wrong["band_holds"]["until"] is None
    assert "wrong at all lead times: it is too narrow by " in said(wrong)
    assert analysis.evaluate(synthetic_ensemble(trajectories=1))["band_holds"] is None
    assert too_narrow(0.9, 0.9) == pytest.approx(1)


def test_maps_are_scores_at_each_point(ensemble):
    view = analysis.Ensemble(ensemble)
    found = analysis.score_maps(view, np.array([0, 2]))
    signal = ensemble["posterior"]["signal"].values[:, :, [0, 2], 1:].reshape(38, 2, 10, 1, 40)
    clean = ensemble["constant_data"]["clean"].values[[0, 2], 1:]
    error = ((signal.mean(0) - clean) ** 2).mean((0, 1))
    np.testing.assert_allclose(found["rmse"], np.sqrt(error), rtol=1e-5)
    spread = (signal.var(0, ddof=1) * 39 / 38).mean((0, 1))
    np.testing.assert_allclose(found["spread"], np.sqrt(spread), rtol=1e-4)
    crps = scores.fair_crps(signal, clean).mean((0, 1))
    np.testing.assert_allclose(found["crps"], crps, rtol=1e-4)
    ordered = np.sort(signal, 0)
    k, _ = scores.order_statistic_level(38, 0.9)
    inside = (ordered[k - 1] <= clean) & (clean <= ordered[38 - k])
    np.testing.assert_allclose(found["coverage"], inside.mean((0, 1)))
    assert found["rmse"].dims == ("channel", "x")


def test_lists_by_lead_time_have_intervals_around_them(result):
    lists, bounds = result["by_lead_time"], result["intervals"]["by_lead_time"]
    assert set(bounds) <= set(lists)
    for key, (low, high) in bounds.items():
        assert len(low) == len(high) == 10
        value = np.array(lists[key])
        assert (np.array(low) <= value + 1e-9).mean() > 0.9
        assert (value <= np.array(high) + 1e-9).mean() > 0.9
    low, high = result["intervals"]["valid_prediction_time"]
    assert low <= result["valid_prediction_time"]["mean"] <= high
    assert len(result["by_trajectory"]["crps"]) == 4
    json.dumps(result, allow_nan=False)


def test_ranks_have_an_error_bar_that_knows_the_correlation():
    smooth, rough = (
        analysis.evaluate(synthetic_ensemble(points=200, smooth=s, trajectories=8))["pit"]
        for s in (True, False)
    )
    assert smooth["points"] == rough["points"] == 16000
    assert smooth["effective_samples"] < 0.2 * rough["effective_samples"]
    assert smooth["rank_standard_error"] > 2 * rough["rank_standard_error"]
    assert rough["uniform"]
    assert rough["observed"][-1] == pytest.approx(1)


def test_a_diverged_member_leaves_null_not_nonsense():
    ensemble = synthetic_ensemble()
    for group, name in [("posterior", "signal"), ("posterior_predictive", "field")]:
        ensemble[group][name].values[0, 3, 1, 6:] = np.nan
    result = analysis.evaluate(ensemble)
    json.dumps(result, allow_nan=False)
    assert result["pit"] is None
    assert result["band_holds"] is None
    assert result["exceedance"]["brier"] is None
    assert result["variance_parts"]["dynamical"] is None
    assert result["variance_parts"]["by_lead_time"]["dynamical"][4] > 0
    assert None not in result["spectrum"]["truth"]
    assert None in result["spectrum"]["members"]
