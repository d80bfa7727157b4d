"""Total variance, PIT bands and reliability against brute force and known distributions."""

import numpy as np
import pytest

from pyro_msm import scores
from tests.test_scores_brute_force import draw, overall


def test_variance_parts_are_the_law_of_total_variance():
    members = np.random.default_rng(0).normal(size=(3, 4, 5)) + np.arange(3)[:, None, None]
    parts = scores.variance_parts(members)
    within = np.mean([np.var(chain, axis=0, ddof=1) for chain in members], axis=0)
    between = np.var(members.mean(1), axis=0, ddof=1)
    np.testing.assert_allclose(parts.dynamical, within)
    np.testing.assert_allclose(parts.epistemic, between - within / 4)
    one = scores.variance_parts(members[:1])
    np.testing.assert_allclose(one.dynamical, members[0].var(0, ddof=1))
    assert np.isnan(one.epistemic).all()
    assert np.isnan(scores.variance_parts(members[:, :1]).dynamical).all()


def test_variance_parts_are_unbiased_for_few_chains_and_draws():
    generator = np.random.default_rng(1)
    count = 200_000
    chains = 0.5 * generator.normal(size=(2, 1, count))
    parts = scores.variance_parts(chains + generator.normal(size=(2, 3, count)))
    for values, expected in [(parts.epistemic, 0.25), (parts.dynamical, 1.0)]:
        error = values.std() / np.sqrt(count)
        assert abs(values.mean() - expected) < 4.5 * error


def test_total_variance_reads_chains_from_a_block():
    members, truth, mask = draw(6)
    metric = scores.TotalVariance(chains=2)
    found = overall(metric, members, truth, mask)
    parts = scores.variance_parts(members.reshape(2, 3, *truth.shape))
    expected = [max(parts.epistemic[mask].mean(), 0), parts.dynamical[mask].mean()]
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_pit_curve_is_the_share_of_ranks_below():
    members, truth, mask = draw(9)
    curve = overall(scores.PitCurve(bins=10), members, truth, mask)
    rank = (members < truth).sum(0)[mask]
    # With ten ranks and ten bins the place within a rank does not matter.
    np.testing.assert_allclose(curve, [(rank < k).mean() for k in range(1, 11)])


def pit_table(members, truth):
    metrics = {"pit": scores.PitCurve(), "moments": scores.PitMoments()}
    table = scores.ScoreTable(metrics, *truth.shape[:2])
    table.add(scores.Block(members, truth))
    return table


@pytest.mark.parametrize("repeats", [1, 10, 50])
def test_effective_samples_see_through_repeated_points(repeats):
    generator = np.random.default_rng(2)
    shape = (20, 2, 500 // repeats)
    members, truth = generator.normal(size=(9, *shape)), generator.normal(size=shape)
    table = pit_table(*(np.repeat(a, repeats, -1) for a in (members, truth)))
    samples = scores.effective_samples(table.by_trajectory("moments"), table.weight("pit"))
    # 19 degrees of freedom for each of 5 orders: the ratio has a deviation of 0.15; and U, drawn
    # for each point, makes repeats a little less alike than they are.
    assert 0.5 < samples / (20_000 / repeats) < 2


def test_effective_samples_see_patterns_that_move():
    generator = np.random.default_rng(3)
    place = (np.arange(40)[:, None] + np.arange(60)) % 60  # the same pattern, one step a time
    members, truth = generator.normal(size=(9, 8, 60)), generator.normal(size=(8, 60))
    table = pit_table(members[:, :, place], truth[:, place])
    samples = scores.effective_samples(table.by_trajectory("moments"), table.weight("pit"))
    assert samples < 3 * 8 * 60 < 8 * 40 * 60
    alone = table.by_trajectory("moments")[:1]
    assert np.isnan(scores.effective_samples(alone, 100.0))


def test_simultaneous_band_holds_whole_curves_of_correlated_ensembles():
    generator = np.random.default_rng(4)
    inside = []
    for _ in range(200):
        shape = (10, 2, 30)
        members, truth = generator.normal(size=(19, *shape)), generator.normal(size=shape)
        table = pit_table(np.repeat(members, 4, -1), np.repeat(truth, 4, -1))
        samples = scores.effective_samples(table.by_trajectory("moments"), table.weight("pit"))
        curve = table.overall("pit")
        distance = np.abs(curve - np.arange(1, 41) / 40).max()
        inside.append(distance <= scores.simultaneous_band(samples, 0.95))
    # Binomial with p = 0.95 stays above 0.87 but with probability 1e-5.
    assert np.mean(inside) > 0.87


def test_simultaneous_band_finds_an_ensemble_that_is_too_narrow():
    generator = np.random.default_rng(5)
    shape = (5, 10, 200)
    table = pit_table(0.6 * generator.normal(size=(19, *shape)), generator.normal(size=shape))
    samples = scores.effective_samples(table.by_trajectory("moments"), table.weight("pit"))
    distance = np.abs(table.overall("pit") - np.arange(1, 41) / 40).max()
    assert distance > scores.simultaneous_band(samples, 0.95)


@pytest.mark.parametrize("threshold", [0.2, "points"])
def test_reliability_is_the_table_of_forecast_and_observed_frequencies(threshold):
    members, truth, mask = draw(10)
    if threshold == "points":
        threshold = np.linspace(-1, 1, 20)
    limit = np.broadcast_to(threshold, 20).reshape(truth.shape[2:])
    found = overall(scores.Reliability(threshold, bins=5), members, truth, mask)
    chance, event = (members > limit).mean(0)[mask], (truth > limit)[mask]
    place = np.minimum((chance * 5).astype(int), 4)
    for number in range(5):
        here = place == number
        expected = [chance[here].mean(), event[here].mean(), here.mean()]
        np.testing.assert_allclose(found[:, number], expected, rtol=1e-12)
    brier = overall(scores.Brier(threshold, fair=False), members, truth, mask)
    np.testing.assert_allclose(brier, ((chance - event) ** 2).mean(), rtol=1e-12)


def test_an_empty_probability_bin_is_not_a_number():
    members, truth, _ = draw(4)
    found = overall(scores.Reliability(100.0, bins=3), members, truth)
    np.testing.assert_allclose(found[:, 0], [0, 0, 1])
    assert np.isnan(found[:2, 1:]).all()


def test_a_part_of_the_times_is_scored_as_if_it_were_all():
    members, truth, mask = draw(6)
    metrics = {"coverage": scores.Coverage((0.5,)), "crps": scores.FairCRPS()}
    whole = scores.ScoreTable(metrics, *truth.shape[:2])
    whole.add(scores.Block(members, truth, mask))
    part = whole.between(slice(1, 3))
    for name, metric in metrics.items():
        expected = overall(metric, members[:, :, 1:3], truth[:, 1:3], mask[:, 1:3])
        np.testing.assert_allclose(part.overall(name), expected)
    assert whole.weight("crps") == mask.sum()
