"""Writing files so that a killed process never leaves half of one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """A temporary name beside ``path``, renamed to it at the end, deleted if anything fails.

    It may become a file or a folder.

    The suffix is kept, since writers choose the format by it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replacing(Path(folder) / "scores.json") as temporary:
        ...         _ = temporary.write_text("{}")
        ...     sorted(file.name for file in Path(folder).iterdir())
        ['scores.json']
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.partial{path.suffix}")
    aside = path.with_name(f".{path.stem}.old{path.suffix}")
    try:
        yield temporary
        if path.is_dir():  # a folder, such as a Zarr store, cannot be renamed over
            remove(aside)  # a killed process may have left one
            path.replace(aside)
        temporary.replace(path)
    finally:
        remove(temporary)
        remove(aside)


def remove(path: Path) -> None:
    """Deletes a file, or a folder with all that is in it; nothing if it is not there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Writes ``text`` to ``path`` at one stroke."""
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8")
