"""Averaged slow–fast dynamics as a forecaster: training, coefficients with bands, paths."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
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
from pyro_msm.forecasting.contract import Randomness, root_entropy
from pyro_msm.forecasting.slow_fast.coupling import Reference, chosen_reference, coupling_of
from pyro_msm.forecasting.slow_fast.effective import MARGIN, NODES, Table, coefficients
from pyro_msm.forecasting.slow_fast.record import Record, check_path, held_out
from pyro_msm.forecasting.slow_fast.training import (
    PathTrainer,
    WarmStart,
    effective_parameters,
    restrict,
)
from pyro_msm.forecasting.streams import INITIAL, Streams
from pyro_msm.forecasting.trained import TrainedForecaster
from pyro_msm.guides.subspace import SubspaceGuide
from pyro_msm.inference import load_checkpoint
from pyro_msm.models.fast_laws import KINDS, chosen
from pyro_msm.models.slow_fast import AveragedSDE
from pyro_msm.nn.coupling import Coupling
from pyro_msm.progress import Update

#: Different posterior draws that the members of an ensemble share.
DRAWS = 40

#: Base points of a table with several fast components.
TABLE_POINTS = 64


class SlowFastForecaster(TrainedForecaster):
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
    model: AveragedSDE
    guide: SubspaceGuide

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
        self.law: str = self.settings.laws[0]
        self.evidence: dict[str, float] = {}
        self.duration = 0.0
        self.range: list[list[float]] = []

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

    def build(self, data: xr.Dataset, seed: int = 0) -> None:
        """Makes the model in the units of the path; the warm start of the training restricts it."""
        with one_thread():
            train = Increments.of(datasets.select(data, "train"))
            steps = np.diff(np.asarray(data["time"].values, float))
            self.step = self.step or float(np.median(steps))
            self.duration = float(train.duration.sum())
            self.range = [train.place.min(0).values.tolist(), train.place.max(0).values.tolist()]
            self.model = self._new_model(self._coupling(data), train)

    def _trainer(self, data: xr.Dataset, resume: bool, **how: Any) -> PathTrainer:
        """Of the posterior, about the most probable law or that of the last checkpoint."""
        with one_thread():
            record = self._record(Increments.of(datasets.select(data, "train")))
            if resume:
                last = load_checkpoint(how["folder"] / "last.safetensors", "training")[1]
                self._resize(self.model.coupling, last)
            else:
                self._warm_start(data, record, how["seed"], how["progress"])
        return PathTrainer(
            self.model, self.guide, record,  # type: ignore[arg-type]
            self.training, increments=self.settings.increments, **how,
        )  # fmt: skip

    def _warm_start(self, data: xr.Dataset, record: Record, seed: int, progress: Update) -> None:
        """Chooses the kind of fast law by its evidence, and restricts the model to what the record
        tells of it, about the most probable weights.

        A ``validation`` split chooses the moment penalty, else segments held out of the record.
        """
        try:
            judged, fitted = Increments.of(datasets.select(data, "validation")), record
        except InputError:
            inside, judged = held_out(record.increments)
            fitted = self._record(inside)
        s, model = self.settings, self.model
        models: dict[str, AveragedSDE] = {
            name: self._model(name, model.coupling, model.centre, model.width, model.noise)
            for name in s.laws
        }
        start = WarmStart(fitted, s, seed, progress)
        by_law = start.by_law(models)
        self.evidence = {name: evidence for name, (evidence, _) in by_law.items()}
        self.law = chosen(self.evidence)
        self.model = models[self.law]
        weights = start.by_penalty(self.model, by_law[self.law][1], self._record(judged).cells)
        restrict(self.model, record, weights, s)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.guide = SubspaceGuide(len(self.model.unit), s.posterior)

    def _record(self, increments: Increments) -> Record:
        s = self.settings
        return Record.of(increments, s.cells, s.samples, self.model.coupling.fast)

    def _coupling(self, data: xr.Dataset) -> Coupling:
        if self._given is not None:
            return self._given
        self.reference = chosen_reference(self.settings.coupling, data)
        return coupling_of(self.reference, self.settings.dispersion == "learned")

    def _new_model(self, coupling: Coupling, train: Increments) -> AveragedSDE:
        variation = train.spread.sum(0) / train.count.sum()
        return self._model(
            self.law,
            coupling,
            train.place.mean(0),
            train.place.std(0),
            torch.linalg.cholesky(variation),
        )

    def _model(
        self, law: str, coupling: Coupling, centre: Tensor, width: Tensor, noise: Tensor
    ) -> AveragedSDE:
        s = self.settings
        return AveragedSDE(
            coupling, centre, width, conditional=s.conditional, kind=KINDS[law], bins=s.bins,
            hidden=s.hidden, power=s.power, linear=s.posterior != "flow", noise=noise,
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
                base = z, torch.ones(1, 1, dtype=torch.float64)
                y, share = self.model.fast_values(self.model.weights(c), place, base)
                state = torch.multinomial(share[:, 0], 1, generator=generator)
                drawn = y[torch.arange(len(y)), 0, state[:, 0]]
                found.append(drawn.expand(len(place), fast))
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

    def to(self, device: torch.device | str) -> Self:
        """Stays on the CPU, whatever is asked for: the model is small."""
        return self

    def _settle(self) -> None:
        self.__dict__.pop("_table", None)

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
        forecaster._resize(coupling_of(header["reference"], learned), header)
        return forecaster

    def _resize(self, coupling: Coupling, header: dict[str, Any]) -> None:
        """Model and guide of the right sizes, to be filled."""
        slow, rank = coupling.slow, header["rank"]
        zeros = torch.zeros(slow, dtype=torch.float64)
        self.law, self.evidence = header["law"], header["evidence"]
        self.model = self._model(
            self.law, coupling, zeros, zeros, torch.eye(slow, dtype=torch.float64)
        )
        self.model.penalty = header["penalty"]
        origin = torch.zeros_like(self.model.origin)
        self.model.restrict(origin, origin.new_zeros(len(origin), rank), origin.new_zeros(rank))
        self.guide = SubspaceGuide(rank, self.settings.posterior)

    def _header(self) -> dict[str, Any]:
        return {
            "settings": self.settings.model_dump(),
            "reference": self.reference,
            "rank": self.guide.rank,
            "law": self.law,
            "evidence": self.evidence,
            "penalty": self.model.penalty,
            "step_size": self.step,
            "duration": self.duration,
            "range": self.range,
        }
