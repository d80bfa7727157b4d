"""Scores of Gaussian ensembles against closed forms; false alarms at most 1e-5 a comparison."""

import numpy as np
import pytest
from scipy import stats

from pyro_msm import scores

FALSE_ALARM = 1e-5
LIMIT = stats.norm.isf(FALSE_ALARM / 2)  # standard errors


def gaussian(members, spread=1.0, bias=0.0, seed=1, points=2000):
    """Independent points in 8 trajectories and 2 times: members N(bias, spread²), truth N(0, 1)."""
    generator = np.random.default_rng(seed)
    shape = (8, 2, points)
    return generator.normal(bias, spread, (members, *shape)), generator.normal(size=shape)


def near(observed, expected, samples):
    """Whether the mean of independent samples is within LIMIT standard errors of its target."""
    error = np.std(samples, ddof=1) / np.sqrt(np.size(samples))
    return abs(observed - expected) < LIMIT * error


def expected_crps(bias, spread):
    """E|X − Y| − ½E|X − X'| with X ~ N(bias, spread²), Y ~ N(0, 1)."""
    total = np.hypot(1, spread)
    distance = total * np.sqrt(2 / np.pi) * np.exp(-(bias**2) / (2 * total**2))
    distance += bias * (1 - 2 * stats.norm.cdf(-bias / total))
    return distance - spread / np.sqrt(np.pi)


@pytest.mark.parametrize("members", [2, 3, 20])
@pytest.mark.parametrize(("bias", "spread"), [(0.0, 1.0), (0.7, 0.5)])
def test_fair_crps_has_the_gaussian_expectation_at_any_size(members, bias, spread):
    ensemble, truth = gaussian(members, spread, bias)
    values = scores.fair_crps(ensemble, truth)
    assert near(values.mean(), expected_crps(bias, spread), values)


@pytest.mark.parametrize("members", [2, 5])
def test_grouped_energy_score_is_unbiased(members):
    generator = np.random.default_rng(2)
    ensemble = generator.normal(size=(members * 3, 4000, 3))
    truth = generator.normal(size=(4000, 3))
    values = [
        scores.fair_energy_score(ensemble[:, i], truth[i], group=members) for i in range(4000)
    ]
    # E‖X − X'‖/2 in three dimensions: √2 E‖Z‖/2 with E‖Z‖ = 2√(2/π).
    assert near(np.mean(values), np.sqrt(2) * np.sqrt(2 / np.pi), values)


def test_groups_of_the_energy_score_hold_members_of_every_chain():
    generator = np.random.default_rng(3)
    draws = generator.normal(size=(2, 200, 1, 1, 10)) + np.array([-5, 5]).reshape(2, *[1] * 4)
    members, truth = draws.reshape(400, 1, 1, 10), generator.normal(size=(1, 1, 10))
    exact = scores.fair_energy_score(members[:, 0, 0], truth[0, 0], group=400)
    for chains, bias in [(2, 0), (1, 1)]:  # groups of one chain see half of the spread
        table = scores.ScoreTable({"energy": scores.FairEnergyScore(chains)}, 1, 1)
        table.add(scores.Block(members, truth))
        assert (abs(table.overall("energy") / exact - 1) > 0.05) == bool(bias)


@pytest.mark.parametrize("members", [3, 8, 64])
def test_spread_skill_of_a_calibrated_ensemble_is_one(members):
    ensemble, truth = gaussian(members)
    block = scores.Block(ensemble, truth)
    metrics = {"ratio": scores.SpreadSkill(), "rmse": scores.RootMeanSquareError()}
    table = scores.ScoreTable(metrics, 8, 2)
    table.add(block)
    # ratio² is s²-mean over error²-mean; the second has relative deviation √(2/n), the first less.
    count = truth.size
    error = np.sqrt((2 + 2 / (members - 1)) / count)
    assert abs(table.overall("ratio") ** 2 - 1) < LIMIT * error
    assert abs(table.overall("rmse") ** 2 / (1 + 1 / members) - 1) < LIMIT * np.sqrt(2 / count)


def test_debiased_error_does_not_depend_on_the_number_of_members():
    for members in (2, 10):
        ensemble, truth = gaussian(members, spread=2.0, bias=0.5)
        metric = scores.DebiasedMeanSquaredError()
        table = scores.ScoreTable({"mse": metric}, 8, 2)
        block = scores.Block(ensemble, truth)
        table.add(block)
        values = block.error**2 - block.variance / members
        assert near(table.overall("mse"), 1 + 0.25, values)


@pytest.mark.parametrize("members", [7, 8, 79])
def test_coverage_of_a_calibrated_ensemble_is_binomial_at_the_nominal_level(members):
    ensemble, truth = gaussian(members)
    levels = (0.5, 0.8, 0.9, 0.95)
    table = scores.ScoreTable({"coverage": scores.Coverage(levels)}, 8, 2)
    table.add(scores.Block(ensemble, truth))
    for level, observed in zip(levels, table.overall("coverage"), strict=True):
        _, nominal = scores.order_statistic_level(members, level)
        low, high = stats.binom.interval(1 - FALSE_ALARM, truth.size, nominal)
        assert low <= observed * truth.size <= high


