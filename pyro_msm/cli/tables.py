"""The tables that the command line prints."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from pyro_msm.config import Config, describe
from pyro_msm.presets import presets

#: The rows of a comparison: where in scores.json they stand.
SCORES = {
    "relative error": ("relative_error", "mean"),
    "  its standard deviation": ("relative_error", "std"),
    "relative error, clean field": ("relative_error_clean", "mean"),
    "CRPS": ("crps",),
    "spread/skill (target 1)": ("spread_skill",),
    "coverage of the 90 % band": ("coverage", "0.9", "observed"),
    "diverged members": ("diverged",),
    "training [s]": ("seconds", "train"),
    "rollout [s]": ("seconds", "rollout"),
}


def systems_table() -> Table:
    """One row a system: its equation, sizes and presets."""
    from pyro_msm.data import systems

    caption = "sets: published training/validation/test trajectories"
    table = Table(title="Systems that can be simulated", caption=caption, title_justify="left")
    table.add_column("system", no_wrap=True)
    table.add_column("equation", overflow="fold")
    for heading in ("points", "times", "sets", "noise", "presets"):
        table.add_column(heading)
    for name in systems.names():
        system = systems.get(name)
        grid = "x".join(str(len(points)) for points in system.grid().values())
        published = "/".join(str(count) for count in system.trajectories.values())
        table.add_row(
            name,
            system.equation,
            grid,
            str(len(system.times)),
            published,
            f"{system.noise_std:g}",
            ", ".join(presets(name)),
        )
    return table


def config_table(config: Config) -> Table:
    """One row a key: its value and its meaning."""
    table = Table(title="Configuration (change a key with --set KEY=VALUE)", title_justify="left")
    for heading in ("key", "value", "meaning"):
        table.add_column(heading, overflow="fold")
    values = config.flat()
    for key, _, meaning in describe():
        value = values[key]
        table.add_row(key, "none" if value is None else str(value), meaning)
    return table


def comparison_table(scores: dict[str, dict[str, Any]]) -> Table:
    """One row a score, one column a run; what a run lacks is a dash."""
    table = Table(title="Scores on the test split", title_justify="left")
    table.add_column("score", no_wrap=True)
    for run in scores:
        table.add_column(run, justify="right", overflow="fold")
    for heading, path in SCORES.items():
        table.add_row(heading, *(_number(found, path) for found in scores.values()))
    return table


def _number(scores: dict[str, Any], path: tuple[str, ...]) -> str:
    value: Any = scores
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return f"{value:.4g}" if isinstance(value, (int, float)) else "–"
