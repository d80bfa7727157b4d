"""The table of scores: the model, the baselines and the noise floor, best first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table

COLUMNS = (
    "forecast",
    "error",
    "error to clean",
    "CRPS",
    "spread–skill",
    "90 % band",
)


@dataclass(frozen=True)
class Row:
    """One line of the table, its numbers as text. ``kind``: model, baseline or floor."""

    kind: str
    cells: tuple[str, ...]


def rows(result: Mapping[str, Any]) -> list[Row]:
    """The model first, then the baselines from the best to the worst, then the noise floor.

    Args:
        result: what ``evaluate`` returned, or one of its ``splits``.
    """
    baselines = sorted(result.get("baselines", {}).items(), key=lambda item: _rank(item[1]))
    lines = [Row("model", _cells(result.get("model", "model"), result))]
    lines += [Row("baseline", _cells(name, scored)) for name, scored in baselines]
    floor = result.get("noise_floor")
    if floor:
        error = _error(floor["relative_error"])
        crps = _number(floor["crps"])
        lines.append(Row("floor", ("noise floor", error, "0", crps, "—", "—")))
    return lines


def model_row(result: Mapping[str, Any], name: str) -> Row:
    """The model's own line, under another name."""
    return Row("model", _cells(name, result))


def table(result: Mapping[str, Any]) -> Table:
    """The same as a Rich table, ready to print."""
    split = result.get("split", "test")
    title = f"Scores on the {split} split ({result['trajectories']} trajectories)"
    drawn = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for number, name in enumerate(COLUMNS):
        header = name.replace("error to ", "to\n").replace("–", "–\n").replace(" band", "\nband")
        drawn.add_column(header, justify="right" if number else "left", no_wrap=True)
    for row in rows(result):
        drawn.add_row(*row.cells, style={"model": "bold", "floor": "dim"}.get(row.kind))
    return drawn


def _cells(name: str, scored: Mapping[str, Any]) -> tuple[str, ...]:
    error = _error(scored["relative_error"])
    if scored["relative_error"]["mean"] is None and scored.get("diverged"):
        first = scored.get("diverged_first_at")
        error = "diverged" if first is None else f"diverged at t={first:.3g}"
    clean = scored.get("relative_error_clean")
    held = (scored.get("coverage") or {}).get("0.9", {}).get("observed")
    return (
        name,
        error,
        _number(clean["mean"]) if clean else "—",
        _number(scored["crps"]),
        _number(scored["spread_skill"]),
        "—" if held is None else f"{100 * held:.0f} %",
    )


def _rank(scored: Mapping[str, Any]) -> float:
    mean = scored["relative_error"]["mean"]
    return float("inf") if mean is None else float(mean)


def _error(error: Mapping[str, Any]) -> str:
    if error["mean"] is None:
        return "—"
    return f"{error['mean']:.4f} ± {error['std']:.4f}"


def _number(value: float | None) -> str:
    return "—" if value is None else f"{value:.3g}"
