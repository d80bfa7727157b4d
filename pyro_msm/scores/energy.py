"""The fair energy score: the CRPS of a whole field at once."""

from __future__ import annotations

import numpy as np

from pyro_msm.scores.block import Block, Statistic
from pyro_msm.scores.metric import Metric


class FairEnergyScore(Metric):
    """(1/M) Σ‖xᵢ − y‖ − 1/(2M(M−1)) Σᵢⱼ‖xᵢ − xⱼ‖ with the Euclidean norm over the observed points
    (Gneiting & Raftery 2007).

    Unlike the CRPS it sees whether the points of a member belong together. With one member it is
    ‖x − y‖.

    Args:
        group: above this many members the pairs are taken within groups of about this size, which
            leaves the score unbiased and its cost linear in M.
    """

    def __init__(self, group: int = 256) -> None:
        self.group = group

    def statistics(self, block: Block) -> dict[str, Statistic]:
        """See ``Metric``."""
        seen = block.observed.any(-1)
        total = np.zeros(seen.shape)
        for sample in zip(*np.nonzero(seen), strict=True):
            points = block.observed[sample]
            members = block.members[(slice(None), *sample)][:, points].astype(np.float64)
            total[sample] = fair_energy_score(members, block.truth[sample][points], self.group)
        return {"energy": Statistic(total, seen.astype(np.float64))}


def fair_energy_score(members: np.ndarray, truth: np.ndarray, group: int = 256) -> float:
    """The fair energy score of one field: members (member, point), truth (point,)."""
    centred = np.asarray(members - members.mean(0), np.float64)
    skill = float(np.linalg.norm(members - truth, axis=-1).mean())
    if len(members) == 1:
        return skill
    groups = np.array_split(centred, -(-len(centred) // group))
    return skill - 0.5 * float(np.mean([_mean_distance(part) for part in groups]))


def _mean_distance(members: np.ndarray) -> float:
    """Mean of ‖xᵢ − xⱼ‖ over the pairs i ≠ j, by the Gram matrix."""
    gram = members @ members.T
    squares = np.diagonal(gram)
    distance = np.sqrt(np.maximum(squares[:, np.newaxis] + squares - 2 * gram, 0))
    np.fill_diagonal(distance, 0)
    return float(distance.sum() / (len(members) * (len(members) - 1)))
