"""What ``test_distributed.py`` lets ``torchrun`` start: tiny trainings, in as many processes.

Each process writes what it has seen to FOLDER/process-RANK.json.
"""

from __future__ import annotations

import json
import math
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from pyro_msm.cli import app
from pyro_msm.config import TrainingConfig
from pyro_msm.errors import InputError
from pyro_msm.forecasting.bayesian import with_random_weights
from pyro_msm.inference import Processes, Trainer, process_group
from tests.small_fields import model_and_guide, training_windows, travelling_waves, with_mask

DATA = with_mask(travelling_waves())
WINDOWS = training_windows(DATA)
SETTINGS = [
    word
    for text in (
        "model.macro=10", "model.micro=1", "model.hidden=8", "model.drift_hidden=8",
        "training.steps=4", "training.window_length=6", "training.validate_every=2",
        "training.log_every=1", "training.calibrate=false",
    )
    for word in ("--set", text)
]  # fmt: skip


def trainer(
    folder: Path | None = None, steps: int = 6, bayesian: bool = False, **settings: Any
) -> Trainer:
    usual = {
        "windows": 4, "window_length": 6, "ramp_steps": 5, "validate_every": 4, "points": 30,
        "checkpoint_every": 3, "log_every": 1, "quadrature": 2,
    }  # fmt: skip
    pair = model_and_guide(DATA)
    if bayesian:
        pair = with_random_weights(*pair, "normal", 1.0)
    made = Trainer(
        *pair, WINDOWS, TrainingConfig(steps=steps, **(usual | settings)),
        folder=folder,
    )  # fmt: skip
    made.validate = lambda: 1 / made.state.step + float(torch.rand(()))
    return made


def losses(made: Trainer) -> list[float]:
    return [record["loss"] for record in made.history if "loss" in record]


class Interfering(torch.nn.Module):
    """A loss that, in one process and at one call, is infinite or presses Ctrl-C."""

    def __init__(self, made: Trainer, call: int, what: str) -> None:
        super().__init__()
        self.inner, self.call, self.what, self.count = made.loss, call, what, 0

    def forward(self, batch: Any) -> Any:
        self.count += 1
        loss = self.inner(batch)
        if self.count == self.call and Processes().rank == 1:
            if self.what == "ctrl-c":
                signal.raise_signal(signal.SIGINT)
            else:
                loss = loss + math.inf
        return loss


def interfered(folder: Path, what: str) -> Trainer:
    made = trainer(folder, steps=8)
    module = made.loss
    made.loss = Interfering(made, 5, what)
    # Checkpoints are those of the loss itself.
    made.loss.state_dict = module.state_dict  # type: ignore[method-assign]
    return made


def weights(made: Trainer) -> list[float]:
    return [float(p.detach().double().square().sum()) for p in made.state.parameters]


def command(*arguments: Any) -> int:
    """Exit code of ``pyro-msm``."""
    try:
        app([*map(str, arguments), *SETTINGS])
    except SystemExit as left:
        return int(left.code or 0)
    return 0


def gloo_threads() -> int:
    """Threads of this process that carry messages, where the system tells (Linux)."""
    names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
    return sum("gloo" in name for name in names)


def main(folder: Path) -> None:
    with process_group() as processes:
        whole = trainer(folder / "whole")
        whole.run()
        seen = {"losses": losses(whole), "weights": weights(whole), "error": whole.state.best_error}
        seen["seconds"] = whole.state.seconds

        resumed = trainer(folder / "resumed")
        resumed.run(resume=True)
        seen["resumed"] = losses(resumed)

        random = trainer(steps=3, bayesian=True)
        random.run()
        seen["random weights"] = losses(random)

        infinite = interfered(folder / "infinite", "inf")
        infinite.run()
        seen["recoveries"] = infinite.state.recoveries

        pressed = interfered(folder / "pressed", "ctrl-c")
        try:
            pressed.run()
        except KeyboardInterrupt:
            seen["interrupted"] = pressed.state.step

        try:
            trainer(windows=5)
        except InputError as error:
            seen["odd"] = str(error)
        try:
            processes.by_leader(lambda: [][0])
        except (IndexError, SystemExit) as error:
            seen["failure"] = type(error).__name__
        seen["train"] = command("train", folder / "data.nc", "--out", folder / "run")
        seen["odd train"] = command("train", folder / "data.nc", "--out", folder / "odd", "--set",
                                    "training.windows=5")  # fmt: skip
        seen["threads"] = [gloo_threads()]
    seen["threads"].append(gloo_threads())
    (folder / f"process-{processes.rank}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
