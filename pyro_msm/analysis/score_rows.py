"""The table of scores: the model, the baselines and the noise floor, best first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table

from pyro_msm.analysis.wording import how_many

COLUMNS = ("forecast", "error", "error to clean", "CRPS", "dressed", "spread–skill", "90 % band")
PARTICLE_COLUMNS = ("forecast", "Wasserstein", "M1 error", "M2 error")

#: What the columns say, for a reader who sees them for the first time.
MEANINGS = {
    "error": "size of (ensemble mean − truth) divided by the size of the truth, against noisy "
    "observations; mean ± standard deviation over times and trajectories. Smaller is better.",
    "error to clean": "the same against the truth without noise.",
    "CRPS": "error of the whole distribution, in the units of the data (fair continuous ranked "
    "probability score; of a single forecast, its mean absolute error). Smaller is better.",
    "dressed": "CRPS of a single forecast together with the distribution of its validation errors "
    "at each lead time: what it is worth as a probability.",
    "spread–skill": "spread of the members divided by the error of their mean. 1 is right, below 1 "
    "too narrow.",
    "90 % band": "share of the noisy truth inside the central 90 % band of the members with "
    "observation noise.",
    "Wasserstein": "mean distance between the sorted values of a component in a member and in the "
    "truth, averaged over members and components. Smaller is better.",
    "M1 error": "error of the mean over particles, averaged over the members first.",
    "M2 error": "the same of the variance over particles.",
}


@dataclass(frozen=True)
class Row:
    """One line of the table, its numbers as text. ``kind``: model, baseline or floor."""

    kind: str
    cells: tuple[str, ...]


def columns(result: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns of the table: those of values at points, or those of particles."""
    return PARTICLE_COLUMNS if result.get("particles") else COLUMNS


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
        lines.append(Row("floor", ("noise floor", error, "0", crps, "—", "—", "—")))
    return lines


def model_row(result: Mapping[str, Any], name: str) -> Row:
    """The model's own line, under another name."""
    return Row("model", _cells(name, result))


def table(result: Mapping[str, Any]) -> Table:
    """The same as a Rich table, ready to print."""
    split = result.get("split", "test")
    title = f"Scores on the {split} split ({how_many(result['trajectories'])})"
    drawn = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for number, name in enumerate(columns(result)):
        header = name.replace("error to ", "to\n").replace("–", "–\n").replace(" band", "\nband")
        drawn.add_column(header, justify="right" if number else "left", no_wrap=True)
    for row in rows(result):
        drawn.add_row(*row.cells, style={"model": "bold", "floor": "dim"}.get(row.kind))
    return drawn


def _cells(name: str, scored: Mapping[str, Any]) -> tuple[str, ...]:
    if particles := scored.get("particles"):
        found = [_number(particles[key]) for key in ("wasserstein", "m1_error", "m2_error")]
        return name, _divergence(scored) if found[0] == "—" else found[0], *found[1:]
    error = _error(scored["relative_error"])
    if scored["relative_error"]["mean"] is None:
        error = _divergence(scored)
    clean = scored.get("relative_error_clean")
    held = (scored.get("coverage") or {}).get("0.9", {}).get("observed")
    return (
        name,
        error,
        _number(clean["mean"]) if clean else "—",
        _number(scored["crps"]),
        _number(scored.get("crps_dressed")),
        _number(scored["spread_skill"]),
        "—" if held is None else f"{100 * held:.0f} %",
    )


def _divergence(scored: Mapping[str, Any]) -> str:
    """Instead of an error that is not known."""
    first = scored.get("diverged_first_at")
    if not scored.get("diverged"):
        return "—"
    return "diverged" if first is None else f"diverged at t={first:.3g}"


def leading(scored: Mapping[str, Any]) -> float | None:
    """The score by which forecasts are ordered: relative error, or the particles' distance."""
    particles = scored.get("particles")
    found = particles["wasserstein"] if particles else scored["relative_error"]["mean"]
    return None if found is None else float(found)


def _rank(scored: Mapping[str, Any]) -> float:
    mean = leading(scored)
    return float("inf") if mean is None else mean


def _error(error: Mapping[str, Any]) -> str:
    if error["mean"] is None:
        return "—"
    return f"{error['mean']:.4f} ± {error['std']:.4f}"


def _number(value: float | None) -> str:
    return "—" if value is None else f"{value:.3g}"
