"""Predictive checks: does the truth look like a draw of the model?"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr

from pyro_msm.data.variables import kind_of
from pyro_msm.errors import InputError

Statistic = Callable[[np.ndarray], float]

ROUGHNESS = "change in space"


def _change(field: np.ndarray) -> float:
    return float(np.sqrt(np.nanmean(np.square(np.diff(field, axis=0)))))


def _roughness(field: np.ndarray) -> float:
    steps = [np.diff(field, axis=axis).ravel() for axis in range(2, field.ndim)]
    return float(np.sqrt(np.nanmean(np.square(np.concatenate(steps)))))


#: What is compared by default, of a field (time, channel, x[, y]): its level, its size, its peak,
#: and the root mean square of its changes from time to time and from point to point; of what has
#: no grid the last one is left out.
STATISTICS: dict[str, Statistic] = {
    "mean": lambda field: float(np.nanmean(field)),
    "standard deviation": lambda field: float(np.nanstd(field)),
    "largest value": lambda field: float(np.nanmax(field)),
    "change in time": _change,
    ROUGHNESS: _roughness,
}


def predictive_checks(
    ensemble: xr.DataTree,
    group: str = "posterior_predictive",
    statistics: Mapping[str, Statistic] | None = None,
) -> xr.Dataset:
    """Statistics of the truth beside those of fields that the model draws (Gelman, Meng & Stern,
    Statistica Sinica 6, 1996).

    ``p_value`` is the share (1 + #{T(drawn) ≥ T(truth)}) / (1 + members): near 0 or 1 the model
    does not draw fields like the truth. Members are drawn from the same initial state as the truth,
    so of a good forecast, whose members all stay close to it, one learns little; checks of
    ``prior_predictive`` show what the model held possible before it saw data.

    Args:
        ensemble: from ``rollout`` or ``prior_predictive``.
        group: "posterior_predictive" or "prior_predictive".
        statistics: functions of a field (time, …), NaN where nothing was observed, by name; None:
            ``STATISTICS``.

    Returns:
        ``observed`` and ``p_value`` (statistic, trajectory), NaN where there is no statistic of the
        truth or of any member; ``drawn`` (statistic, member, trajectory), NaN for members that have
        diverged, which do not count.

    Raises:
        InputError: the ensemble has no such group.
    """
    if group not in ensemble.children:
        raise InputError(
            f"the ensemble has no group {group}, but {', '.join(ensemble.children)}: see "
            "rollout and prior_predictive"
        )
    truth, constant = (ensemble[name].to_dataset() for name in ("observed_data", "constant_data"))
    kind = kind_of(truth)
    if statistics is None:
        statistics = {n: s for n, s in STATISTICS.items() if kind.spatial or n != ROUGHNESS}
    name = kind.name
    drawn, observed = ensemble[group].to_dataset()[name], truth[name]
    if "mask" in constant:
        observed = observed.where(constant["mask"])
    names, count = list(statistics), drawn.sizes["chain"] * drawn.sizes["draw"]
    values = np.full((len(names), count, drawn.sizes["trajectory"]), np.nan)
    of_truth = np.empty((len(names), drawn.sizes["trajectory"]))
    for trajectory in range(drawn.sizes["trajectory"]):
        field = observed.isel(trajectory=trajectory).values
        of_truth[:, trajectory] = [statistics[each](field) for each in names]
        gaps = np.isnan(field)
        for member in range(count):
            chain, draw = divmod(member, drawn.sizes["draw"])
            one = drawn.isel(chain=chain, draw=draw, trajectory=trajectory).values
            if np.isfinite(one).all():
                one = np.where(gaps, np.nan, one)
                values[:, member, trajectory] = [statistics[each](one) for each in names]
    above, finite = (values >= of_truth[:, None]).sum(1), np.isfinite(values).sum(1)
    known = np.isfinite(of_truth) & (finite > 0)
    return xr.Dataset(
        {
            "observed": (("statistic", "trajectory"), of_truth),
            "drawn": (("statistic", "member", "trajectory"), values),
            "p_value": (
                ("statistic", "trajectory"),
                np.where(known, (1 + above) / (1 + finite), np.nan),
            ),
        },
        {"statistic": names},
    )
