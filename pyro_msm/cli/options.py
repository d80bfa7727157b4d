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
        "--model",
        help="multiscale, macro-only, led, slow-fast, persistence, mean-trajectory or regression.",
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
Store = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="[nc|zarr|latents]",
        help="nc: RUN/ensemble.nc, at one stroke. zarr: RUN/ensemble.zarr, piece by piece. "
        "latents: the same without fields, which are decoded when they are read. By default nc, "
        "and zarr where that takes more than --memory.",
        show_default=False,
    ),
]
Memory = Annotated[
    float,
    typer.Option("--memory", metavar="GIB", help="Memory to work with, in each process."),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        metavar="ADDRESS",
        help="Work on a Dask cluster: tcp://host:8786, or local:N for N processes here.",
        show_default=False,
    ),
]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
From = Annotated[
    Path | None,
    typer.Option(
        "--from",
        help="Start from the weights of this run, grown to model.micro; settings that are not "
        "given are its own.",
        show_default=False,
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue exactly where the run in --out stopped.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Results and errors only.")]
Hybrid = Annotated[
    bool, typer.Option("--hybrid", help="Let latent dynamics and the true solver take turns.")
]
Ratio = Annotated[
    float | None,
    typer.Option("--ratio", help="Latent time per solver time.", show_default=False),
]
ErrorBudget = Annotated[
    float | None,
    typer.Option(
        "--error-budget",
        help="Call the solver when the members' spread passes this share of the data's range.",
        show_default=False,
    ),
]
SolverTime = Annotated[
    float | None,
    typer.Option("--solver-time", help="Duration of a solver phase.", show_default=False),
]
