"""``benchmark.md``: one table a system and split."""

from __future__ import annotations

from pyro_msm.benchmark.published import published
from pyro_msm.benchmark.records import Results
from pyro_msm.benchmark.rows import Record, Row, rows
from pyro_msm.benchmark.scoring import SPLITS
from pyro_msm.files import write_text

COLUMNS = (
    "model",
    "error",
    "over seeds",
    "error to clean",
    "CRPS",
    "CRPS, dressed",
    "spread–skill",
    "train [s]",
    "rollout [s]",
    "drift evaluations",
    "published error",
)
LEGEND = (
    "Error: ‖ensemble mean − y‖ / ‖y‖ against the noisy truth, mean ± standard deviation over "
    "times and trajectories; to clean: against the field without noise. Over seeds: their number, "
    "and the range of the error's mean from seed to seed. CRPS: with observation noise; of one "
    "member the mean absolute error; dressed: of such a forecast with the distribution of its "
    "validation errors around it. Spread–skill: 1 for an honest ensemble. Drift evaluations: "
    "for one path."
)
TITLES = {"test": "Test", "extrapolation": "Outside the training range"}


def write(results: Results) -> None:
    """Writes the table of all records."""
    write_text(results.table, markdown(results.records))


def markdown(records: list[Record]) -> str:
    """The tables of all systems that have records, in Markdown."""
    parts = ["# Benchmark", LEGEND]
    for system in dict.fromkeys(str(record["system"]) for record in records):
        preset = next(record["preset"] for record in records if record["system"] == system)
        parts.append(f"## {system}, preset {preset}")
        for split in SPLITS:
            found = rows(records, system, split)
            if found:
                parts += [f"### {TITLES[split]}", _table(found, split)]
                parts += ["\n".join(notes)] if (notes := _notes(found, system, split)) else []
    return "\n\n".join(parts) + "\n"


def _table(found: list[Row], split: str) -> str:
    # Nothing was published for other splits than the test split.
    columns = COLUMNS if split == "test" else COLUMNS[:-1]
    lines = [f"| {' | '.join(columns)} |", f"|---{'|---:' * (len(columns) - 1)}|"]
    lines += [f"| {' | '.join(_cells(row)[: len(columns)])} |" for row in found]
    return "\n".join(lines)


def _cells(row: Row) -> list[str]:
    evaluations = row.mean("drift_evaluations")
    return [
        f"**{row.name}**" if row.kind == "ours" else row.name,
        _error(row),
        _over_seeds(row),
        _number(row.mean("relative_error_clean")),
        _number(row.mean("crps")),
        _number(row.dressed),
        _number(row.mean("spread_skill")),
        _number(row.mean("train_seconds")),
        _number(row.mean("rollout_seconds")),
        "—" if evaluations is None else f"{evaluations:.0f}",
        published(row.system).text(row.model, row.micro),
    ]


def _error(row: Row) -> str:
    if row.diverged:
        text = f"diverged at t={min(row.diverged):.3g}"
        seeds = len(row.records)
        return text if seeds == 1 else f"{text} ({len(row.diverged)} of {seeds} seeds)"
    error, std = row.mean("relative_error"), row.mean("relative_error_std")
    if error is None:
        return "—"
    return f"{error:.4f}" if std is None else f"{error:.4f} ± {std:.4f}"


def _over_seeds(row: Row) -> str:
    values = row.values("relative_error")
    if row.kind != "ours" or not row.records:
        return "—"
    return "1" if len(row.records) == 1 else (
        f"{len(row.records)}: {min(values):.4f}–{max(values):.4f}" if values else "—"
    )  # fmt: skip


def _notes(found: list[Row], system: str, split: str) -> list[str]:
    """What must be said under a table, as a list."""
    lines = [f"- {row.name}: {note}" for row in found for note in row.notes]
    for row in found:
        own = [f"{key} {'/'.join(map(_number, values))}" for key, values in row.own.items()]
        lines += [f"- {row.name}: {', '.join(own)}"] if own else []
    known = published(system)
    if split == "test" and known.errors:
        differs = f"; {known.note}" if known.note else ""
        lines.append(f"- Published: {known.source}{differs}.")
    return lines


def _number(value: float | None) -> str:
    return "—" if value is None else f"{value:.3g}"
