"""Scores of an estimated SDE against loops and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pyro_msm.scores import effective


def arrays(*shapes):
    generator = np.random.default_rng(0)
    return [generator.standard_normal(shape) for shape in shapes]


@pytest.mark.parametrize("shape", [(7, 1), (6, 2), (5, 2, 2)])
def test_errors_are_sums_over_points(shape):
    found, exact = arrays(shape, shape)
    off = sum(((f - g) ** 2).sum() for f, g in zip(found, exact, strict=True))
    size = sum((g**2).sum() for g in exact)
    assert effective.coefficient_error(found, exact) == pytest.approx(math.sqrt(off / size))
    if len(shape) == 2:
        assert effective.mean_squared_error(found, exact) == pytest.approx(off / shape[0])


@pytest.mark.parametrize("draws", [19, 40])
def test_coverage_counts_points_inside_their_band(draws):
    drawn, exact = arrays((draws, 30, 2), (30, 2))
    inside = 0
    for i in range(30):
        for j in range(2):
            ranks = np.arange(1, draws + 1) / (draws + 1)
            low, high = np.interp([0.1, 0.9], ranks, np.sort(drawn[:, i, j]))
            inside += low <= exact[i, j] <= high
    assert effective.band_coverage(drawn, exact, 0.8) == pytest.approx(inside / 60)
    assert 0 < inside < 60


@pytest.mark.parametrize("draws", [19, 40, 400])
def test_coverage_of_a_calibrated_band_is_its_level(draws):
    drawn, exact = arrays((draws, 40_000), (40_000,))
    assert effective.band_coverage(drawn, exact) == pytest.approx(0.9, abs=0.01)


def test_information_bound_is_the_spread_of_the_best_estimate_of_one_constant():
    """b̄ = a for known Σ̄: the estimate (X_T - X_0)/T has the variance Σ̄/T."""
    drift, variance, duration = 0.8, 0.3, 25.0
    moved = drift * duration + np.sqrt(variance * duration) * arrays((20_000,))[0]
    spread = np.std(moved / duration) / drift
    points = np.full((4, 1), drift), np.full((4, 1, 1), variance)
    assert effective.information_bound(*points, duration) == pytest.approx(spread, rel=0.03)
    four = effective.information_bound(*points, duration, 4)
    assert four == pytest.approx(2 * effective.information_bound(*points, duration))


@pytest.mark.parametrize(("name", "expected", "time"), [("b", 0.094, 200), ("c", 0.098, 500)])
def test_information_bounds_of_the_facts(name, expected, time):
    from pyro_msm.data import systems

    truth = systems.get(f"slow-fast-{name}").effective
    x = truth.stationary_points(2000)
    found = effective.information_bound(truth.drift(x), truth.diffusion(x), time)
    assert found == pytest.approx(expected, abs=1e-3)


def test_stationary_distance_is_the_area_between_distribution_functions():
    found, exact = arrays((50, 2), (40, 2))
    grid = np.linspace(-5, 5, 200_001)
    expected = []
    for j in range(2):
        one, other = (
            np.searchsorted(np.sort(each[:, j]), grid, side="right") / len(each)
            for each in (found, exact)
        )
        expected.append(np.abs(one - other).sum() * (grid[1] - grid[0]) / exact[:, j].std())
    assert effective.stationary_distance(found, exact) == pytest.approx(np.mean(expected), rel=1e-3)


def test_autocorrelation_pools_all_pairs():
    (paths,) = arrays((3, 20, 2))
    mean, count = paths.reshape(-1, 2).mean(0), paths.shape[1]
    for lag, found in zip((0, 3, 19), effective.autocorrelation(paths, (0, 3, 19)), strict=True):
        pairs = [
            (path[k] - mean) * (path[k + lag] - mean) for path in paths for k in range(count - lag)
        ]
        np.testing.assert_allclose(found, np.mean(pairs, 0) / paths.reshape(-1, 2).var(0))


def test_passages_are_counted_between_wells_only():
    path = np.array([0.2, -0.9, -0.2, 0.5, -0.9, 0.3, 1.0, 0.1, -0.5, 0.9, -1.0, 0.0])
    # left at 1, right at 6, left at 10: two passages in the ten frames after frame 1.
    assert effective.mean_passage_time(path[None], 0.5, 0.8) == pytest.approx(0.5 * 10 / 2)
    both = effective.mean_passage_time(np.stack([path, np.zeros(12)]), 0.5, 0.8)
    assert both == pytest.approx(2.5)
    assert math.isnan(effective.mean_passage_time(path[None, :5], 0.5, 0.8))


def test_passage_times_of_a_switching_process_are_those_it_was_made_with():
    generator = np.random.default_rng(1)
    stays = generator.geometric(0.02, size=4000)
    path = np.repeat(np.where(np.arange(4000) % 2, 1.0, -1.0), stays)
    assert effective.mean_passage_time(path[None], 1.0, 0.5) == pytest.approx(50, rel=0.1)


def test_moments_of_all_samples():
    (samples,) = arrays((4, 5, 2))
    expected = (samples.reshape(-1, 2) ** 4).mean(0)
    np.testing.assert_allclose(effective.moments(samples)["4"], expected)
