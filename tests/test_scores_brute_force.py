"""Every score against a direct double loop over its definition, for odd and even ensembles."""

import numpy as np
import pytest

from pyro_msm import scores

SHAPE = (2, 3, 4, 5)  # trajectory, time, channel, x


def draw(members, seed=0, dtype=np.float64):
    generator = np.random.default_rng(seed)
    ensemble = generator.normal(0.3, 1.0, (members, *SHAPE)).astype(dtype)
    truth = generator.normal(0.0, 1.2, SHAPE).astype(dtype)
    mask = generator.random(SHAPE) < 0.8
    return ensemble, truth, mask


def overall(metric, ensemble, truth, mask=None):
    table = scores.ScoreTable({"score": metric}, *truth.shape[:2])
    table.add(scores.Block(ensemble, truth, mask))
    return table.overall("score")


def brute_crps(ensemble, truth):
    size = len(ensemble)
    pairs = sum(np.abs(a - b) for a in ensemble for b in ensemble)
    return np.abs(ensemble - truth).mean(0) - pairs / (2 * size * (size - 1))


@pytest.mark.parametrize("members", [2, 3, 8, 9])
def test_fair_crps_is_the_double_sum(members):
    ensemble, truth, mask = draw(members)
    expected = brute_crps(ensemble, truth)
    np.testing.assert_allclose(scores.fair_crps(ensemble, truth), expected, atol=1e-12)
    score = overall(scores.FairCRPS(), ensemble, truth, mask)
    np.testing.assert_allclose(score, expected[mask].mean(), rtol=1e-12)


def test_fair_crps_takes_whole_numbers():
    assert scores.fair_crps(np.array([[0], [2]]), np.array([1])).tolist() == [0.0]


def test_fair_crps_is_scoringrules_fair_estimator():
    scoringrules = pytest.importorskip("scoringrules")
    ensemble, truth, _ = draw(7)
    expected = scoringrules.crps_ensemble(truth, ensemble, m_axis=0, estimator="fair")
    np.testing.assert_allclose(scores.fair_crps(ensemble, truth), expected, atol=1e-12)


@pytest.mark.parametrize("members", [2, 5, 6])
def test_fair_energy_score_is_the_double_sum(members):
    ensemble, truth, mask = draw(members)
    expected = []
    for i, j in np.ndindex(SHAPE[:2]):
        field, target = ensemble[:, i, j][:, mask[i, j]], truth[i, j][mask[i, j]]
        skill = np.mean([np.linalg.norm(a - target) for a in field])
        pairs = sum(np.linalg.norm(a - b) for a in field for b in field)
        expected.append(skill - pairs / (2 * members * (members - 1)))
    score = overall(scores.FairEnergyScore(), ensemble, truth, mask)
    np.testing.assert_allclose(score, np.mean(expected), rtol=1e-10)


def test_energy_score_of_one_point_is_the_crps():
    ensemble, truth, _ = draw(6)
    ensemble, truth = ensemble[..., :1, :1], truth[..., :1, :1]
    energy = overall(scores.FairEnergyScore(), ensemble, truth)
    np.testing.assert_allclose(energy, overall(scores.FairCRPS(), ensemble, truth), rtol=1e-10)


@pytest.mark.parametrize("members", [2, 7])
def test_spread_skill_and_debiased_error_average_squares_first(members):
    ensemble, truth, mask = draw(members)
    variance = ensemble.var(0, ddof=1)[mask].mean() * (members + 1) / members
    error = ((ensemble.mean(0) - truth) ** 2)[mask].mean()
    debiased = ((ensemble.mean(0) - truth) ** 2 - ensemble.var(0, ddof=1) / members)[mask].mean()
    for metric, expected in [
        (scores.SpreadSkill(), np.sqrt(variance / error)),
        (scores.Spread(), np.sqrt(variance)),
        (scores.RootMeanSquareError(), np.sqrt(error)),
        (scores.DebiasedMeanSquaredError(), debiased),
    ]:
        np.testing.assert_allclose(overall(metric, ensemble, truth, mask), expected, rtol=1e-10)


