"""The log of a run: records of numbers, one a line (JSONL), that survive a killed process."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from pyro_msm.files import replacing


class MetricsLog:
    """Appends records to a JSONL file, one a line, each written out at once.

    Args:
        path: the file.
        resume_step: the step of the checkpoint from which training goes on. Records of later steps
            (and a line cut short) are dropped, since those steps are taken again; None starts a new
            file.
        enabled: False writes nothing: another process does.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "metrics.jsonl"
        >>> with MetricsLog(path) as log:
        ...     log.write(step=50, loss=2.0)
        ...     log.write(step=100, loss=1.0)
        >>> with MetricsLog(path, resume_step=50) as log:
        ...     log.write(step=100, loss=1.5)
        >>> [record["loss"] for record in read_records(path)]
        [2.0, 1.5]
    """

    def __init__(
        self, path: Path | str, resume_step: int | None = None, enabled: bool = True
    ) -> None:
        self.path = Path(path)
        self._file: TextIO | None = None
        if not enabled:
            return
        kept = [] if resume_step is None else read_records(self.path)
        with replacing(self.path) as temporary, temporary.open("w", encoding="utf-8") as file:
            for record in kept:
                if record.get("step", 0) <= (resume_step or 0):
                    file.write(json.dumps(record) + "\n")
        self._file = self.path.open("a", encoding="utf-8")

    def write(self, **record: Any) -> None:
        """Appends one record; numbers and texts only."""
        if self._file is not None:
            self._file.write(json.dumps(record) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Closes the file; nothing is lost without it."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read_records(path: Path | str) -> list[dict[str, Any]]:
    """The records of a JSONL file up to a line that was cut short; none if there is no file."""
    path, records = Path(path), []
    if not path.exists():
        return []
    for line in path.read_text("utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records
