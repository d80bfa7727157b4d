"""The run directory: each file of a run by name, who may overwrite it, when it may be resumed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Self

from pyro_msm.config import Config
from pyro_msm.environment import describe_environment
from pyro_msm.errors import InputError
from pyro_msm.files import write_text
from pyro_msm.records import read_records

#: Keys that may differ between a run and its resumption: they say where, how long and how often, or
#: come after training. Schedules follow single steps, so more of them only lengthen the run.
RESUMABLE = frozenset(
    {
        "device",
        "chains",
        "training.steps",
        "training.budget_seconds",
        "training.checkpoint_every",
        "training.log_every",
        "rollout.members",
        "rollout.times",
        "rollout.step",
        "hybrid.ratio",
        "hybrid.error_budget",
        "hybrid.long_time",
        "hybrid.solver_time",
    }
)


class RunDirectory:
    """The folder of one run; the attributes are the paths of its files, there or not yet.

    Args:
        path: the folder. ``create`` and ``open`` check it; the class itself does not.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.config_file = self.path / "config.toml"
        self.environment = self.path / "environment.json"
        self.data = self.path / "data.nc"
        self.metrics = self.path / "metrics.jsonl"
        self.checkpoints = self.path / "checkpoints"
        self.ensemble = self.path / "ensemble.nc"
        self.ensemble_store = self.path / "ensemble.zarr"
        self.unfinished_store = self.path / "ensemble.partial.zarr"
        self.scores = self.path / "scores.json"
        self.report = self.path / "report.html"

    def __repr__(self) -> str:
        return f"RunDirectory({str(self.path)!r})"

    @classmethod
    def create(cls, path: Path | str, config: Config, force: bool = False) -> Self:
        """A new run in ``path``; with ``force`` in place of the run that is there.

        Only files of a run are ever deleted, and only where ``config.toml`` shows that it is one.

        Raises:
            InputError: as ``check_free``, or the folder cannot be written.
        """
        run = cls(path)
        run.check_free(force)
        try:
            run._clear()
            run.checkpoints.mkdir(parents=True, exist_ok=True)
            config.save(run.config_file)
        except OSError as error:
            raise InputError(f"cannot write to {run.path}: {error.strerror}") from error
        return run

    def check_free(self, force: bool = False) -> None:
        """Checks that a new run may be made here.

        Raises:
            InputError: the folder holds a run and ``force`` is not given, or files of the same
                names that no run has written, or is a file.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path} is a file: a run needs a folder")
        if self.config_file.exists():
            if not force:
                raise InputError(
                    f"{self.path} holds another run: choose another folder, continue it with "
                    f"--resume, or replace it with --force"
                )
        elif found := [file.name for file in self._files() if file.exists()]:
            raise InputError(
                f"{self.path} is no run but holds {found[0]}, which a run would overwrite: "
                f"choose another folder"
            )

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """The run in ``path``; ``InputError`` if there is none."""
        run = cls(path)
        if not run.config_file.is_file():
            missing = (
                "there is no such folder" if not run.path.exists() else "it has no config.toml"
            )
            raise InputError(
                f"{run.path} holds no run ({missing}): make one with "
                f"`pyro-msm train SOURCE --out {run.path}`"
            )
        return run

    @property
    def config(self) -> Config:
        """The resolved configuration of the run."""
        return Config.load(self.config_file)

    @property
    def has_checkpoint(self) -> bool:
        """Whether training has saved anything."""
        return any(self.checkpoints.glob("*.safetensors"))

    def chain(self, index: int) -> RunDirectory:
        """The run of one of several independently trained models.

        The first chain is the run itself; chain ``i`` is a run of its own in ``chain-i``, with the
        seed ``seed + i``. The data and everything after training stay with the first.
        """
        return RunDirectory(self.path / f"chain-{index}") if index else RunDirectory(self.path)

    def chain_config(self, index: int) -> Config:
        """The configuration with which ``chain(index)`` is trained."""
        config = self.config
        update: dict[str, Any] = {"seed": config.seed + index, "chains": 1}
        if config.model.warm_start is not None:
            start = RunDirectory(config.model.warm_start).chain(index)
            update["model"] = config.model.model_copy(update={"warm_start": str(start.path)})
        return config.model_copy(update=update)

    def write_environment(self, device: str) -> None:
        """Writes ``environment.json``: versions, processor, threads, device, time."""
        write_text(self.environment, json.dumps(describe_environment(device), indent=2) + "\n")

    def training_seconds(self) -> float | None:
        """Seconds of training so far, as ``metrics.jsonl`` has them; None if it has none.

        Of a training that has ended they are all that it took, of one that was interrupted those
        of its steps.
        """
        seconds = [
            record["seconds"] for record in read_records(self.metrics) if "seconds" in record
        ]
        return max(seconds, default=None)

    def _files(self) -> list[Path]:
        known = [self.environment, self.data, self.metrics, self.ensemble, self.scores, self.report]
        extra = ("report.pdf", "animation.gif", "animation.mp4")
        known += [self.path / name for name in extra]
        return [*known, self.ensemble_store, self.unfinished_store, self.checkpoints]

    def _clear(self) -> None:
        """Deletes what a run writes, and nothing else; the mark of a run, its config, goes last."""
        if not self.config_file.exists():
            return
        for folder in self.path.glob("chain-*"):
            RunDirectory(folder)._clear()
        for pattern in ("*.safetensors", "*.json"):
            for file in self.checkpoints.glob(pattern):
                file.unlink()
        for file in [*self._files(), self.config_file]:
            if file.suffix == ".zarr":
                shutil.rmtree(file, ignore_errors=True)
            elif not file.is_dir():
                file.unlink(missing_ok=True)
        for folder in (self.checkpoints, self.path):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def check_same_config(saved: Config, wanted: Config, path: Path | str) -> None:
    """Raises ``InputError`` if the run in ``path`` cannot be continued under another configuration.

    Keys of ``RESUMABLE`` may differ; the first other key that does is named with both values.
    """
    old, new = saved.flat(), wanted.flat()
    for key, value in old.items():
        if key not in RESUMABLE and new[key] != value:
            raise InputError(
                f"cannot resume {path} with a different configuration: {key} was {value!r} "
                f"and is now {new[key]!r}; leave it as it was, or train in another folder"
            )


def check_warm_start(config: Config, path: Path | str) -> None:
    """Raises ``InputError`` if the run in ``path`` cannot start from ``model.warm_start``.

    Each chain starts from the chain of the same number; and a run in its own folder, or around it,
    would be replaced by the one that needs it.
    """
    if config.model.warm_start is None:
        return
    start = RunDirectory.open(config.model.warm_start)
    if start.path.is_relative_to(Path(path).resolve()):
        raise InputError(f"{start.path} cannot grow into its own folder: choose another --out")
    if config.chains > start.config.chains:
        raise InputError(
            f"{config.chains} chains cannot start from the {start.config.chains} of {start.path}: "
            f"give --chains {start.config.chains}, or train more chains there"
        )
