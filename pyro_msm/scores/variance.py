"""The law of total variance: what the models disagree on, and what each leaves to chance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from pyro_msm.scores.block import Block
from pyro_msm.scores.metric import Metric, Sums


class VarianceParts(NamedTuple):
    """Between-chain (epistemic) and within-chain (dynamical) variance, each of shape (…)."""

    epistemic: np.ndarray
    dynamical: np.ndarray


def variance_parts(members: np.ndarray) -> VarianceParts:
    """Splits the variance of noise-free members, Var(x) = Var[E(x|chain)] + E[Var(x|chain)].

    The second part is the mean over chains of the variance s² within one (divisor D − 1). The
    first is the variance of the chains' means (divisor K − 1) less ⟨s²⟩/D, what D draws alone make
    the means differ by: so both are unbiased, and the first may be below zero at single points.

    Args:
        members: (chain, draw, …).

    Returns:
        Both parts, float64. NaN with one draw; ``epistemic`` is NaN with one chain.

    Example:
        >>> import numpy as np
        >>> parts = variance_parts(np.array([[0.0, 2.0], [10.0, 12.0]]))
        >>> float(parts.dynamical), float(parts.epistemic)
        (2.0, 49.0)
    """
    chains, draws = members.shape[:2]
    rest = members.shape[2:]
    if draws == 1:
        return VarianceParts(np.full(rest, np.nan), np.full(rest, np.nan))
    means = np.stack([chain.mean(0, dtype=np.float64) for chain in members])
    within = np.zeros(rest)
    for chain, mean in zip(members, means, strict=True):
        for draw in chain:  # one by one: a float64 copy of all members is never made
            within += (draw - mean) ** 2
    within /= chains * (draws - 1)
    if chains == 1:
        return VarianceParts(np.full(rest, np.nan), within)
    return VarianceParts(means.var(0, ddof=1) - within / draws, within)


class TotalVariance(Metric):
    """Mean epistemic and dynamical variance over the observed points, (…, 2).

    The epistemic part is set to 0 where its mean is below.

    Args:
        chains: how many chains the members of a block are made of, chain by chain.
    """

    def __init__(self, chains: int) -> None:
        self.chains = chains

    def sums(self, block: Block) -> Sums:
        """See ``Metric``."""
        if self.chains == 1:
            parts = VarianceParts(np.full(block.truth.shape, np.nan), block.variance)
        else:
            members = block.members.reshape(self.chains, -1, *block.members.shape[1:])
            parts = variance_parts(members)
        return {name: block.reduce(part) for name, part in parts._asdict().items()}

    def value(self, means: Mapping[str, np.ndarray]) -> np.ndarray:
        """See ``Metric``."""
        return np.stack([np.maximum(means["epistemic"], 0), means["dynamical"]], -1)
