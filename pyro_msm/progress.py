"""A progress bar with rate and time left on a terminal, nothing elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

Update = Callable[..., None]


class RateColumn(ProgressColumn):
    """Units per second over the last half minute or so."""

    def render(self, task: Task) -> Text:
        """The rate as text, empty before it is known."""
        return Text(f"{task.speed:.3g}/s" if task.speed else "", style="progress.data.speed")


@contextmanager
def progress_bar(title: str, enabled: bool = True) -> Iterator[Update]:
    """Shows a bar on stderr; yields ``update(done, total, note="")``.

    Args:
        title: what is being done, in one or two words.
        enabled: False shows nothing; nor is anything shown where stderr is no terminal.

    Example:
        >>> with progress_bar("simulating", enabled=False) as update:
        ...     update(1, 10, "t=0.1")
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    shown = enabled and console.is_terminal
    with Progress(*columns, console=console, disable=not shown) as progress:
        task = progress.add_task(title, total=None, note="")

        def update(done: float, total: float, note: str = "") -> None:
            progress.update(task, completed=done, total=total, note=note)

        yield update
