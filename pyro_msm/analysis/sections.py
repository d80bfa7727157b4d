"""What a section of the report is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        title: what stands above it.
        columns: headings, the first that of the row's name.
        rows: cells as text, as many as there are columns.
        note: a line below it.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Section:
    """Figures and tables under one heading, and what the summary says of them.

    Attributes:
        heading: the section's; sections of the same heading are joined.
        figures: title, and a function that draws the figure, whose label is its caption (see
            ``plots.style.finish``). It may raise ``InputError``: the page then says why it is not
            there.
        tables: they come after the figures.
        sentences: for the summary in plain words.
    """

    heading: str
    figures: Sequence[tuple[str, Callable[[], Figure]]] = ()
    tables: Sequence[Table] = ()
    sentences: Sequence[str] = ()
