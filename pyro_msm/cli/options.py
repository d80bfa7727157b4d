"""The arguments and options that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Source = Annotated[
    str,
    typer.Argument(help="A system's name (see `pyro-msm systems`) or a data file (.nc, .zarr)."),
]
Run = Annotated[Path, typer.Argument(help="The folder of a run.")]
Out = Annotated[Path, typer.Option("--out", help="The folder of the run.", show_default=False)]
File = Annotated[
    Path, typer.Option("--output", "-o", help="The file: .nc or .zarr.", show_default=False)
]
Preset = Annotated[
    str | None,
    typer.Option("--preset", help="demo (minutes) or paper (the published sizes; the default)."),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model", help="multiscale, macro-only, persistence, mean-trajectory or regression."
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any configuration key, as training.steps=2000; repeatable.",
    ),
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="A TOML file with the sections of config.toml.")
]
Seed = Annotated[int | None, typer.Option("--seed", help="Root of all random streams.")]
Chains = Annotated[
    int | None, typer.Option("--chains", help="Independently trained models, for their spread.")
]
Members = Annotated[
    int | None, typer.Option("--members", help="Ensemble members per chain (79 by default).")
]
Times = Annotated[
    int | None, typer.Option("--times", help="Times at which the field is stored, at most.")
]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue exactly where the run in --out stopped.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Results and errors only.")]
