"""Confidence intervals by resampling whole trajectories."""

from __future__ import annotations

import numpy as np


def trajectory_counts(trajectories: int, resamples: int = 2000, seed: int = 0) -> np.ndarray:
    """How often each trajectory appears in each bootstrap resample, (resample, trajectory)."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(trajectories, np.full(trajectories, 1 / trajectories), resamples)


def percentile_interval(estimates: np.ndarray, level: float = 0.9) -> np.ndarray:
    """Central ``level`` interval of bootstrap estimates (resample, …): (2, …), low and high.

    The percentile bootstrap (Efron 1979): it respects the range of a score and follows its
    skewness. Points and times of one trajectory are correlated, trajectories are not, hence the
    unit. With the five trajectories of a usual test split it covers less than its level (about 0.78
    for 0.9, Gaussian scores): read it as an order of magnitude. NaN where an estimate is NaN.
    """
    tail = (1 - level) / 2
    return np.quantile(estimates, [tail, 1 - tail], axis=0)
