"""Averaged slow–fast dynamics as a forecaster: training, coefficients with bands, paths."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from pyro_msm import data as datasets
from pyro_msm.config import Config, SlowFastConfig, TrainingConfig
from pyro_msm.data.increments import Increments
from pyro_msm.environment import one_thread
from pyro_msm.errors import InputError
from pyro_msm.forecasting.contract import Forecaster, Randomness, root_entropy
from pyro_msm.forecasting.slow_fast.coupling import Reference, chosen_reference, coupling_of
from pyro_msm.forecasting.slow_fast.effective import MARGIN, NODES, Table, coefficients
from pyro_msm.forecasting.slow_fast.record import Record, check_path, held_out
from pyro_msm.forecasting.slow_fast.training import (
    PathTrainer,
    effective_parameters,
    most_probable,
    restrict,
)
from pyro_msm.forecasting.streams import INITIAL, Streams
from pyro_msm.guides.subspace import SubspaceGuide
from pyro_msm.inference import load_checkpoint, restore_into
from pyro_msm.models.slow_fast import AveragedSDE
from pyro_msm.nn.coupling import Coupling
from pyro_msm.progress import progress_bar
from pyro_msm.records import MetricsLog

logger = logging.getLogger("pyro_msm")

#: Different posterior draws that the members of an ensemble share.
DRAWS = 40

#: Base points of a table with several fast components.
TABLE_POINTS = 64


class SlowFastForecaster(Forecaster):
    """Forecasts a slow variable by its averaged SDE, with a posterior over its coefficients.

    Args:
        settings: the ``slow_fast`` section of a configuration.
        training: the ``training`` section.
        step: largest step in time of a forecast; None takes the data's.
        coupling: b and σ, where no name leads to them; such a model cannot be loaded from a run.
    """

    name = "slow-fast"
    stochastic = True
    label = "slow-fast"

    def __init__(
        self,
        settings: SlowFastConfig | None = None,
        training: TrainingConfig | None = None,
        step: float | None = None,
        coupling: Coupling | None = None,
    ) -> None:
        self.settings = settings or SlowFastConfig()
        self.training = training or TrainingConfig()
        self.step = step or 0.0
        self._given = coupling
        self.reference: Reference | None = None
        self.duration = 0.0
        self.range: list[list[float]] = []
        self.model: AveragedSDE
        self.guide: SubspaceGuide

    @classmethod
    def of_config(cls, config: Config) -> Self:
        """The untrained forecaster that a configuration describes."""
        return cls(config.slow_fast, config.training, config.rollout.step)

    # --- training --------------------------------------------------------------------------------

    def check(self, data: xr.Dataset) -> None:
        """Checks that a model can be trained on ``data``, without doing so.

        Raises:
            InputError: no path, or one with gaps or too wide steps; no coupling, or one that does
                not fit.
        """
        train = datasets.select(data, "train")
        check_path(train, self._coupling(data).slow)
        if train.sizes["component"] not in NODES:
            raise InputError(
                f"forecasts are made for up to {max(NODES)} slow components, and the path has "
                f"{train.sizes['component']}"
            )

    def fit(
        self,
        data: xr.Dataset,
        *,
        run: Any = None,
        resume: bool = False,
        seed: int = 0,
        device: str = "auto",
        progress: bool = False,
    ) -> Self:
        """Learns the law of the fast variable and its posterior.

        Args:
            data: a validated dataset with a ``path`` and a ``train`` split; with a ``validation``
                split the moment penalty is chosen there, else on segments held out of the path.
            run: a run directory for checkpoints and metrics; None keeps neither.
            resume: go on from the run's last checkpoint.
            seed: root of the initial weights and of all draws.
            device: the model is small: it is trained on the CPU, whatever is asked for.
            progress: show a progress bar.
        """
        self.check(data)
        header = None
        if resume:
            header = load_checkpoint(run.checkpoints / "last.safetensors", "training")[1]
        step = None if header is None else header["counters"]["step"]
        with one_thread(), progress_bar("training", enabled=progress) as update:
            record = self._prepare(data, seed, header, update)
            if run is None:
                self._train(record, seed, None, False, lambda **_: None, update)
                return self
            with MetricsLog(run.metrics, step) as log:
                self._train(record, seed, run.checkpoints, resume, log.write, update)
        return self

    def _prepare(
        self,
        data: xr.Dataset,
        seed: int,
        header: dict[str, Any] | None,
        update: Callable[..., None],
    ) -> Record:
        """Builds model and guide and the record to train on; a header replaces the warm start."""
        train = Increments.of(datasets.select(data, "train"))
        steps = np.diff(np.asarray(data["time"].values, float))
        self.step = self.step or float(np.median(steps))
        self.duration = float(train.duration.sum())
        self.range = [train.place.min(0).values.tolist(), train.place.max(0).values.tolist()]
        coupling = self._coupling(data)
        s = self.settings
        record = Record.of(train, s.cells, s.samples, coupling.fast)
        if header is not None:
            self._build(coupling, header)
            return record
        self.model = self._new_model(coupling, train)
        fitted, judges = self._validation(data, record, coupling)
        start = most_probable(self.model, fitted, judges, s, seed, update)
        restrict(self.model, record, start, s)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.guide = SubspaceGuide(len(self.model.unit), s.posterior)
        return record

    def _validation(
        self, data: xr.Dataset, record: Record, coupling: Coupling
    ) -> tuple[Record, Increments]:
        """What the penalty is fitted on, and the cells that judge it."""
        s = self.settings
        try:
            judged, fitted = Increments.of(datasets.select(data, "validation")), record
        except InputError:
            inside, judged = held_out(record.increments)
            fitted = Record.of(inside, s.cells, s.samples, coupling.fast)
        return fitted, Record.of(judged, s.cells, s.samples, coupling.fast).cells

    def _train(
        self,
        record: Record,
        seed: int,
        folder: Path | None,
        resume: bool,
        log: Callable[..., None],
        update: Callable[..., None],
    ) -> None:
        trainer = PathTrainer(
            self.model, self.guide, record,  # type: ignore[arg-type]
            self.training, seed=seed, folder=folder, log=log, progress=update,
            header=self._header(), increments=self.settings.increments,
        )  # fmt: skip
        trainer.run(resume)
        self.__dict__.pop("_table", None)

    def _coupling(self, data: xr.Dataset) -> Coupling:
        if self._given is not None:
            return self._given
        self.reference = chosen_reference(self.settings.coupling, data)
        return coupling_of(self.reference, self.settings.dispersion == "learned")

    def _new_model(self, coupling: Coupling, train: Increments) -> AveragedSDE:
        variation = train.spread.sum(0) / train.count.sum()
        return self._model(
            coupling, train.place.mean(0), train.place.std(0), torch.linalg.cholesky(variation)
        )

    def _model(
        self, coupling: Coupling, centre: Tensor, width: Tensor, noise: Tensor
    ) -> AveragedSDE:
        s = self.settings
        return AveragedSDE(
            coupling, centre, width, conditional=s.conditional, bins=s.bins, hidden=s.hidden,
            power=s.power,
            linear=s.posterior != "flow", noise=noise,
        )  # fmt: skip

    # --- effective coefficients ------------------------------------------------------------------

    def drift(self, x: np.ndarray) -> np.ndarray:
        """b̄ at x (n, d) → (n, d), the mean over the posterior."""
        return self._mean(x)[0]

    def diffusion(self, x: np.ndarray) -> np.ndarray:
        """Σ̄ at x (n, d) → (n, d, d), the mean over the posterior."""
        return self._mean(x)[1]

    def _mean(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.model.linear:  # the coefficients of the mean are the mean of the coefficients
            with torch.no_grad():
                middle = self.guide.push(self.model.unit.new_zeros(self.guide.rank))
            return coefficients(self.model, middle, x)
        drift, diffusion = self.draws(x)
        return drift.mean(0), diffusion.mean(0)

    def drift_draws(self, x: np.ndarray) -> np.ndarray:
        """Posterior draws of b̄ at x (n, d) → (draws, n, d)."""
        return self.draws(x)[0]

    def draws(self, x: np.ndarray, count: int = DRAWS) -> tuple[np.ndarray, np.ndarray]:
        """Posterior draws of b̄ (count, n, d) and of Σ̄ (count, n, d, d) at x (n, d)."""
        found = [coefficients(self.model, c, x) for c in self._coordinates(0, count)]
        drift, diffusion = zip(*found, strict=True)
        return np.stack(drift), np.stack(diffusion)

    def fast_law(self, x: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
        """Draws of the fast variable at x (n, d), posterior-predictive: (count, n, fast)."""
        generator = torch.Generator().manual_seed(seed)
        fast = self.model.coupling.fast
        place = torch.as_tensor(np.asarray(x, float))
        found = []
        with torch.no_grad():
            for c in self._coordinates(seed, count):
                z = torch.randn(1, 1, fast, generator=generator, dtype=torch.float64)
                y = self.model.fast_values(self.model.weights(c), place, z)
                found.append(y.expand(len(place), 1, fast)[:, 0])
        return torch.stack(found).numpy()

    @property
    def effective_parameters(self) -> float:
        """How many parameters the path has told."""
        return effective_parameters(self.model)

    def _coordinates(self, root: int, count: int) -> Tensor:
        streams = Streams(root, range(count), range(1))
        noise = streams.normal(0, 1, self.guide.rank, INITIAL)[0, :, 0]
        with torch.no_grad():
            return self.guide.push(torch.tensor(noise, dtype=torch.float64))

    @cached_property
    def _table(self) -> Table:
        low, high = map(np.asarray, self.range)
        margin = MARGIN * (high - low)
        drawn = self._coordinates(0, 1 if self.guide.kind == "map" else DRAWS)
        points = None if self.model.coupling.fast == 1 else TABLE_POINTS

        def evaluate(x: np.ndarray, draw: int) -> tuple[np.ndarray, np.ndarray]:
            return coefficients(self.model, drawn[draw], x, points)

        with one_thread():
            return Table.of(evaluate, low - margin, high + margin, len(drawn))

    # --- forecasting -----------------------------------------------------------------------------

    def forecast_blocks(
        self, initial: xr.Dataset, times: np.ndarray, members: int = 1, generator: Randomness = None
    ) -> Iterator[xr.Dataset]:
        """See ``Forecaster``; member i has the posterior draw i modulo ``DRAWS``.

        Euler–Maruyama in equal steps of at most ``step`` between two times.

        Raises:
            InputError: another number of components, or times that decrease or are in the past.
        """
        d = len(self.range[0])
        if "path" not in initial or initial.sizes["component"] != d:
            raise InputError(f"the model forecasts a variable `path` of {d} component(s)")
        times = np.asarray(times, float)
        now = float(initial["time"].values[-1])
        if not len(times) or times[0] < now - 1e-9 * abs(now) or (np.diff(times) < 0).any():
            raise InputError(
                f"the times of a forecast must increase from the last observation on, t = {now:g}"
            )
        start = np.asarray(initial["path"].values[:, -1], float)
        paths = self._paths(start, np.concatenate([[now], times]), members, root_entropy(generator))
        block = xr.Dataset(
            {"path": (("member", "trajectory", "time", "component"), paths.astype(np.float32))},
            coords={"time": times},
        )
        for name in ("component", "trajectory"):
            if name in initial.coords:
                block = block.assign_coords({name: initial[name].values})
        finite = np.isfinite(paths).all(-1)
        first = np.where(finite.all(2), np.nan, times[np.argmin(finite, axis=2)])
        yield block.assign(diverged_at=(("member", "trajectory"), first))

    def _paths(self, start: np.ndarray, times: np.ndarray, members: int, root: int) -> np.ndarray:
        """(member, trajectory, time, d) at ``times[1:]`` from ``start`` (trajectory, d)."""
        count, d = start.shape
        streams = Streams(root, range(members), range(count))
        draw = np.repeat(np.arange(members) % len(self._table.values), count)
        x = np.tile(start, (members, 1))
        found = np.empty((members * count, len(times) - 1, d))
        taken = 0
        with np.errstate(over="ignore", invalid="ignore"):
            for index, gap in enumerate(np.diff(times)):
                steps = math.ceil(gap / self.step - 1e-6)
                for _ in range(steps):
                    noise = streams.normal(taken, 1, d)[0].reshape(-1, d)
                    drift, root_of = self._table(x, draw)
                    kick = (root_of @ noise[..., None])[..., 0]
                    x = x + gap / steps * drift + math.sqrt(gap / steps) * kick
                    taken += 1
                found[:, index] = x
        found[~np.isfinite(found).all(-1)] = np.nan
        return found.reshape(members, count, -1, d)

    # --- state -----------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Weights of model and guide, and what rebuilds them."""
        tensors = {f"model.{n}": t for n, t in self.model.state_dict().items()}
        tensors |= {f"guide.{n}": t for n, t in self.guide.state_dict().items()}
        return {n: t.detach().cpu().numpy() for n, t in tensors.items()}, self._header()

    @classmethod
    def restore(cls, arrays: dict[str, np.ndarray], settings: dict[str, Any]) -> Self:
        """The reverse of ``state``."""
        forecaster = cls._empty(settings)
        forecaster._pair().load_state_dict({n: torch.tensor(a) for n, a in arrays.items()})
        return forecaster

    @classmethod
    def from_run(cls, run: Any, device: str = "cpu") -> Self:
        """The trained forecaster of a run directory.

        Raises:
            InputError: no checkpoint, or a truncated or foreign one.
        """
        path: Path = run.checkpoints / "best.safetensors"
        tensors, header = load_checkpoint(path, "model")
        try:
            forecaster = cls._empty(header)
        except (KeyError, TypeError) as error:
            raise InputError(f"{path} is a foreign checkpoint ({error}): train again") from error
        restore_into(forecaster._pair(), tensors, path)
        return forecaster

    @classmethod
    def _empty(cls, header: dict[str, Any]) -> Self:
        if header["reference"] is None:
            raise InputError(
                "the model was trained with a Coupling that no file can hold: train with its name, "
                "as slow_fast.coupling = 'package.module:function'"
            )
        forecaster = cls(SlowFastConfig(**header["settings"]), step=header["step_size"])
        forecaster.reference = header["reference"]
        forecaster.duration, forecaster.range = header["duration"], header["range"]
        learned = forecaster.settings.dispersion == "learned"
        forecaster._build(coupling_of(header["reference"], learned), header)
        return forecaster

    def _build(self, coupling: Coupling, header: dict[str, Any]) -> None:
        """Model and guide of the right sizes, to be filled."""
        slow, rank = coupling.slow, header["rank"]
        zeros = torch.zeros(slow, dtype=torch.float64)
        self.model = self._model(coupling, zeros, zeros, torch.eye(slow, dtype=torch.float64))
        self.model.penalty = header["penalty"]
        origin = torch.zeros_like(self.model.origin)
        self.model.restrict(origin, origin.new_zeros(len(origin), rank), origin.new_zeros(rank))
        self.guide = SubspaceGuide(rank, self.settings.posterior)

    def _pair(self) -> torch.nn.ModuleDict:
        return torch.nn.ModuleDict({"model": self.model, "guide": self.guide})

    def _header(self) -> dict[str, Any]:
        return {
            "settings": self.settings.model_dump(),
            "reference": self.reference,
            "rank": self.guide.rank,
            "penalty": self.model.penalty,
            "step_size": self.step,
            "duration": self.duration,
            "range": self.range,
        }
