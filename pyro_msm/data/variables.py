"""What the variable of a dataset is, and what can be asked of it: the one place that knows.

A dataset holds a ``field``, ``particles`` or a ``path``. Whoever handles all three alike asks here
instead of looking at names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from pyro_msm.data.schema import variable

LABELS = ("channel", "component")


@dataclass(frozen=True)
class Variable:
    """One of the three variables of the data contract.

    Attributes:
        name: of the variable in a dataset, and of the members and the truth in an ensemble.
        label: the dimension along which its quantities are named.
        pointwise: values at the same place of two samples can be compared. Particles cannot, for
            their order means nothing.
        spatial: its points are neighbours on a grid, so it has spectra, maps and scales.
    """

    name: str
    label: str
    pointwise: bool
    spatial: bool


VARIABLES = {
    kind.name: kind
    for kind in (
        Variable("field", "channel", pointwise=True, spatial=True),
        Variable("particles", "component", pointwise=False, spatial=False),
        Variable("path", "component", pointwise=True, spatial=False),
    )
}


def kind_of(dataset: xr.Dataset, source: str = "dataset") -> Variable:
    """The variable that a dataset holds.

    Raises:
        InputError: it holds none, or more than one.
    """
    return VARIABLES[variable(dataset, source)]


def along_labels(values: np.ndarray | float, dims: Sequence[object]) -> np.ndarray:
    """Values of each channel or component, shaped to go with arrays whose last axes are ``dims``.

    >>> along_labels(np.ones(3), ("particle", "component")).shape
    (1, 3)
    """
    return np.asarray(values).reshape([-1 if dim in LABELS else 1 for dim in dims])
