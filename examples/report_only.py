"""Only the report: three commands, and the five numbers to read first.

For whoever has data and wants to know how far a forecast of it can be trusted, without a line of
Python. The script runs what one would type,

    pyro-msm run kdv-1d --preset demo --out runs/kdv
    pyro-msm report runs/kdv --pdf
    pyro-msm compare runs/kdv runs/kdv-persistence

and then reads ``scores.json``. In place of ``kdv-1d`` stands the name of a data file of your own.
``docs/tutorials.md`` says how to read the page.
"""

import argparse
import json
import sys
from pathlib import Path

from pyro_msm.cli import app


def command(*words: object) -> None:
    """``pyro-msm`` with these words."""
    print("pyro-msm", *words)
    code = app([str(word) for word in words], standalone_mode=False)
    if code:
        sys.exit(code)


def read(scores: dict) -> list[str]:
    """The five numbers to read first."""
    error = scores["relative_error"]["mean"]
    floor = scores["noise_floor"]["relative_error"]["mean"]
    others = {name: other["relative_error"]["mean"] for name, other in scores["baselines"].items()}
    best = min(others, key=others.get)
    band, holds = scores["coverage"]["0.9"]["observed"], scores["band_holds"]
    until = holds and holds["until"]
    agrees = "nowhere" if until is None else f"up to lead time {until:.3g}"
    return [
        f"off by {error:.1%} on average; the noise alone makes {floor:.1%}",
        f"the best simple rule, {best}, is off by {others[best]:.1%}",
        f"the 90 % band held {band:.0%} of what was observed, and agrees with its level {agrees}",
        f"spread over error {scores['spread_skill']:.2f}: 1 is honest, less is overconfident",
        f"useful up to lead time {scores['valid_prediction_time']['mean']:.3g}",
    ]


def main(folder: Path, settings: tuple[str, ...] = ()) -> list[str]:
    """Runs the commands in ``folder``; returns what to read first."""
    run, simple = folder / "kdv", folder / "kdv-persistence"
    own = [word for text in settings for word in ("--set", text)]
    command("run", "kdv-1d", "--preset", "demo", "--out", run, *own)
    command("report", run, "--pdf")
    command("run", "kdv-1d", "--preset", "demo", "--model", "persistence", "--out", simple, *own)
    command("compare", run, simple)
    return read(json.loads((run / "scores.json").read_text("utf-8")))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the runs go")
    chosen = parser.parse_args()
    print(*main(chosen.folder), sep="\n")
    print(f"The page: {chosen.folder / 'kdv' / 'report.html'}")
