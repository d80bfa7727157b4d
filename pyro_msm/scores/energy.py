"""The fair energy score: the CRPS of a whole field at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pyro_msm.scores.block import Block, Statistic
from pyro_msm.scores.metric import Metric, Sums

#: Above this many members, pairs are taken within groups of so many.
GROUP = 256


class FairEnergyScore(Metric):
    """(1/M) Σ‖xᵢ − y‖ − 1/(2M(M−1)) Σᵢⱼ‖xᵢ − xⱼ‖ with the Euclidean norm over the observed points
    (Gneiting & Raftery 2007).

    Unlike the CRPS it sees whether the points of a member belong together. With one member it is
    ‖x − y‖. Above 256 members the pairs are taken within groups of that size, which leaves the
    score unbiased and its cost linear in M.

    Args:
        chains: how many chains the members of a block are made of, chain by chain; a group has as
            many members of each, so that its pairs are those of the whole ensemble.
    """

    whole_fields = True

    def __init__(self, chains: int = 1) -> None:
        self.chains = chains

    def sums(self, block: Block) -> Sums:
        """See ``Metric``."""
        seen = block.observed.any(-1)
        found = np.zeros((4, *seen.shape))
        for sample in zip(*np.nonzero(seen), strict=True):
            points = block.observed[sample]
            members, truth = block.members[(slice(None), *sample)], block.truth[sample]
            if not points.all():
                members, truth = members[:, points], truth[points]
            found[(slice(None), *sample)] = _distances(members, truth, GROUP, self.chains)
        return {"error": Statistic(*found[:2]), "pairs": Statistic(*found[2:])}

    def statistics(self, sums: Sums) -> Sums:
        """See ``Metric``."""
        (error, members), (pairs, count) = sums["error"], sums["pairs"]
        score = error / np.maximum(members, 1) - 0.5 * pairs / np.maximum(count, 1)
        return {"energy": Statistic(score, (members > 0).astype(np.float64))}


def fair_energy_score(members: np.ndarray, truth: np.ndarray, group: int = GROUP) -> float:
    """The fair energy score of one field: members (member, point), truth (point,)."""
    error, size, pairs, count = _distances(members, truth, group, chains=1)
    return error / size - 0.5 * pairs / max(count, 1)


def _distances(
    members: np.ndarray, truth: np.ndarray, group: int, chains: int
) -> tuple[float, int, float, int]:
    """Σ‖xᵢ − y‖ and M, Σ‖xᵢ − xⱼ‖ over pairs i ≠ j within groups and how many they are."""
    error = pairs = 0.0
    count = 0
    for part in _groups(members, group, chains):
        values = part.astype(np.float64)
        away = values - truth
        error += float(np.sqrt(np.einsum("ij,ij->i", away, away)).sum())
        pairs += _pair_distances(values - values.mean(0))
        count += len(part) * (len(part) - 1)
    return error, len(members), pairs, count


def _groups(members: np.ndarray, group: int, chains: int) -> Iterator[np.ndarray]:
    """Parts (member, point) with as many members of each chain."""
    by_chain = members.reshape(chains, -1, members.shape[-1])
    draws = max(1, group // chains)
    for first in range(0, by_chain.shape[1], draws):
        yield by_chain[:, first : first + draws].reshape(-1, members.shape[-1])


def _pair_distances(members: np.ndarray) -> float:
    """Sum of ‖xᵢ − xⱼ‖ over all i and j, by the Gram matrix."""
    gram = members @ members.T
    squares = np.diagonal(gram)
    distance = np.sqrt(np.maximum(squares[:, np.newaxis] + squares - 2 * gram, 0))
    np.fill_diagonal(distance, 0)
    return float(distance.sum())