def test_a_narrow_ensemble_is_caught():
    ensemble, truth = gaussian(79, spread=0.5)
    table = scores.ScoreTable({"c": scores.Coverage((0.9,)), "s": scores.SpreadSkill()}, 8, 2)
    table.add(scores.Block(ensemble, truth))
    assert table.overall("c")[0] < 0.65
    assert 0.45 < table.overall("s") < 0.55


@pytest.mark.parametrize(
    ("members", "level", "nominal"),
    [(64, 0.9, 59 / 65), (79, 0.9, 0.9), (79, 0.5, 0.5), (79, 0.95, 0.95), (2, 0.9, 1 / 3)],
)
def test_nominal_levels_are_those_of_order_statistics(members, level, nominal):
    assert scores.order_statistic_level(members, level)[1] == pytest.approx(nominal)


def test_ranks_and_pit_are_uniform():
    ensemble, truth = gaussian(9)
    table = scores.ScoreTable({"rank": scores.RankHistogram()}, 8, 2)
    table.add(scores.Block(ensemble, truth))
    counts = table.overall("rank") * truth.size
    assert stats.chisquare(counts).pvalue > FALSE_ALARM
    values = scores.pit(ensemble, truth, np.random.default_rng(0))
    assert stats.kstest(values.ravel(), "uniform").pvalue > FALSE_ALARM


def test_ranks_of_many_members_share_bins():
    ensemble, truth = gaussian(1500, points=100)
    table = scores.ScoreTable({"rank": scores.RankHistogram()}, 8, 2)
    table.add(scores.Block(ensemble, truth))
    histogram = table.overall("rank")
    assert histogram.shape == (scores.rank_bins(1500),) == (1000,)
    below = (ensemble < truth).sum(0)
    for part in (250, 500, 990):  # the ranks at an edge may fall on either side
        counted = round(histogram[:part].sum() * truth.size)
        edge = part * 1501 / 1000
        assert (below < edge - 1).sum() <= counted <= (below < edge).sum()


def test_ties_are_spread_over_their_ranks():
    ensemble, truth = np.zeros((3, 8, 2, 2000)), np.zeros((8, 2, 2000))
    table = scores.ScoreTable({"rank": scores.RankHistogram()}, 8, 2)
    table.add(scores.Block(ensemble, truth))
    assert stats.chisquare(table.overall("rank") * truth.size).pvalue > FALSE_ALARM
    values = scores.ranks(ensemble, truth, np.random.default_rng(3))
    assert set(np.unique(values)) == {0, 1, 2, 3}


def test_fair_brier_score_has_the_expectation_of_an_infinite_ensemble():
    for members in (2, 9):
        ensemble, truth = gaussian(members)
        table = scores.ScoreTable({"brier": scores.Brier(0.5)}, 8, 2)
        table.add(scores.Block(ensemble, truth))
        chance = stats.norm.sf(0.5)
        error = 0.5 / np.sqrt(truth.size)
        assert abs(table.overall("brier") - chance * (1 - chance)) < LIMIT * error


def test_bootstrap_interval_holds_the_mean_at_about_its_level():
    generator = np.random.default_rng(4)
    repeats, trajectories = 600, 60
    samples = generator.normal(size=(repeats, trajectories)) + 0.3
    counts = scores.trajectory_counts(trajectories, resamples=400, seed=5)
    estimates = counts @ samples.T / trajectories
    low, high = scores.percentile_interval(estimates, level=0.9)
    held = int(((low < 0.3) & (high > 0.3)).sum())
    # The percentile bootstrap of 60 normal values covers .885 (measured), .90 in the limit.
    low_count, high_count = stats.binom.interval(1 - FALSE_ALARM, repeats, 0.89)
    assert low_count <= held <= high_count
    assert counts.sum(1).tolist() == [trajectories] * 400


def test_resampled_scores_are_scores_of_the_resampled_trajectories():
    ensemble, truth = gaussian(5, points=20)
    table = scores.ScoreTable({"ratio": scores.SpreadSkill()}, 8, 2)
    table.add(scores.Block(ensemble, truth))
    counts = scores.trajectory_counts(8, resamples=3, seed=0)
    for count, value in zip(counts, table.resampled("ratio", counts), strict=True):
        chosen = np.repeat(np.arange(8), count)
        again = scores.ScoreTable({"ratio": scores.SpreadSkill()}, 8, 2)
        again.add(scores.Block(ensemble[:, chosen], truth[chosen]))
        np.testing.assert_allclose(value, again.overall("ratio"), rtol=1e-12)
    assert table.resampled_by_time("ratio", counts).shape == (3, 2)
