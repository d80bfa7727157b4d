"""The scores by which learned effective dynamics are judged, all at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyro_msm.scores.distribution_distance import wasserstein
from pyro_msm.scores.joint_density import derivative_density_distance
from pyro_msm.scores.normalised_difference import normalised_absolute_difference
from pyro_msm.scores.particle_moments import moment_distances
from pyro_msm.scores.valid_time import valid_prediction_time

#: Below this NAD a forecast of chaos counts as valid.
VALID = 0.1


def effective_field_scores(
    members: np.ndarray,
    truth: np.ndarray,
    lead_time: np.ndarray,
    *,
    lyapunov_time: float | None = None,
    period: float | None = None,
) -> dict[str, Any]:
    """Scores of forecasts of fields.

    Args:
        members: noise-free (member, trajectory, time, channel, x[, y]).
        truth: (trajectory, time, channel, x[, y]).
        lead_time: (time,), increasing.
        lyapunov_time: mean time in which errors grow e-fold; None: not chaotic.
        period: length of the domain, if it is one periodic axis.

    Returns:
        ``mnad``: of the ensemble mean, (channel,). ``wasserstein``: ``state``, the distance between
        all values of a channel in a member and in the truth, averaged over members, (channel,);
        another true run of equal length has one too, which is its floor. With a Lyapunov time
        ``nad_lyapunov_times``: up to which lead time, in its units, the ensemble mean's NAD
        averaged over trajectories and channels stays below 0.1. With a period
        ``derivative_density``: the L1 distance of the densities of (u_x, u_xx).
    """
    nad = normalised_absolute_difference(members.mean(0, dtype=np.float64), truth)
    axes = truth.ndim - 3
    states = _by_channel(truth, axes)
    distances = [wasserstein(_by_channel(member, axes), states) for member in members]
    found: dict[str, Any] = {
        "mnad": nad.mean((0, 1)).tolist(),
        "wasserstein": {"state": np.mean(distances, axis=0).tolist()},
    }
    if lyapunov_time is not None:
        curve = nad.mean((0, 2))[None]
        valid, _ = valid_prediction_time(curve, lead_time, VALID)
        found["nad_lyapunov_times"] = float(valid[0] / lyapunov_time)
    if period is not None:
        found["derivative_density"] = derivative_density_distance(members, truth, period)
    return found


def effective_particle_scores(members: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Scores of forecasts of particles, by their distributions.

    Args:
        members: (member, trajectory, time, particle, component).
        truth: (trajectory, time, particle, component), or (run, trajectory, time, …) of several
            true runs from the same initial conditions.

    Returns:
        ``wasserstein``: ``particles``, between the particles of all members and all runs at every
        time; ``m1`` and ``m2``, between the distributions over members and runs of the mean and the
        variance over particles; all averaged over trajectories, times and axes.
    """
    runs = truth if truth.ndim == members.ndim else truth[None]
    each = moment_distances(members, runs)
    clouds = [np.moveaxis(part, (0, -2), (-2, -1)) for part in (members, runs)]
    clouds = [part.reshape(*part.shape[:-2], -1) for part in clouds]  # (…, member · particle)
    particles = float(wasserstein(*clouds).mean())
    return {"wasserstein": {"particles": particles, "m1": each[0], "m2": each[1]}}


def _by_channel(values: np.ndarray, axes: int) -> np.ndarray:
    """(channel, everything else) of (…, channel, x[, y]) with so many ``axes`` of space."""
    moved = np.moveaxis(values, -1 - axes, 0)
    return moved.reshape(len(moved), -1)