@pytest.mark.parametrize("members", [8, 9])
def test_coverage_counts_points_between_order_statistics(members):
    ensemble, truth, mask = draw(members)
    ordered = np.sort(ensemble, axis=0)
    levels = (0.3, 0.5, 0.99)
    expected = []
    for level in levels:
        k, _ = scores.order_statistic_level(members, level)
        inside = (ordered[k - 1] <= truth) & (truth <= ordered[members - k])
        expected.append(inside[mask].mean())
    score = overall(scores.Coverage(levels), ensemble, truth, mask)
    np.testing.assert_allclose(score, expected, rtol=1e-12)


@pytest.mark.parametrize("members", [4, 5])
def test_rank_histogram_counts_members_below(members):
    ensemble, truth, mask = draw(members)
    expected = np.bincount((ensemble < truth).sum(0)[mask], minlength=members + 1) / mask.sum()
    score = overall(scores.RankHistogram(), ensemble, truth, mask)
    np.testing.assert_allclose(score, expected, rtol=1e-12)


@pytest.mark.parametrize("members", [1, 2, 9])
def test_brier_score_counts_members_above(members):
    ensemble, truth, mask = draw(members)
    chance = (ensemble > 0.5).mean(0)
    expected = (chance - (truth > 0.5)) ** 2
    plain = overall(scores.Brier(0.5, fair=False), ensemble, truth, mask)
    np.testing.assert_allclose(plain, expected[mask].mean(), rtol=1e-12)
    if members > 1:
        expected = expected - chance * (1 - chance) / (members - 1)
    fair = overall(scores.Brier(0.5), ensemble, truth, mask)
    np.testing.assert_allclose(fair, expected[mask].mean(), rtol=1e-12)


def test_relative_error_is_the_published_definition():
    ensemble, truth, _ = draw(6)
    flat = truth.reshape(*SHAPE[:2], -1)
    distance = np.linalg.norm(ensemble.mean(0).reshape(flat.shape) - flat, axis=-1)
    expected = distance / np.linalg.norm(flat, axis=-1)
    np.testing.assert_allclose(scores.relative_error(ensemble, truth), expected, rtol=1e-12)
    np.testing.assert_allclose(overall(scores.RelativeError(), ensemble, truth), expected.mean())
    np.testing.assert_allclose(overall(scores.RelativeErrorStd(), ensemble, truth), expected.std())


def test_relative_error_compares_observed_points_only():
    ensemble, truth, mask = draw(3)
    hidden = np.where(mask, truth, np.nan)
    expected = np.linalg.norm((ensemble.mean(0) - truth)[0, 1][mask[0, 1]])
    expected /= np.linalg.norm(truth[0, 1][mask[0, 1]])
    for error in (
        scores.relative_error(ensemble, truth, mask),
        scores.relative_error(ensemble, hidden),
    ):
        np.testing.assert_allclose(error[0, 1], expected, rtol=1e-12)


def test_streaming_over_blocks_is_exact():
    ensemble, truth, mask = draw(7, dtype=np.float32)
    metrics = {
        "crps": scores.FairCRPS(),
        "spread_skill": scores.SpreadSkill(),
        "coverage": scores.Coverage((0.5, 0.9)),
        "rank": scores.RankHistogram(),
        "energy": scores.FairEnergyScore(),
        "error": scores.RelativeError(),
    }
    whole = scores.ScoreTable(metrics, 2, 3)
    whole.add(scores.Block(ensemble, truth, mask))
    pieces = scores.ScoreTable(metrics, 2, 3)
    for i, j in np.ndindex(2, 3):
        place = (slice(i, i + 1), slice(j, j + 1))
        pieces.add(scores.Block(ensemble[:, *place], truth[place], mask[place]), *place)
    for name in metrics:
        for read in ("overall", "by_time", "by_trajectory", "samples"):
            a, b = getattr(whole, read)(name), getattr(pieces, read)(name)
            np.testing.assert_allclose(a, b, rtol=1e-12, err_msg=f"{name} {read}")
    assert whole.by_time("coverage").shape == (3, 2)
    assert whole.by_trajectory("rank").shape == (2, 8)


def test_a_table_that_is_not_full_says_so():
    ensemble, truth, _ = draw(3)
    table = scores.ScoreTable({"crps": scores.FairCRPS()}, 2, 3)
    table.add(scores.Block(ensemble[:, :1], truth[:1]), slice(0, 1))
    assert np.isnan(table.overall("crps"))
    np.testing.assert_array_equal(np.isnan(table.by_trajectory("crps")), [False, True])
