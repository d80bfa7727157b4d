"""Many baselines at once."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import xarray as xr

from pyro_msm.errors import InputError
from pyro_msm.forecasting.contract import Forecaster
from pyro_msm.progress import progress_bar


def fit_each(
    kinds: Mapping[str, type[Forecaster]],
    data: xr.Dataset,
    names: Iterable[str] | None,
    progress: bool,
    options: Mapping[str, Any],
) -> tuple[dict[str, Forecaster], dict[str, str]]:
    """What ``fit_all`` returns, for baselines of these ``kinds``."""
    chosen = list(kinds if names is None else names)
    unknown = [name for name in chosen if name not in kinds]
    if unknown:
        raise InputError(f"unknown baseline {unknown[0]!r}: expected {', '.join(kinds)}")
    accepted = {name: set(inspect.signature(kinds[name]).parameters) for name in chosen}
    strange = [
        option for option in options if not any(option in take for take in accepted.values())
    ]
    if strange:
        known = sorted(set().union(*accepted.values()))
        raise InputError(f"no baseline takes {strange[0]!r}: expected {', '.join(known)}")
    fitted: dict[str, Forecaster] = {}
    problems: dict[str, str] = {}
    with progress_bar("baselines", enabled=progress) as update:
        for done, name in enumerate(chosen):
            update(done, len(chosen), name)
            taken = {key: value for key, value in options.items() if key in accepted[name]}
            try:
                baseline = kinds[name](**taken)
                if "warmup" in options:
                    baseline.warmup = options["warmup"]
                fitted[name] = baseline.fit(data)
            except InputError as error:
                problems[name] = str(error)
        update(len(chosen), len(chosen))
    return fitted, problems
