"""Post-hoc recalibration: what it promises, over repeated splits."""

import numpy as np
import pytest

from pyro_msm import analysis
from pyro_msm.errors import InputError


def trajectories(generator, count, members=15, times=3, points=20, narrow=0.4):
    """An ensemble whose error grows, is smooth in space, and is larger than its spread says."""
    scale = np.linspace(0.5, 2, times)[:, None]
    shared = generator.standard_t(4, size=(count, times, 1))  # heavy tails, one per trajectory
    truth = scale * (0.8 * shared + 0.6 * generator.normal(size=(count, times, points)))
    return narrow * scale * generator.normal(size=(members, count, times, points)), truth


def test_spread_factors_undo_a_known_factor():
    generator = np.random.default_rng(0)
    truth = generator.normal(size=(50, 4, 100))
    wrong = np.array([0.25, 0.5, 1.0, 2.0])
    members = wrong[:, None] * generator.normal(size=(20, 50, 4, 100))
    factors = analysis.spread_factors(members, truth)
    # The mean of 20 members errs by wrong²/20 more than the truth scatters, and keeps doing so.
    expected = np.sqrt((1 + wrong**2 / 20) / (wrong**2 * 21 / 20))
    np.testing.assert_allclose(factors, expected, rtol=0.03)
    better = analysis.rescale_spread(members, factors)
    np.testing.assert_allclose(better.mean(0), members.mean(0), atol=1e-12)
    np.testing.assert_allclose(analysis.spread_factors(better, truth), 1)
    np.testing.assert_allclose(analysis.spread_factors(members * 0, truth), 1)
    smooth = analysis.spread_factors(members, truth, window=3)
    assert np.ptp(np.log(smooth)) < np.ptp(np.log(factors))


def test_unobserved_points_do_not_count():
    generator = np.random.default_rng(1)
    members, truth = trajectories(generator, 12)
    hidden = generator.random(truth.shape) < 0.3
    gaps = np.where(hidden, np.nan, truth)
    for function in (analysis.spread_factors, analysis.conformal_factors):
        found = function(members, gaps)
        assert np.isfinite(found).all()
        spoiled = members + np.where(hidden, 7.0, 0.0)
        np.testing.assert_allclose(function(spoiled, gaps), found)


def test_conformal_factor_of_one_point_is_the_order_statistic():
    generator = np.random.default_rng(2)
    members, truth = trajectories(generator, 19, times=1, points=1)
    distance = np.abs(truth - members.mean(0)) / members.std(0, ddof=1)
    for simultaneous in (False, True):
        found = analysis.conformal_factors(members, truth, 0.9, simultaneous)
        np.testing.assert_allclose(found, np.sort(distance.ravel())[18 - 1])  # ⌈20 · 0.9⌉ = 18


@pytest.mark.parametrize("simultaneous", [False, True])
@pytest.mark.parametrize("count", [9, 14])
def test_conformal_bands_reach_their_level_over_repeated_splits(simultaneous, count):
    generator = np.random.default_rng(3)
    held = []
    for _ in range(600):
        members, truth = trajectories(generator, count + 1)
        factors = analysis.conformal_factors(members[:, :-1], truth[:-1], 0.9, simultaneous)
        low, high = analysis.conformal_band(members[:, -1:], factors)
        inside = (low <= truth[-1:]) & (truth[-1:] <= high)
        inside = inside.all(-1) if simultaneous else inside.mean(-1)
        held.append(inside.mean(0))
    held = np.array(held, float)
    # The guarantee is one on expectations, at each lead time: 4.5 standard errors of 600 splits.
    assert (held.mean(0) > 0.9 - 4.5 * held.std(0) / np.sqrt(600)).all()
    assert held.mean() < 1 - 0.2 / (count + 1)  # and it is not met by bands without end
    raw = np.abs(truth[-1] - members[:, -1].mean(0)) < 1.645 * members[:, -1].std(0, ddof=1)
    assert raw.mean() < 0.9  # what there was to repair


def test_what_cannot_be_promised_is_refused():
    generator = np.random.default_rng(4)
    members, truth = trajectories(generator, 5)
    with pytest.raises(InputError, match="at least 9 calibration trajectories, got 5"):
        analysis.conformal_factors(members, truth, 0.9)
    assert np.isfinite(analysis.conformal_factors(members, truth, 0.8)).all()
    with pytest.raises(InputError, match="between 0 and 1"):
        analysis.conformal_factors(members, truth, 90)
    with pytest.raises(InputError, match="one member"):
        analysis.spread_factors(members[:1], truth)
    with pytest.raises(InputError, match="odd window"):
        analysis.spread_factors(members, truth, window=2)
    with pytest.raises(InputError, match="same trailing shape"):
        analysis.conformal_factors(members[:, :2], truth)


def test_a_diverged_member_makes_its_trajectory_a_miss():
    members, truth = trajectories(np.random.default_rng(5), 10)
    members[0, 3, 2] = np.nan
    factors = analysis.conformal_factors(members, truth, 0.9)
    assert np.isfinite(factors[:2]).all()
    assert factors[2] > analysis.conformal_factors(members[1:], truth, 0.9)[2]
