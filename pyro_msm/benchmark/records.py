"""The results folder: records that are kept at once, and resumed only by those who wrote them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pyro_msm
from pyro_msm.benchmark.plan import Job
from pyro_msm.errors import InputError
from pyro_msm.files import write_text
from pyro_msm.runs import RunDirectory

Record = dict[str, Any]

#: Keys of every record, null where not known or not applicable.
KEYS = (
    "system",
    "preset",
    "model",
    "micro",
    "seed",
    "split",
    "relative_error",
    "relative_error_std",
    "relative_error_clean",
    "crps",
    "spread_skill",
    "train_seconds",
    "rollout_seconds",
    "drift_evaluations",
    "diverged_at",
    "published",
)
#: ``own`` holds the scores that a family has for itself (``drift_error``, ``mnad``, …).
OPTIONAL = ("note", "intervals", "own", "crps_dressed")


class Results:
    """A results folder: ``benchmark.json`` and what is made from it.

    ``settings.json`` beside it says which version, preset and ``--set`` wrote the records. Trained
    models stand in ``runs``, so an interrupted training goes on too.

    Args:
        folder: made by ``open``.
        settings: as in ``settings.json``.
    """

    def __init__(self, folder: Path | str, settings: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        self.settings = dict(settings)
        self.file = self.folder / "benchmark.json"
        self.settings_file = self.folder / "settings.json"
        self.environment = self.folder / "environment.json"
        self.table = self.folder / "benchmark.md"
        self.figure = self.folder / "error_vs_micro.png"
        self.runs = self.folder / "runs"
        self.records: list[Record] = []

    @classmethod
    def open(
        cls, folder: Path | str, preset: str, overrides: Sequence[str] = (), force: bool = False
    ) -> Self:
        """The folder, made if there is none; its records are kept.

        Args:
            folder: where it is.
            preset: of the benchmark.
            overrides: texts of ``--set``.
            force: a folder of another version, preset or ``--set`` loses all its records.

        Raises:
            InputError: a file, records that the benchmark did not write, or, without ``force``,
                records of another version, preset or ``--set``.
        """
        results = cls(folder, settings_of(preset, overrides))
        if results.folder.exists() and not results.folder.is_dir():
            raise InputError(f"{folder} is a file: results need a folder")
        written = _json(results.settings_file)
        if written is None and results.file.exists():
            raise InputError(
                f"{folder} holds a benchmark.json but no settings.json, so pyro-msm benchmark did "
                "not write it: choose another folder with --out"
            )
        if written is not None:
            differing = _difference(written, results.settings, results.settings_file)
            if differing and not force:
                raise InputError(
                    f"{folder} holds results {differing}: choose another folder with --out, or "
                    "replace all its records with --force"
                )
            if differing:
                shutil.rmtree(results.runs, ignore_errors=True)
                results._write()
            else:
                results.records = _checked(_json(results.file), results.file)
        try:
            results.folder.mkdir(parents=True, exist_ok=True)
            write_text(results.settings_file, json.dumps(results.settings, indent=2) + "\n")
            if not results.file.exists():
                results._write()
        except OSError as error:
            raise InputError(f"cannot write to {folder}: {error.strerror}") from error
        return results

    def has(self, job: Job) -> bool:
        """Whether the job is done: its records of all splits are written at one stroke."""
        return any(_of(job, record) for record in self.records)

    def add(self, records: Iterable[Record]) -> None:
        """Keeps records, in the file when this returns."""
        self.records += [_ordered(record) for record in records]
        self._write()

    def forget(self, jobs: Iterable[Job]) -> None:
        """Drops the records of these jobs."""
        dropped = list(jobs)
        self.records = [
            record for record in self.records if not any(_of(job, record) for job in dropped)
        ]
        self._write()

    def run_of(self, job: Job) -> RunDirectory:
        """The folder of a trained model; it need not exist."""
        kind = job.model if job.micro is None else f"micro-{job.micro}"
        name = f"{kind}-seed-{job.seed}"
        return RunDirectory(self.runs / job.system / name)

    def _write(self) -> None:
        write_text(self.file, json.dumps(self.records, indent=2, allow_nan=False) + "\n")


def settings_of(preset: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """What records must share to stand in one table; of two overrides of a key the last counts."""
    parts = [text.partition("=") for text in overrides]
    last = {key.strip(): value.strip() for key, _, value in parts}
    return {"version": pyro_msm.__version__, "preset": preset, "set": dict(sorted(last.items()))}


def _difference(written: Any, wanted: Mapping[str, Any], file: Path) -> str | None:
    """In which way a folder belongs to another benchmark; None if it is this one."""
    if not isinstance(written, dict) or set(written) != set(wanted):
        raise InputError(f"{file} was not written by pyro-msm benchmark: choose another --out")
    if written["version"] != wanted["version"]:
        return f"of pyro_msm {written['version']}, and this is {wanted['version']}"
    if written["preset"] != wanted["preset"]:
        return f"of preset {written['preset']}, not {wanted['preset']}"
    if written["set"] != wanted["set"]:
        return f"computed with --set {_listed(written['set'])}, not {_listed(wanted['set'])}"
    return None


def _listed(settings: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in settings.items()) or "nothing"


def _checked(found: Any, file: Path) -> list[Record]:
    """The records of the file, none if there is no file.

    Raises:
        InputError: anything else than a list of records.
    """
    if found is None:
        return []
    whole = isinstance(found, list) and all(
        isinstance(record, dict) and set(KEYS) <= set(record) <= {*KEYS, *OPTIONAL}
        for record in found
    )
    if not whole:
        raise InputError(f"{file} holds no benchmark records: choose another folder with --out")
    return list(found)


def _ordered(record: Record) -> Record:
    kept = {key: record.get(key) for key in KEYS}
    return kept | {key: record[key] for key in OPTIONAL if record.get(key)}


def _of(job: Job, record: Record) -> bool:
    key = (record["system"], record["model"], record["micro"], record["seed"])
    return key == (job.system, job.model, job.micro, job.seed)


def _json(path: Path) -> Any:
    """What a JSON file holds; None if there is none.

    Raises:
        InputError: it cannot be read.
    """
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read ({error}): mend it, or choose another folder with --out"
        ) from error
