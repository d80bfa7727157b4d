"""Records as rows of a table: those of one model from several seeds are one row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from pyro_msm.benchmark.plan import MULTISCALE, NOISE_FLOOR, OURS
from pyro_msm.benchmark.published import published

Record = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One model of one system on one split; ``records`` are those of its seeds, or none."""

    system: str
    model: str
    micro: int | None
    records: tuple[Record, ...]

    @property
    def name(self) -> str:
        """What the table calls it."""
        return f"multiscale, n_η = {self.micro}" if self.model == MULTISCALE else self.model

    @property
    def kind(self) -> str:
        """ours, baseline or floor."""
        if self.model in OURS:
            return "ours"
        return "floor" if self.model == NOISE_FLOOR else "baseline"

    def values(self, key: str) -> list[float]:
        """What is known of a score, one a seed."""
        return [record[key] for record in self.records if record[key] is not None]

    def mean(self, key: str) -> float | None:
        """Over the seeds; None unless all have it."""
        values = self.values(key)
        return fmean(values) if values and len(values) == len(self.records) else None

    @property
    def dressed(self) -> float | None:
        """The CRPS of a baseline dressed with its validation errors."""
        found = [crps for record in self.records if (crps := record.get("crps_dressed"))]
        return fmean(found) if found else None

    @property
    def diverged(self) -> list[float]:
        """Times of the first divergence, one for each seed with one."""
        return self.values("diverged_at")

    @property
    def notes(self) -> list[str]:
        """What the records say in words, each once."""
        return list(dict.fromkeys(r["note"] for r in self.records if r.get("note")))

    @property
    def own(self) -> dict[str, list[float]]:
        """The scores of its family, one value a seed."""
        found: dict[str, list[float]] = {}
        for record in self.records:
            for key, value in record.get("own", {}).items():
                found.setdefault(key, []).append(value)
        return found


def rows(records: Iterable[Record], system: str, split: str) -> list[Row]:
    """Our models by size, then baselines from best to worst, then the noise floor.

    On the test split, models of which only published numbers are known are rows too.
    """
    grouped: dict[tuple[str, int | None], list[Record]] = {}
    for record in records:
        if (record["system"], record["split"]) == (system, split):
            grouped.setdefault((record["model"], record["micro"]), []).append(record)
    if split == "test" and grouped:
        for key in published(system).errors:
            grouped.setdefault(key, [])
    found = [Row(system, *key, tuple(group)) for key, group in grouped.items()]
    return sorted(found, key=_place)


def _place(row: Row) -> tuple[int, float]:
    error = row.mean("relative_error")
    worst = float("inf") if error is None else error
    order = {"ours": 0, "baseline": 1, "floor": 2}[row.kind]
    if row.kind == "ours":
        return order, float("inf") if row.micro is None else float(row.micro)
    return order, worst
