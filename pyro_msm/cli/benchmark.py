"""The command ``pyro-msm benchmark``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from pyro_msm.cli import options as opt
from pyro_msm.cli.shell import INTERRUPTED, set_up_logging, show
from pyro_msm.errors import InputError

LISTS = ("--models", "--seeds")


class WithLists(TyperCommand):
    """A command whose options in ``LISTS`` take all words up to the next option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeats the option's name before each of its words, which is what click reads."""
        words: list[str] = []
        option = None
        for word in args:
            if word in LISTS:
                option, first = word, True
            elif word.startswith("-"):
                option = None
            elif option is not None and not first:
                words.append(option)
            else:
                first = False
            words.append(word)
        return super().parse_args(ctx, words)


def benchmark(
    systems: Annotated[
        list[str] | None,
        typer.Argument(help="Names of systems, before any option; all of them by default."),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--models",
            metavar="NAME ...",
            help="multiscale, macro-only, led, slow-fast, baselines; by default all that suit.",
        ),
    ] = None,
    preset: Annotated[
        str,
        typer.Option("--preset", help="demo (n_eta 0 and 5, one seed) or paper (0 to 5, 3 seeds)."),
    ] = "demo",
    seeds: Annotated[
        list[int] | None,
        typer.Option(
            "--seeds", metavar="N ...", help="Seeds of training; a single N stands for 0 to N-1."
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="The results folder.")] = Path("results"),
    overrides: opt.Set = None,
    force: Annotated[
        bool, typer.Option("--force", help="Compute again what is asked for, and replace it.")
    ] = False,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            min=1,
            help="Systems that are computed side by side; by default one a core without a GPU.",
        ),
    ] = None,
    quiet: opt.Quiet = False,
) -> None:
    """Puts our models, every baseline and the published numbers into one table.

    Writes benchmark.json, benchmark.md and error_vs_micro.png. What stands there already is not
    computed again: the same command goes on after Ctrl-C.

    Examples:

    - `pyro-msm benchmark`
    - `pyro-msm benchmark kdv-1d wave-1d --models multiscale dmd --preset paper --out results`
    """
    from pyro_msm.benchmark import run
    from pyro_msm.benchmark.workers import available_cores
    from pyro_msm.environment import available_device

    set_up_logging(quiet)
    try:
        results = run(
            systems,
            models=models,
            preset=preset,
            seeds=_roots(seeds),
            out=out,
            overrides=overrides or [],
            force=force,
            progress=not quiet,
            processes=processes or (available_cores() if available_device("auto") == "cpu" else 1),
        )
    except KeyboardInterrupt:
        typer.echo(f"Interrupted; {out} keeps what is done. The same command goes on.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    for file in (results.file, results.table, results.figure):
        if file.exists():
            show(str(file))


def _roots(seeds: list[int] | None) -> list[int] | None:
    """Seeds as given; one number stands for that many."""
    if seeds is None or len(seeds) != 1:
        return seeds
    if seeds[0] < 1:
        raise InputError(f"--seeds {seeds[0]}: a single number counts seeds, so it is 1 or more")
    return list(range(seeds[0]))
