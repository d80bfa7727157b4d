"""Scores of effective dynamics against brute force and scipy."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from pyro_msm import scores


def draws(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("space", [(7,), (4, 3)])
def test_nad_against_loops(space):
    truth, forecast = draws(2, 5, 3, *space), draws(4, 2, 5, 3, *space, seed=1)
    found = scores.normalised_absolute_difference(forecast, truth)
    assert found.shape == (4, 2, 5, 3)
    for member in range(4):
        for trajectory in range(2):
            for channel in range(3):
                true = truth[trajectory, :, channel]
                off = np.abs(forecast[member, trajectory, :, channel] - true)
                expected = [np.mean(each) / (true.max() - true.min()) for each in off]
                assert_allclose(found[member, trajectory, :, channel], expected)


@pytest.mark.parametrize(("n", "m"), [(6, 6), (6, 4), (5, 7), (1, 9), (40, 8)])
def test_wasserstein_against_scipy(n, m):
    one, other = draws(3, 2, n), 1 + 2 * draws(3, 2, m, seed=1)
    found = scores.wasserstein(one, other)
    for index in np.ndindex(3, 2):
        assert_allclose(found[index], stats.wasserstein_distance(one[index], other[index]))
    assert_allclose(scores.wasserstein(other, one), found)
    assert_allclose(scores.wasserstein(one, one + 0.3), 0.3)


def test_histograms_share_bins_of_the_rice_rule():
    assert [scores.rice_bins(n) for n in (1, 8, 27, 28)] == [2, 4, 6, 7]
    one, other = draws(500), 0.5 + draws(343, seed=1)
    edges = np.linspace(min(one.min(), other.min()), max(one.max(), other.max()), 14 + 1)
    shares = [np.histogram(values, edges)[0] / values.size for values in (one, other)]
    assert_allclose(scores.histogram_distance(one, other), np.abs(shares[0] - shares[1]).sum())
    assert scores.histogram_distance(one, one) == 0
    assert_allclose(scores.histogram_distance(one, one + 100), 2)


def test_self_distances_of_histograms_stay_below_their_bound():
    rng = np.random.default_rng(0)
    each = [scores.histogram_distance(*rng.standard_normal((2, 1000))) for _ in range(60)]
    bound = scores.histogram_self_distance(1000)
    assert_allclose(bound, np.sqrt(4 * 20 / (np.pi * 1000)))
    assert np.mean(each) < bound
    assert np.mean(each) > 0.5 * bound


def test_the_self_similar_error_compares_disjoint_halves():
    runs = np.arange(7.0)[:, None]
    found = scores.self_similar_error(lambda one, other: (one[:, 0], other[:, 0]), runs)
    assert_allclose(found, [[0, 2, 4], [1, 3, 5]])


def test_moment_distances_against_loops():
    one, other = draws(6, 3, 20, 2), 0.2 + draws(4, 3, 20, 2, seed=1)
    means, variances = [], []
    for time in range(3):
        for axis in range(2):
            for found, moment in ((means, np.mean), (variances, np.var)):
                sides = [[moment(run[time, :, axis]) for run in runs] for runs in (one, other)]
                found.append(stats.wasserstein_distance(*sides))
    assert_allclose(scores.moment_distances(one, other), (np.mean(means), np.mean(variances)))


def test_derivatives_and_their_joint_density():
    x = 22 * np.arange(64) / 64
    k = 2 * np.pi * 3 / 22
    slope, curvature = scores.spectral_derivatives(np.sin(k * x)[None], 22.0)
    assert_allclose(slope[0], k * np.cos(k * x), atol=1e-12)
    assert_allclose(curvature[0], -(k**2) * np.sin(k * x), atol=1e-12)

    truth, forecast = draws(30, 16), 1.5 * draws(20, 16, seed=1)
    found = scores.derivative_density_distance(forecast, truth, 22.0, bins=5)
    pairs = [
        np.stack([part.ravel() for part in scores.spectral_derivatives(field, 22.0)])
        for field in (truth, forecast)
    ]
    inner = [np.linspace(part.min() - 1e-8, part.max() + 1e-8, 6) for part in pairs[0]]
    edges = [np.concatenate([[-np.inf], along, [np.inf]]) for along in inner]
    shares = []
    for pair in pairs:
        inside = np.zeros((7, 7))
        for first in range(7):
            for second in range(7):
                inside[first, second] = np.mean(
                    (pair[0] >= edges[0][first])
                    & (pair[0] < edges[0][first + 1])
                    & (pair[1] >= edges[1][second])
                    & (pair[1] < edges[1][second + 1])
                )
        assert_allclose(inside.sum(), 1)
        shares.append(inside)
    assert_allclose(found, np.abs(shares[0] - shares[1]).sum())
    assert scores.derivative_density_distance(truth, truth, 22.0) == 0


def test_scores_of_fields():
    truth = draws(2, 50, 1, 16)
    size = np.where(np.arange(50) < 20, 0.01, 3.0)[:, None, None]
    members = truth + size * np.array([1.0, 3.0])[:, None, None, None, None]
    times = 0.5 * np.arange(1, 51)
    found = scores.effective_field_scores(members, truth, times, lyapunov_time=4.0, period=22.0)
    nad = scores.normalised_absolute_difference(members.mean(0), truth)
    assert_allclose(found["mnad"], nad.mean((0, 1)))
    assert_allclose(found["nad_lyapunov_times"], 10.0 / 4.0)
    expected = np.mean([stats.wasserstein_distance(m.ravel(), truth.ravel()) for m in members])
    assert_allclose(found["wasserstein"]["state"], [expected])
    assert found["derivative_density"] < 1e-12  # a shift has no derivative
    assert set(scores.effective_field_scores(members, truth, times)) == {"mnad", "wasserstein"}
    members[0, 0, 30:] = np.nan
    assert np.isnan(scores.effective_field_scores(members, truth, times)["mnad"]).all()


def test_scores_of_particles():
    members, truth = draws(4, 2, 3, 10, 2), draws(2, 3, 10, 2, seed=1)
    found = scores.effective_particle_scores(members, truth)["wasserstein"]
    each = [
        stats.wasserstein_distance(members[:, i, t, :, c].ravel(), truth[i, t, :, c])
        for i, t, c in np.ndindex(2, 3, 2)
    ]
    assert_allclose(found["particles"], np.mean(each))
    assert_allclose([found["m1"], found["m2"]], scores.moment_distances(members, truth[None]))
    order = np.random.default_rng(2).permutation(10)
    again = scores.effective_particle_scores(members[:, :, :, order], truth)["wasserstein"]
    assert_allclose(list(again.values()), list(found.values()))
    runs = scores.effective_particle_scores(members, members)["wasserstein"]
    assert_allclose(list(runs.values()), 0.0, atol=1e-12)
