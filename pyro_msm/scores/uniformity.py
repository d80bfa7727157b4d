"""Is the PIT uniform: its distribution, how many samples it is worth, simultaneous bands."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pyro_msm.scores.block import Block, Statistic
from pyro_msm.scores.metric import Metric, Sums
from pyro_msm.scores.rank import counts

ORDERS = 5


class PitCurve(Metric):
    """Distribution function of the randomised PIT at multiples of 1/bins, (…, bins).

    The last value is 1. A calibrated ensemble of any size has the diagonal.

    Args:
        bins: number of steps.
    """

    def __init__(self, bins: int = 40) -> None:
        self.bins = bins

    def sums(self, block: Block) -> Sums:
        """See ``Metric``."""
        total, weight = counts(block, self.bins)
        return {"pit": Statistic(total.cumsum(-1), weight)}


class PitMoments(Metric):
    """Means and mean squares of the first Legendre polynomials of the PIT, (…, 2, ORDERS).

    What ``effective_samples`` works from: the lowest one sees a bias, the second a wrong spread.
    """

    def sums(self, block: Block) -> Sums:
        """See ``Metric``."""
        pit = np.where(block.diverged, np.nan, block.place / (block.size + 1))
        values = np.polynomial.legendre.legvander(2 * pit - 1, ORDERS)[..., 1:]
        found = {}
        for name, parts in [("first", values), ("second", values**2)]:
            sums = [block.reduce(parts[..., order]) for order in range(ORDERS)]
            found[name] = Statistic(np.stack([s.total for s in sums], -1), sums[0].weight)
        return found

    def value(self, means: Mapping[str, np.ndarray]) -> np.ndarray:
        """See ``Metric``."""
        return np.stack([means["first"], means["second"]], -2)


def effective_samples(moments: np.ndarray, points: float) -> float:
    """How many independent samples the PIT values of some trajectories are worth.

    Points in space and time are correlated, trajectories are not. The mean of a function φ of the
    PIT over one of n trajectories scatters with the variance v that can be seen between
    trajectories; N independent samples in all would have v = n Var(φ)/N. So N = n Σ Var(φ)/Σ v,
    summed over the first five Legendre polynomials, which for 5 trajectories is known to about a
    third. It holds for any kind of correlation, drifting patterns included, and a miscalibration
    that all trajectories share does not enter. (The design effect of survey sampling, Kish 1965.)

    Args:
        moments: ``PitMoments`` of each trajectory, (trajectory, 2, ORDERS).
        points: number of observed points; the result is between the number of trajectories and it.

    Returns:
        The effective number; NaN for a single trajectory.
    """
    count = len(moments)
    if count < 2 or not np.isfinite(moments).all():
        return float("nan")
    first, second = moments[:, 0], moments[:, 1]
    variance = (second.mean(0) - first.mean(0) ** 2).sum()
    between = first.var(0, ddof=1).sum()
    return float(np.clip(count * variance / between if between else points, count, points))


def simultaneous_band(samples: float, level: float = 0.95) -> float:
    """Half-width of a band around a distribution function that holds all of an empirical one.

    √(ln(2/(1 − level))/(2n)): the inequality of Dvoretzky, Kiefer and Wolfowitz with Massart's
    constant (1990), valid for any n.

    Args:
        samples: n, here the effective number.
        level: probability with which the whole curve stays inside.
    """
    return float(np.sqrt(np.log(2 / (1 - level)) / (2 * samples)))
