"""A Zarr store that an ensemble is written to block by block, and when it counts as whole."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.errors import ZarrUserWarning

from pyro_msm.errors import InputError
from pyro_msm.files import replacing, write_text
from pyro_msm.forecasting.contract import Forecaster
from pyro_msm.forecasting.decoding import Array
from pyro_msm.forecasting.streaming import Block, Plan, Spec
from pyro_msm.records import read_records

JOURNAL = "rollout.jsonl"


def partial(path: Path) -> Path:
    """Where the blocks of the store ``path`` are until all are there."""
    return path.with_name(f"{path.stem}.partial{path.suffix}")


class Store:
    """An ensemble on its way into a Zarr store.

    Blocks go to ``ensemble.partial.zarr`` with a journal of those that are done; only the whole
    store gets its name. A rollout that was interrupted goes on where it stopped, if it is the same.

    Args:
        path: the store, ``….zarr``.
        force: replace the store that is there, and what is left of another interrupted rollout.

    Raises:
        InputError: it exists already.
    """

    def __init__(self, path: Path | str, force: bool = False) -> None:
        self.path = Path(path)
        if self.path.suffix != ".zarr":
            raise InputError(f"{path}: the name of a store must end in .zarr")
        if self.path.exists() and not force:
            raise InputError(f"{path} exists: replace it with --force (force=True)")
        self.partial = partial(self.path)
        self.journal = self.partial / JOURNAL
        self._force = force
        self._seconds = 0.0

    def begin(
        self, groups: Mapping[str, xr.Dataset], specs: Mapping[str, Spec], settings: dict[str, Any]
    ) -> dict[str, Array]:
        """The arrays to write to: new ones, or those of the interrupted rollout.

        Args:
            groups: what the store holds beside the arrays.
            specs: the arrays, by group and name.
            settings: of the rollout; one with others is not continued.

        Raises:
            InputError: an interrupted rollout with other settings is in the way, or the disk has
                no room.
        """
        settings = json.loads(json.dumps(settings))
        records = read_records(self.journal)
        other = [key for key in settings if records and records[0].get(key) != settings[key]]
        if other and not self._force:
            raise InputError(
                f"{self.partial} holds an interrupted rollout with another {other[0]}: finish that "
                "one with its settings, or start anew with --force (force=True)"
            )
        if other or not records:
            self._create(groups, specs)
            records = [settings]
        # A line that was cut short is dropped.
        write_text(self.journal, "".join(json.dumps(record) + "\n" for record in records))
        store = zarr.open_group(self.partial, mode="r+")
        return {name: store[name] for name in specs}

    def _create(self, groups: Mapping[str, xr.Dataset], specs: Mapping[str, Spec]) -> None:
        wanted = sum(spec.bytes for spec in specs.values())
        self.path.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.path.parent).free
        if wanted > free:
            raise InputError(
                f"the ensemble takes up to {wanted / 2**30:.1f} GiB and the disk of "
                f"{self.path.parent} has {free / 2**30:.1f} GiB left: choose fewer members or "
                "times, or --store latents, which keeps no fields"
            )
        tree = xr.DataTree.from_dict({f"/{name}": group for name, group in groups.items()})
        tree.to_zarr(self.partial, mode="w", zarr_format=2, consolidated=False)
        store = zarr.open_group(self.partial, mode="r+")
        for name, spec in specs.items():
            store.create_array(
                name, shape=spec.shape, chunks=spec.chunks, dtype=spec.dtype, fill_value=np.nan,
                attributes={"_ARRAY_DIMENSIONS": list(spec.dims)},
            )  # fmt: skip

    def done(self) -> set[tuple[str, Block]]:
        """The blocks that are there: which kind, and which one."""
        records = read_records(self.journal)[1:]
        self._seconds = sum(record["seconds"] for record in records)
        return {(record["kind"], tuple(record["block"])) for record in records}

    def note(self, kind: str, block: Sequence[int], seconds: float) -> None:
        """Writes down that a block is done, ``seconds`` after the one before it."""
        record = {"kind": kind, "block": list(block), "seconds": seconds}
        with self.journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        self._seconds += seconds

    def finish(self) -> None:
        """Gives the whole store its name, with the seconds that it took."""
        store = zarr.open_group(self.partial, mode="r+")
        store["constant_data"].attrs["seconds_rollout"] = self._seconds
        with warnings.catch_warnings():
            # That the journal is no part of the hierarchy.
            warnings.simplefilter("ignore", ZarrUserWarning)
            zarr.consolidate_metadata(self.partial, zarr_format=2)
        with replacing(self.path) as temporary:
            self.partial.rename(temporary)
        (self.path / JOURNAL).unlink()


def settings_of(plan: Plan, fields: bool) -> dict[str, Any]:
    """What makes two rollouts the same, to the last bit."""
    window = hashlib.blake2b(plan.times.tobytes(), digest_size=16)
    for name in sorted(plan.initial.data_vars, key=str):
        window.update(np.ascontiguousarray(plan.initial[name].values).tobytes())
    return {
        "members": plan.members,
        "seed": plan.root,
        "times": plan.stored.tolist(),
        "fields": fields,
        "weights": [weights(forecaster) for forecaster in plan.chains],
        "data": window.hexdigest(),
        "memory": plan.memory,
    }


def weights(forecaster: Forecaster) -> str:
    """A fingerprint of a fitted forecaster."""
    arrays, settings = forecaster.state()
    found = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=16)
    for name in sorted(arrays):
        found.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return found.hexdigest()
