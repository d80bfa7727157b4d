"""Errors of particles that have no order: distances of their distributions, and moments."""

from __future__ import annotations

import numpy as np

from pyro_msm.scores.block import Block, Statistic
from pyro_msm.scores.distribution_distance import wasserstein
from pyro_msm.scores.metric import Metric, Sums
from pyro_msm.scores.particle_moments import particle_moments


class _OfParticles(Metric):
    """A metric of samples (particle, component), which a block holds flat.

    A sample in which a particle was not observed is left out: the others are not its distribution.

    Args:
        components: numbers of a particle.
    """

    whole_fields = True

    def __init__(self, components: int) -> None:
        self.components = components

    def _clouds(self, values: np.ndarray) -> np.ndarray:
        return values.reshape(*values.shape[:-1], -1, self.components).astype(np.float64)


class ParticleWasserstein(_OfParticles):
    """Mean over members of the Wasserstein-1 distance between their particles and the true ones.

    Of each component on its own, (…, component).
    """

    def sums(self, block: Block) -> Sums:
        """See ``Metric``."""
        truth = np.swapaxes(self._clouds(block.truth), -1, -2)
        total = np.zeros(truth.shape[:-1])
        for member in block.members:  # one by one: no sorted copy of all members is made
            total += wasserstein(np.swapaxes(self._clouds(member), -1, -2), truth)
        weight = np.where(block.observed.all(-1), float(block.size), 0.0)
        return {"distance": Statistic(np.where(weight[..., np.newaxis] > 0, total, 0), weight)}

    def statistics(self, sums: Sums) -> Sums:
        """See ``Metric``: each sample counts once."""
        return {"distance": _mean_of(*sums["distance"])}


class MomentErrors(_OfParticles):
    """Errors of M1 and M2, the mean and variance over particles: (…, 2, component).

    |⟨M⟩ − M of the truth|, with ⟨M⟩ the mean over members: what the ensemble says about the
    moment, so that the chance in each member's few particles averages out.
    """

    def sums(self, block: Block) -> Sums:
        """See ``Metric``."""
        weight = np.where(block.observed.all(-1), float(block.size), 0.0)
        seen = weight[..., np.newaxis, np.newaxis] > 0
        members = sum(_moments(self._clouds(member)) for member in block.members)
        truth = block.size * _moments(self._clouds(block.truth))  # once for each member
        return {
            "members": Statistic(np.where(seen, members, 0), weight),
            "truth": Statistic(np.where(seen, truth, 0), weight),
        }

    def statistics(self, sums: Sums) -> Sums:
        """See ``Metric``."""
        (members, weight), (truth, _) = _mean_of(*sums["members"]), _mean_of(*sums["truth"])
        return {"error": Statistic(np.abs(members - truth), weight)}


def _moments(clouds: np.ndarray) -> np.ndarray:
    """M1 and M2: (…, 2, component) of (…, particle, component)."""
    return np.stack(particle_moments(clouds), axis=-2)


def _mean_of(total: np.ndarray, weight: np.ndarray) -> Statistic:
    size = weight.reshape(weight.shape + (1,) * (total.ndim - weight.ndim))
    return Statistic(total / np.maximum(size, 1), (weight > 0).astype(np.float64))
