"""The report as a PDF: words and tables on A4, each figure with its caption on a page its size."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from pyro_msm.analysis.report_page import Drawing, Page, read_run
from pyro_msm.files import replacing

SIZE = (8.27, 11.69)  # A4, inches
LEFT, TOP, BOTTOM = 0.08, 0.95, 0.05
LINE = 0.0165
WRAP = 96
# Lines of a page, between top and bottom.
LINES = int((TOP - BOTTOM) / LINE)


def report_pdf(folder: Path | str) -> Path:
    """Writes ``report.pdf`` into a run folder: what ``report`` shows, for print.

    Raises:
        InputError: the folder holds no readable ensemble.
    """
    page = read_run(folder)
    path = Path(folder) / "report.pdf"
    with replacing(path) as temporary, PdfPages(temporary) as pdf:
        for sheet in _sheets(page):
            pdf.savefig(sheet)
    return path


def _sheets(page: Page) -> Iterator[Figure]:
    yield from _text_sheets(_opening(page), page.title)
    for heading, drawings in page.sections.items():
        for drawing in drawings:
            yield _with_caption(heading, drawing)
        lines: list[str] = []
        for table in page.section_tables.get(heading, []):
            lines += [table.title, *_columns([table.columns, *table.rows])]
            lines += [table.note, ""]
        if lines:
            yield from _text_sheets(lines, heading)
    cards = ["LATENT STATES", *_card(page.latents), ""] if page.latents else []
    cards += ["DATA", *_card(page.data_card), ""]
    if page.config:
        cards += ["CONFIGURATION", *page.config.splitlines(), ""]
    if page.environment:
        cards += ["VERSIONS", *_card(page.environment)]
    yield from _text_sheets(cards, "", family="monospace")


def _opening(page: Page) -> list[str]:
    lines = []
    result = page.result
    if result:
        lines += [
            f"{result['members']} members of “{result['model']}”, scored on the {result['split']} "
            "split.",
            "",
        ]
    said = page.summary or ["This run has not been scored: pyro-msm evaluate does it."]
    for sentence in said:
        lines += textwrap.wrap(sentence, WRAP, initial_indent="•  ", subsequent_indent="    ")
    if page.missing:
        lines += ["", "Not in this report:", *page.missing]
    for title, rows in page.tables.items():
        lines += ["", f"Scores, {title}:", *_columns([page.columns, *(row.cells for row in rows)])]
    if page.intervals and result:
        level = f"{100 * result['interval_method']['level']:.0f}"
        lines += ["", f"The model’s scores with {level} % intervals, by trajectory:"]
        lines += _card(page.intervals)
    return lines


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines whose columns stand under each other; marked for a fixed pitch."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "\t" + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows
    ]


def _card(entries: dict[str, str]) -> list[str]:
    width = max((len(name) for name in entries), default=0)
    return [f"\t{name.ljust(width)}  {value}" for name, value in entries.items()]


def _text_sheets(lines: list[str], title: str, family: str = "sans-serif") -> Iterator[Figure]:
    """Lines over as many pages as they need; a line that starts with a tab has a fixed pitch."""
    wrapped: list[str] = []
    for line in lines:
        fixed = line.startswith("\t")
        pieces = textwrap.wrap(line.strip("\t"), WRAP, drop_whitespace=False) or [""]
        wrapped += [("\t" if fixed else "") + piece for piece in pieces]
    room = LINES - (3 if title else 0)
    for start in range(0, max(1, len(wrapped)), room):
        sheet = Figure(figsize=SIZE)
        top = TOP
        if title:
            sheet.text(LEFT, top, title, fontsize=16, weight="bold", va="top")
            top -= 3 * LINE
        for number, line in enumerate(wrapped[start : start + room]):
            fixed = line.startswith("\t")
            sheet.text(
                LEFT,
                top - number * LINE,
                line.strip("\t").replace("$", r"\$"),
                fontsize=7.5 if fixed or family == "monospace" else 9,
                family="monospace" if fixed else family,
                va="top",
            )
        yield sheet


def _with_caption(heading: str, drawing: Drawing) -> Figure:
    """The figure itself, on a canvas of the page's width with heading and caption in its margins.

    The figure is laid out first and then left as it is; the texts are outside its layout.
    """
    figure = drawing.figure
    caption = textwrap.wrap(drawing.caption, 118)
    width, height = figure.get_size_inches()
    above, below = 0.7, 0.2 + 0.16 * len(caption)
    whole = height + above + below
    figure.set_size_inches(width, whole)
    layout = ConstrainedLayoutEngine(rect=(0.01, below / whole, 0.98, height / whole))
    figure.set_layout_engine(layout)
    texts = [
        figure.text(0.02, 1 - 0.15 / whole, heading, fontsize=9, color="0.35", va="top"),
        figure.text(0.02, 1 - 0.33 / whole, drawing.title, fontsize=12, weight="bold", va="top"),
        figure.text(
            0.02, (below - 0.1) / whole, "\n".join(caption), fontsize=8, color="0.2", va="top"
        ),
    ]
    for text in texts:
        text.set_in_layout(False)
    return figure
