"""The report's section on recalibration after the fact."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from pyro_msm.analysis import plots
from pyro_msm.analysis.sections import Section, Table
from pyro_msm.analysis.wording import percent

COLUMNS = ("members", "CRPS", "spread–skill", "50 %", "80 %", "90 %", "95 %")


def post_hoc_sections(result: Mapping[str, Any]) -> list[Section]:
    """A figure and a table of raw and recalibrated members; none without ``recalibrated``."""
    found = result.get("recalibrated")
    if not found:
        return []
    rows = [_row(name, found[key]) for name, key in (("raw", "raw"), ("rescaled", "scaled"))]
    conformal = found["conformal"]
    if conformal:
        place = COLUMNS.index(f"{100 * conformal['level']:.0f} %")
        cells = ["—"] * len(COLUMNS)
        cells[0], cells[place] = "conformal band", _interval(conformal)
        rows.append(tuple(cells))
    reason = f" {_sentence(found['reason'])}" if found["reason"] else ""
    note = (
        f"Members with observation noise against the noisy truth, {found['members']} of them; "
        f"percentages are what bands of that level held. {_sentence(found['note'])}{reason}"
    )
    table = Table("Before and after", COLUMNS, rows, note)
    figure = ("Raw and recalibrated", partial(plots.recalibration, result))
    return [Section("After recalibration (post hoc)", [figure], [table], _sentences(found))]


def _row(name: str, scored: Mapping[str, Any]) -> tuple[str, ...]:
    held = [_percent(value) for value in scored["coverage"].values()]
    return name, _number(scored["crps"]), _number(scored["spread_skill"]), *held


def _interval(conformal: Mapping[str, Any]) -> str:
    bounds = conformal["interval"]
    if bounds is None or None in bounds:
        return _percent(conformal["coverage"])
    return f"{_percent(conformal['coverage'])} [{100 * bounds[0]:.0f}, {100 * bounds[1]:.0f}]"


def _sentences(found: Mapping[str, Any]) -> list[str]:
    raw, scaled = found["raw"]["crps"], found["scaled"]["crps"]
    if not raw or scaled is None:
        return []
    gain = 1 - scaled / raw
    if abs(gain) < 0.005:
        said = "would change its CRPS by less than 0.5\u00a0%"
    else:
        said = f"would {'lower' if gain > 0 else 'RAISE'} its CRPS by {_percent(abs(gain))}"
    text = f"Rescaling the spread after the fact, by factors from validation, {said}"
    conformal = found["conformal"]
    if not conformal or conformal["coverage"] is None or conformal["width"] is None:
        return [f"{text}."]
    return [
        f"{text}; a conformal {100 * conformal['level']:.0f}\u00a0% band, "
        f"{conformal['width']:.2g}× as wide as the raw one, held {_interval(conformal)}."
    ]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _number(value: float | None) -> str:
    return "—" if value is None else f"{value:.3g}"


def _percent(value: float | None) -> str:
    return "—" if value is None else percent(value)
