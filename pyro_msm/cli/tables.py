"""The tables that the command line prints."""

from __future__ import annotations

from typing import Any

from rich import box
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
    "Wasserstein distance of particles": ("particles", "wasserstein"),
    "diverged members": ("diverged",),
    "training [s]": ("seconds", "train"),
    "rollout [s]": ("seconds", "rollout"),
}


def systems_table() -> Table:
    """Two lines a system: its equation; its sizes and presets. Readable at 80 columns."""
    from pyro_msm.data import systems

    caption = "trajectories: training/validation/test; ±: standard deviation of the noise"
    table = Table(title="Systems that can be simulated", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.title_justify, table.caption, table.caption_justify = "left", caption, "left"
    table.add_column("system", no_wrap=True)
    table.add_column("equation; points, times, trajectories, noise, presets")
    for name in systems.names():
        system = systems.get(name)
        grid = "x".join(str(size) for size in system.shape)
        if system.variable == "path":
            grid = f"path of {', '.join(system.channels)}"
        sets = "/".join(str(count) for count in system.trajectories.values())
        if system.split_on == "time":
            sets = "one record"
        sizes = f"{grid}, {len(system.times)} times, {sets}, ±{system.noise_std:g}"
        table.add_row(name, f"{system.equation}\n{sizes}; {', '.join(presets(name))}")
    return table


def config_table(config: Config) -> Table:
    """One row a key: its value and its meaning."""
    table = Table(title="Configuration (change a key with --set KEY=VALUE)", title_justify="left")
    table.add_column("key", no_wrap=True)
    for heading in ("value", "meaning"):
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
