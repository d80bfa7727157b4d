"""Learn stochastic multiscale models from snapshots of a field, roll them out, score them.

    import pyro_msm as msm
    data = msm.data.open("kdv.nc")
    model = msm.models.MultiscaleSDE.for_data(data, macro=20, micro=5)
    guide = msm.guides.AmortizedPathGuide(model)

Parts are imported when they are first used, so that the command line starts without waiting for
PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyro_msm import (
        analysis,
        benchmark,
        config,
        data,
        distributions,
        forecasting,
        guides,
        inference,
        models,
        nn,
        runs,
        scores,
    )
    from pyro_msm.errors import InputError
    from pyro_msm.forecasting import fit

__version__ = "0.1.0"

__all__ = [
    "InputError",
    "analysis",
    "benchmark",
    "config",
    "data",
    "distributions",
    "fit",
    "forecasting",
    "guides",
    "inference",
    "models",
    "nn",
    "runs",
    "scores",
]

_ATTRIBUTES = {"InputError": "pyro_msm.errors", "fit": "pyro_msm.forecasting"}


def __getattr__(name: str) -> Any:
    if name in _ATTRIBUTES:
        return getattr(import_module(_ATTRIBUTES[name]), name)
    if name in __all__:
        return import_module(f"pyro_msm.{name}")
    raise AttributeError(f"module 'pyro_msm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
