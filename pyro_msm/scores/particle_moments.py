"""Distributions over runs of what an ensemble of particles has for mean and variance."""

from __future__ import annotations

import numpy as np

from pyro_msm.scores.distribution_distance import wasserstein


def particle_moments(particles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """M1 and M2 of each axis: mean and variance over particles, both (…, component).

    Args:
        particles: (…, particle, component).
    """
    particles = np.asarray(particles)
    return particles.mean(-2, dtype=np.float64), particles.var(-2, dtype=np.float64)


def moment_distances(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Wasserstein distances of the distributions over runs of M1 and of M2.

    At every time and on every axis separately, then averaged (Vlachas et al. 2022).

    Args:
        one: particles (run, …, particle, component), for instance (run, time, particle, component).
        other: the same of as many or other runs.
    """
    return tuple(  # type: ignore[return-value]
        float(wasserstein(np.moveaxis(a, 0, -1), np.moveaxis(b, 0, -1)).mean())
        for a, b in zip(particle_moments(one), particle_moments(other), strict=True)
    )
