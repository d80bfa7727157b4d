"""What scores say when an ensemble diverged, when nothing was observed, and when M = 1."""

import numpy as np
import pytest

from pyro_msm import scores


def metrics():
    return {
        "relative_error": scores.RelativeError(),
        "crps": scores.FairCRPS(),
        "energy": scores.FairEnergyScore(),
        "mse": scores.DebiasedMeanSquaredError(),
        "spread": scores.Spread(),
        "spread_skill": scores.SpreadSkill(),
        "coverage": scores.Coverage((0.5,)),
        "rank": scores.RankHistogram(),
        "brier": scores.Brier(0.0),
    }


def table_of(ensemble, truth, mask=None):
    table = scores.ScoreTable(metrics(), *truth.shape[:2])
    table.add(scores.Block(ensemble, truth, mask))
    return table


def draw(members=6):
    generator = np.random.default_rng(0)
    return generator.normal(size=(members, 2, 3, 10)), generator.normal(size=(2, 3, 10))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_diverged_member_is_never_dropped(value):
    ensemble, truth = draw()
    ensemble[4, 1, 2] = value
    table = table_of(ensemble, truth)
    for name in metrics():
        assert np.isnan(table.overall(name)).all(), name
        assert np.isfinite(table.by_trajectory(name)[0]).all(), name
        assert np.isnan(table.by_trajectory(name)[1]).all(), name
        assert np.isfinite(table.by_time(name)[:2]).all(), name
        assert np.isnan(table.by_time(name)[2]).all(), name


def test_one_member_has_no_spread_and_an_absolute_error():
    ensemble, truth = draw(1)
    table = table_of(ensemble, truth)
    for name in ("spread", "spread_skill", "coverage", "mse"):
        assert np.isnan(table.overall(name)).all(), name
    np.testing.assert_allclose(table.overall("crps"), np.abs(ensemble[0] - truth).mean())
    distance = np.linalg.norm(ensemble[0] - truth, axis=-1)
    np.testing.assert_allclose(table.overall("energy"), distance.mean())


def test_a_time_that_nobody_observed_has_no_score_and_no_weight():
    ensemble, truth = draw()
    mask = np.ones(truth.shape, bool)
    mask[:, 1] = False
    table = table_of(ensemble, truth, mask)
    for name in metrics():
        assert np.isnan(table.by_time(name)[1]).all(), name
    kept = table_of(ensemble[:, :, [0, 2]], truth[:, [0, 2]])
    for name in metrics():
        np.testing.assert_allclose(table.overall(name), kept.overall(name), err_msg=name)


def test_truth_without_norm_is_left_out_and_counted():
    ensemble, truth = draw()
    truth[0, 0] = 0
    zero = scores.ScoreTable(
        {"zero": scores.ZeroTruth(), "error": scores.RelativeError()}, *truth.shape[:2]
    )
    zero.add(scores.Block(ensemble, truth))
    assert zero.overall("zero") == pytest.approx(1 / 6)
    errors = scores.relative_error(ensemble, truth)
    assert np.isnan(errors[0, 0])
    np.testing.assert_allclose(zero.overall("error"), np.nanmean(errors))
    assert np.isfinite(zero.by_time("error")).all()


def test_small_spread_on_a_large_offset_keeps_its_digits():
    generator = np.random.default_rng(6)
    ensemble = generator.normal(0, 1e-6, (5, 1, 1, 50)) + 300.0
    block = scores.Block(ensemble, np.full((1, 1, 50), 300.0))
    np.testing.assert_allclose(block.variance, ensemble.var(0, ddof=1), rtol=1e-6)


@pytest.mark.parametrize(
    ("members", "truth", "mask"),
    [((3, 2, 2, 4), (2, 2, 5), None), ((2, 4), (4,), None), ((3, 2, 2, 4), (2, 2, 4), (2, 2))],
)
def test_shapes_that_do_not_fit_are_told(members, truth, mask):
    with pytest.raises(ValueError, match="expected"):
        scores.Block(np.zeros(members), np.zeros(truth), None if mask is None else np.ones(mask))


def test_levels_that_make_no_sense_are_told():
    with pytest.raises(ValueError, match="at least 2 members"):
        scores.order_statistic_level(1, 0.9)
    with pytest.raises(ValueError, match="between 0 and 1"):
        scores.order_statistic_level(9, 90)


def test_valid_prediction_time_stops_at_the_first_failure():
    error = np.array([[0.1, 0.2, 0.9, 0.1], [0.1, 0.1, 0.1, 0.1], [0.6, 0.1, 0.1, 0.1]])
    error = np.vstack([error, [0.1, np.nan, 0.1, 0.1]])
    lasted, never_failed = scores.valid_prediction_time(error, np.array([1.0, 2.0, 3.0, 4.0]))
    assert lasted.tolist() == [2.0, 4.0, 0.0, 1.0]
    assert never_failed.tolist() == [False, True, False, False]
