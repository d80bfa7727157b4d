"""Reading an ensemble: the DataTree of a rollout, checked once and handed out in pieces."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from pyro_msm.data.variables import kind_of
from pyro_msm.errors import InputError
from pyro_msm.forecasting.layout import MEMORY, Layout, layout

ALL = slice(None)
COUNTING = ("chain", "draw", "member")


class Ensemble:
    """The parts of an ensemble DataTree that are scored and drawn.

    Fields stay lazy where the tree is: only ``members_of`` and ``truth_of`` read them. What is said
    here of (channel, x[, y]) holds for whatever follows time in the variable that was forecast.

    Attributes:
        kind: the variable.
        signal: noise-free members, (chain, draw, trajectory, time, channel, x[, y]).
        predictive: the same with observation noise.
        observed: noisy truth, (trajectory, time, channel, x[, y]).
        clean: truth without noise, or None where nobody knows it.
        mask: True where the truth was observed, or None.
        split: (trajectory,) names of splits.
        time: the stored times; the first is that of the last initial snapshot.

    Raises:
        InputError: a group or variable of the schema is missing.
    """

    def __init__(self, tree: xr.DataTree) -> None:
        self.tree = tree
        self.signal = self._variable("posterior", "signal")
        self.kind = kind_of(self._group("observed_data"), "the ensemble's group observed_data")
        self.predictive = self._variable("posterior_predictive", self.kind.name)
        self.observed = self._variable("observed_data", self.kind.name)
        constant = self._group("constant_data")
        self.clean = constant.get("clean")
        self.mask = constant.get("mask")
        attrs = {**tree.attrs, **constant.attrs}
        self.attrs: dict[str, Any] = {str(key): value for key, value in attrs.items()}
        self.time = np.asarray(self.signal["time"].values, float)
        if len(self.time) < 2:
            raise InputError("the ensemble holds no time after the initial snapshot to score")
        trajectories = self.signal.sizes["trajectory"]
        split = constant["split"].values if "split" in constant else ["test"] * trajectories
        self.split = np.asarray(split).astype(str)

    @property
    def lead_time(self) -> np.ndarray:
        """Stored times counted from the last initial snapshot, which has lead time 0."""
        return self.time - self.time[0]

    def begins_like(self, other: Ensemble) -> bool:
        """Whether it has the lead times of ``other``, and perhaps later ones beyond them."""
        lead = other.lead_time
        own = self.lead_time[: len(lead)]
        return len(own) == len(lead) and np.allclose(own, lead, rtol=0, atol=1e-3 * lead[1])

    @property
    def members(self) -> int:
        """Members of all chains together."""
        return self.signal.sizes["chain"] * self.signal.sizes["draw"]

    @property
    def diverged_at(self) -> np.ndarray:
        """(member, trajectory): the time from which a member is not finite, NaN if it stayed so."""
        posterior = self._group("posterior")
        shape = (self.members, self.signal.sizes["trajectory"])
        if "diverged_at" not in posterior:
            return np.full(shape, np.nan)
        return np.asarray(posterior["diverged_at"].values, float).reshape(shape)

    def splits(self) -> dict[str, np.ndarray]:
        """Trajectory numbers of each split, in the order in which they appear."""
        return {str(name): np.flatnonzero(self.split == name) for name in dict.fromkeys(self.split)}

    @property
    def shape(self) -> tuple[int, ...]:
        """(channel, x[, y]) of a field."""
        return self.observed.shape[2:]

    @property
    def labels(self) -> int:
        """Number of channels, or of components."""
        return self.observed.sizes[self.kind.label]

    def truth_of(
        self, which: xr.DataArray, trajectory: int, times: slice, rows: slice = ALL
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """(1, time, …) of ``observed`` or ``clean``, and the mask that goes with the former."""
        values = _cut(which, trajectory, times, rows)
        if self.mask is None or which is not self.observed:
            return values, None
        return values, _cut(self.mask, trajectory, times, rows).astype(bool)

    def pieces(self, forecast: xr.DataArray, memory: int = MEMORY) -> Layout:
        """How the members of a forecast are cut so that scoring them takes so many bytes."""
        sizes = forecast.sizes
        draws = sizes["member"] if "member" in sizes else sizes["draw"]
        return layout(sizes.get("chain", 1), draws, self.shape, memory)

    def _group(self, name: str) -> xr.Dataset:
        if name not in self.tree.children:
            have = ", ".join(self.tree.children) or "none"
            raise InputError(
                f"the ensemble has no group {name!r} (its groups: {have}): "
                "expected a file that `pyro-msm rollout` wrote"
            )
        return self.tree.children[name].to_dataset()

    def _variable(self, group: str, name: str) -> xr.DataArray:
        node = self._group(group)
        if name not in node.data_vars:
            have = ", ".join(map(str, node.data_vars)) or "none"
            raise InputError(
                f"the ensemble has no variable {name!r} in group {group!r} (it has: {have}): "
                "expected a file that `pyro-msm rollout` wrote"
            )
        return node[name]


def members_of(
    forecast: xr.DataArray, trajectory: int, times: slice, draws: slice = ALL, rows: slice = ALL
) -> np.ndarray:
    """(member, 1, time, …): members of one trajectory, whatever dimensions count them.

    Args:
        forecast: ([chain, draw | member], trajectory, time, channel, x[, y]).
        trajectory: its number.
        times: stored times.
        draws: members of each chain.
        rows: points of the first space axis.
    """
    ahead = [dim for dim in forecast.dims if dim in COUNTING]
    values = _cut(forecast, trajectory, times, rows, {ahead[-1]: draws} if ahead else {})
    return values.reshape(-1, *values.shape[len(ahead) :])


def _cut(
    array: xr.DataArray,
    trajectory: int,
    times: slice,
    rows: slice,
    draws: dict[Any, slice] | None = None,
) -> np.ndarray:
    """([chain, draw | member], 1, time, channel, x[, y]), read only as far as it is wanted."""
    dims = [dim for dim in array.dims if dim in COUNTING]
    rest: list[Any] = [dim for dim in array.dims if dim not in {*dims, "trajectory", "time"}]
    places: dict[Any, slice] = {"trajectory": slice(trajectory, trajectory + 1), "time": times}
    places |= dict.fromkeys(rest[1:2], rows)
    chosen = array.isel(places | (draws or {})).load()
    return np.asarray(chosen.transpose(*dims, "trajectory", "time", *rest).values)


def rows_of(values: np.ndarray, lead: int, rows: slice) -> np.ndarray:
    """A part of ``values`` (…, channel, x[, y]) with ``lead`` axes before the channel's."""
    return values[(*[ALL] * (lead + 1), rows)] if values.ndim > lead + 1 else values
