"""Thresholds of statistical tests: a correct program fails one of them once in 100,000 seeds."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

FALSE_ALARM = 1e-5


def limit(comparisons: int) -> float:
    """Standard errors that the largest of so many two-sided comparisons may be off by."""
    return float(norm.isf(0.5 * FALSE_ALARM / comparisons))


def assert_mean(samples: np.ndarray, expected: np.ndarray | float, bias: float = 0.0) -> None:
    """The mean over the first axis is ``expected``, up to ``bias`` and the sampling error."""
    samples = np.asarray(samples, float)
    error = samples.std(0, ddof=1) / np.sqrt(len(samples))
    off = np.abs(samples.mean(0) - expected)
    worst = (off - bias) / error
    assert np.max(worst) < limit(np.size(worst)), f"off by {np.max(worst):.1f} standard errors"


def assert_moments(samples: np.ndarray, mean: np.ndarray | float, var: np.ndarray | float) -> None:
    """The first two moments over the first axis."""
    samples = np.asarray(samples, float)
    assert_mean(samples, mean)
    assert_mean((samples - mean) ** 2, var)
