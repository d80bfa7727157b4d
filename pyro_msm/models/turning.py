"""How a moving frame turns, from angles that noise disturbs."""

import numpy as np


def turning(angles: np.ndarray) -> tuple[float, float]:
    """Mean turn from one snapshot to the next, and the spread of turns that is no noise.

    How far turns over a lag differ from the mean one grows with the lag, the noise of the angles at
    both ends does not: extrapolated to a lag of zero the former is the latter. The spread is that
    of the lag that shows the largest, among those whose difference to the noise is more than three
    of its standard errors; 0 where there is none.

    Args:
        angles: (trajectory, time), unwrapped.

    Example:
        >>> steady = 0.3 * np.arange(50) + 0.01 * np.random.default_rng(0).normal(size=(20, 50))
        >>> mean, spread = turning(steady)
        >>> round(mean, 3), spread
        (0.3, 0.0)
    """
    last = angles.shape[1] - 1
    mean = float((angles[:, -1] - angles[:, 0]).mean()) / last
    lags = 2 ** np.arange(int(np.log2(last)) + 1)
    differences = [angles[:, lag:] - angles[:, :-lag] - mean * lag for lag in lags]
    variance = np.array([np.square(each).mean() for each in differences])
    noise = max(0.0, (4 * variance[0] - variance[1]) / 3) if len(lags) > 1 else 0.0
    doubt = 3 * np.sqrt(2 / (len(angles) * (last // lags)))
    shown = np.where(variance > noise * (1 + doubt), variance - noise, 0)
    return mean, float((np.sqrt(shown) / lags).max())
