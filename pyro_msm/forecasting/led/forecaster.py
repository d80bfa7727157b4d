"""Learned effective dynamics as a forecaster: staged training, rollout, persistence."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from pyro_msm import data as datasets
from pyro_msm.config import Config, LEDConfig, ModelConfig, TrainingConfig
from pyro_msm.environment import available_device, one_thread
from pyro_msm.errors import InputError
from pyro_msm.forecasting.calibration import Calibration, calibrate
from pyro_msm.forecasting.contract import Randomness, root_entropy
from pyro_msm.forecasting.initial_data import check_drivers
from pyro_msm.forecasting.latent import LatentForecaster
from pyro_msm.forecasting.led import basis
from pyro_msm.forecasting.led.inputs import KnownInputs
from pyro_msm.forecasting.led.stages import TrainingData, stages
from pyro_msm.forecasting.led.validation import free_running_error, reconstruction_error
from pyro_msm.forecasting.streams import INITIAL, Streams
from pyro_msm.forecasting.validation import validation_split
from pyro_msm.guides.amortized_snapshot import AmortizedSnapshotGuide
from pyro_msm.inference import load_checkpoint, restore_into
from pyro_msm.inference.stages import StagedTrainer
from pyro_msm.models.led import LED
from pyro_msm.nn.quick_propagator import QuickPropagator
from pyro_msm.progress import progress_bar
from pyro_msm.records import MetricsLog

logger = logging.getLogger("pyro_msm")

#: A latent beyond this many of its spreads from its mean has left the model's world.
HORIZON = 1e3

Stepper = Callable[..., tuple[np.ndarray, np.ndarray]]

#: Steps whose noise and known inputs are made together.
BLOCK = 64


@dataclass(frozen=True)
class LEDState:
    """Where a rollout stands, on the grid of times ``origin + index·step``.

    Attributes:
        origin: absolute time of the snapshot from which it started.
        index: steps since then.
        latent: (member, trajectory, latent) at ``index``.
        before: the same one step earlier.
        memory: (member, trajectory, state_size) hidden state of the propagator, which has seen
            ``before`` and all earlier latents.
        streams: random numbers of the steps and of initial draws.
        inputs: what is known of each step.
    """

    origin: float
    index: int
    latent: np.ndarray
    before: np.ndarray
    memory: np.ndarray
    streams: Streams
    inputs: KnownInputs


class LEDForecaster(LatentForecaster):
    """Forecasts with learned effective dynamics.

    Args:
        led: the ``led`` section of a configuration.
        model: the ``model`` section; its ``snapshots`` are the warm-up.
        training: the ``training`` section.
    """

    name = "led"
    stochastic = True

    def __init__(
        self,
        led: LEDConfig | None = None,
        model: ModelConfig | None = None,
        training: TrainingConfig | None = None,
    ) -> None:
        self.led = led or LEDConfig()
        self.training = training or TrainingConfig()
        self.warmup = (model or ModelConfig()).snapshots
        self.calibration = Calibration()
        self.device = torch.device("cpu")
        self.variable = "field"
        self.step = 1.0
        self.particles = 0
        self.axes: dict[str, np.ndarray] = {}
        self.drivers = {"parameters": 0, "forcing": 0}
        self.model: LED
        self.guide: AmortizedSnapshotGuide

    @classmethod
    def of_config(cls, config: Config) -> Self:
        """The untrained forecaster that a configuration describes."""
        return cls(config.led, config.model, config.training)

    # --- training --------------------------------------------------------------------------------

    def check(self, data: xr.Dataset) -> None:
        """Checks that a model can be built and trained on ``data``, without doing so.

        Raises:
            InputError: a ``path``, gaps, a field on a plane with convolutions, shifts along an axis
                that is not periodic, or too few snapshots.
        """
        train, led = datasets.select(data, "train"), self.led
        kind = datasets.variable(train)
        if kind == "path":
            raise InputError(
                "learned effective dynamics compress a `field` or `particles`; the data hold a "
                "`path`, which is low-dimensional already: choose --model slow-fast"
            )
        if "mask" in train:
            raise InputError(
                "learned effective dynamics need whole snapshots; the data have a `mask`: fill the "
                "gaps in, or choose --model multiscale"
            )
        axes = datasets.space_axes(train) if kind == "field" else []
        if led.autoencoder == "convolution" and len(axes) != 1:
            raise InputError(
                "led.autoencoder = 'convolution' needs a field on a line; the data have "
                f"{len(axes)} spatial axes: use 'mlp'"
            )
        if led.shifts and "periodic" not in train.attrs.get("boundary", ()):
            raise InputError(
                "led.shifts moves fields along periodic axes; the data have boundary = "
                f"{train.attrs.get('boundary', [])}: leave it out"
            )
        needed = max(self.warmup, 2) + 1
        if train.sizes["time"] < needed:
            raise InputError(
                f"training needs at least {needed} snapshots a trajectory (model.snapshots + 1); "
                f"the training split has {train.sizes['time']}"
            )
        steps = led.autoencoder_steps + 1
        if self.training.steps < steps:
            raise InputError(
                f"training.steps = {self.training.steps} ends before the propagator is trained: "
                f"led.autoencoder_steps = {led.autoencoder_steps} come first, so take more than "
                "those"
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
        """Builds the model for ``data`` and trains it; see ``MultiscaleForecaster.fit``."""
        self.check(data)
        self.build(data, seed)
        if run is None:
            self.train(data, seed=seed, device=device, progress=progress)
            return self
        step = None
        if resume:
            path = run.checkpoints / "last.safetensors"
            step = load_checkpoint(path, "training")[1]["counters"]["step"]
        with MetricsLog(run.metrics, step) as log:
            self.train(
                data, checkpoints=run.checkpoints, resume=resume, seed=seed, device=device,
                log=log.write, progress=progress,
            )  # fmt: skip
        return self

    def build(self, data: xr.Dataset, seed: int = 0) -> None:
        """Makes the model and guide with which the training for ``data`` starts."""
        train, led = datasets.select(data, "train"), self.led
        self._learn_form(data)
        values = train[self.variable].values
        sizes: dict[str, Any] = {
            "hidden": led.hidden, "layers": led.layers, "variational": led.kl_weight > 0,
            "mixture": led.mixture, "network": led.autoencoder, "cell": led.propagator,
            "memory": led.memory, "propagator_hidden": led.propagator_hidden,
            "propagator_layers": led.propagator_layers, "components": led.components,
            "inputs": self._inputs(train).at(train["time"].values[:1]).shape[-1],
        }  # fmt: skip
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if self.variable == "particles":
                low, high = particle_bounds(train)
                self.model = LED(
                    values.shape[3:], led.latent, low=low.tolist(), high=high.tolist(), **sizes
                )
            else:
                flat = np.nan_to_num(values.reshape(-1, *values.shape[2:]))
                found = basis.measured(flat, led.basis, led.latent, self._shifts(train))
                self.model = LED(
                    values.shape[2:], min(led.latent, len(found.modes)), rank=len(found.modes),
                    boundary=train.attrs["boundary"], **sizes,
                )  # fmt: skip
                basis.fill(self.model.basis, found)
            self.guide = AmortizedSnapshotGuide(self.model)

    def train(
        self,
        data: xr.Dataset,
        *,
        checkpoints: Path | None = None,
        resume: bool = False,
        seed: int = 0,
        device: str = "auto",
        log: Callable[..., None] = lambda **_: None,
        progress: bool = False,
    ) -> StagedTrainer:
        """Trains the model that is there; see ``fit`` for the arguments."""
        self.to(available_device(device))
        validation = validation_split(data, self.warmup)
        if validation is None:
            logger.warning("no validation split, or none long enough: the last weights are kept")
        scores = [None, None] if validation is None else [
            reconstruction_error(self, validation), free_running_error(self, validation)
        ]  # fmt: skip
        planned = stages(
            self.model, self.guide, self._training_data(data), self.led, self.training, *scores
        )
        with progress_bar("training", enabled=progress) as update:
            trainer = StagedTrainer(
                self.model, self.guide, planned, self.training, seed=seed, folder=checkpoints,
                log=log, progress=update, header=self._header(),
            )  # fmt: skip
            trainer.run(resume)
        if self.training.calibrate and validation is not None and self.variable == "field":
            self.calibration = calibrate(self, validation)  # type: ignore[arg-type]
            trainer.header = self._header()
            trainer.save_best()
        return trainer

    def _training_data(self, data: xr.Dataset) -> TrainingData:
        train = datasets.select(data, "train")
        inputs = self._inputs(train).at(train["time"].values[:-1])
        values = self._tensor(train[self.variable].values)
        return TrainingData(values, inputs, self._shifts(train), self.warmup)

    def _shifts(self, data: xr.Dataset) -> list[int]:
        if not self.led.shifts or self.variable != "field":
            return []
        return [i for i, kind in enumerate(data.attrs["boundary"]) if kind == "periodic"]

    # --- forecasting -----------------------------------------------------------------------------

    def values_per_snapshot(self) -> int:
        """Numbers in one decoded snapshot."""
        return int(np.prod(self._shape()))

    def encode(
        self, window: xr.Dataset, members: int | range = 1, generator: Randomness = None
    ) -> LEDState:
        """The propagator after ``warmup`` snapshots, and draws of the latents of the last one.

        Raises:
            InputError: another grid, too few snapshots, or no parameters or forcing where the
                model was trained with them.
        """
        check_drivers(window, self.drivers)
        indices = members if isinstance(members, range) else range(members)
        streams = Streams(root_entropy(generator), indices, range(window.sizes["trajectory"]))
        inputs = self._inputs(window)
        snapshots = window.isel(time=slice(-self.warmup, None))
        mean, std = self._encoded(snapshots)
        times = snapshots["time"].values
        with torch.inference_mode(), one_thread():
            memory = self.model.propagator.start(len(mean))
            if self.warmup > 1:
                seen = mean[:, :-1], inputs.at(times[:-1])
                memory = self.model.propagator(*seen, memory)[1]
            latent = self._drawn(mean[:, -1], std[:, -1], streams)
        remembered = np.broadcast_to(memory.cpu().numpy(), (len(indices), *memory.shape))
        return LEDState(float(times[-1]), 0, latent, latent, remembered, streams, inputs)

    def advance(
        self, state: LEDState, times: np.ndarray, generator: Randomness = None
    ) -> tuple[LEDState, np.ndarray]:
        """Steps on the model's own grid of times, and linearly between two of them.

        Raises:
            InputError: times that decrease or lie before the state.
        """
        times = np.asarray(times, float)
        self._check_times(times, state)
        if generator is not None:
            streams = replace(state.streams, root=root_entropy(generator), _drawn={})
            state = replace(state, streams=streams)
        places = (times - state.origin) / self.step
        after = np.ceil(places - 1e-6).astype(int)
        path, ahead = self._run(state, max(0, int(after[-1]) - state.index))
        path = np.concatenate([[state.before, state.latent], path])
        right = after - state.index + 1
        share = np.clip(after - places, 0.0, 1.0).astype(np.float32)
        share[share < 1e-6] = 0.0
        share = share[:, np.newaxis, np.newaxis, np.newaxis]
        found = (1 - share) * path[right] + share * path[np.maximum(right - 1, 0)]
        return ahead, self._within_reach(found)

    def _run(self, state: LEDState, count: int) -> tuple[np.ndarray, LEDState]:
        """The latents (count, member, trajectory, latent) of the next steps, and the last state."""
        members, trajectories, size = state.latent.shape
        path = np.empty((count, *state.latent.shape), np.float32)
        if not count:
            return path, state
        latent: np.ndarray = state.latent.reshape(-1, size)
        memory: np.ndarray = state.memory.reshape(len(latent), state.memory.shape[-1])
        take = self._stepper()
        for first in range(0, count, BLOCK):
            rows = range(first, min(first + BLOCK, count))
            at = state.origin + self.step * (state.index + np.asarray(rows))
            known = np.tile(state.inputs.at(at).cpu().numpy(), (members, 1, 1))
            noise = self._noise(state.streams, state.index + first, len(rows), size)
            for row, number in enumerate(rows):
                drawn = None if noise is None else noise[row].reshape(-1, 1 + size)
                latent, memory = take(latent, known[:, row], memory, drawn)
                path[number] = latent.reshape(members, trajectories, size)
        before = path[-2] if count > 1 else state.latent
        memory = memory.reshape(members, trajectories, memory.shape[-1])
        return path, replace(
            state, index=state.index + count, latent=path[-1], before=before, memory=memory
        )

    def _noise(self, streams: Streams, first: int, count: int, size: int) -> np.ndarray | None:
        """Standard normal numbers (count, member, trajectory, 1 + size); None where none count."""
        if self.calibration.dispersion == 0 and self.model.propagator.components == 1:
            return None
        return streams.normal(first, count, 1 + size)

    def _stepper(self) -> Stepper:
        """A function (latent, inputs, memory, noise) → (latent, memory), all (batch, …)."""
        propagator, factor = self.model.propagator, self.calibration.dispersion
        if propagator.components == 1:
            quick = QuickPropagator(propagator)

            def predicted(latent: Any, known: Any, memory: Any, noise: Any) -> Any:
                latent, memory = quick(latent, known, memory)
                return latent if noise is None else latent + factor * quick.std * noise[
                    :, 1:
                ], memory

            return predicted

        def drawn(latent: Any, known: Any, memory: Any, noise: Any) -> Any:
            with torch.inference_mode(), one_thread():
                parts = self._tensor(latent)[:, None], self._tensor(known)[:, None]
                law, after = propagator(*parts, self._tensor(memory))
                latent = law.draw(self._tensor(noise)[:, None], factor)[:, 0]
            return latent.cpu().numpy(), after.cpu().numpy()

        return drawn

    def assimilate(self, state: LEDState, snapshots: xr.Dataset) -> LEDState:
        """Feeds true snapshots to the propagator, whose memory goes on; nothing is reset.

        Args:
            state: where the forecast stands.
            snapshots: those after its time, one a step; fewer or later ones leave a gap in what
                the propagator remembers.
        """
        mean, std = self._encoded(snapshots)
        times = snapshots["time"].values
        shape = state.latent.shape
        with torch.inference_mode(), one_thread():
            # The state itself is the last thing that the memory has not seen.
            path = mean.expand(shape[0], *mean.shape).flatten(0, 1)
            now = self._tensor(state.latent).flatten(0, 1).unsqueeze(1)
            seen = torch.cat([now, path[:, :-1]], 1)
            before = np.concatenate([[state.origin + self.step * state.index], times[:-1]])
            known = state.inputs.at(before)
            known = known.expand(shape[0], *known.shape).flatten(0, 1)
            memory = self._tensor(state.memory).flatten(0, 1)
            memory = self.model.propagator(seen, known, memory)[1].cpu().numpy()
            streams = state.streams.restarted()
            latent = self._drawn(mean[:, -1], std[:, -1], streams)
        memory = memory.reshape(*shape[:2], memory.shape[-1])
        return LEDState(float(times[-1]), 0, latent, latent, memory, streams, state.inputs)

    def decode(self, latents: np.ndarray) -> xr.Dataset:
        """The variable, and ``observation_std`` of a field, of (time, member, …) latents.

        Particles are draws from the decoder's mixture: as many as the training data have, made of
        random numbers that follow from the latents, so that equal latents give equal particles.
        """
        lead = ("member", "trajectory", "time")
        states = np.ascontiguousarray(np.moveaxis(latents, 0, 2))
        coords = {name: (name, values) for name, values in self.axes.items()}
        if self.variable == "particles":
            dims = (*lead, "particle", "component")
            return xr.Dataset({"particles": (dims, self.drawn_particles(states))}, coords=coords)
        with torch.inference_mode():
            field = self.model.mean_field(self._tensor(states)).cpu().numpy()
        return xr.Dataset(
            {
                "field": ((*lead, *self.axes), field),
                "observation_std": ("channel", self.observation_std()),
            },
            coords=coords,
        )

    def encoded(self, data: xr.Dataset) -> np.ndarray:
        """Latents of all snapshots of a dataset, (trajectory, time, latent)."""
        count = max(1, self.block_values // self.values_per_snapshot() // data.sizes["trajectory"])
        parts = [
            self._encoded(data.isel(time=slice(first, first + count)))[0].cpu().numpy()
            for first in range(0, data.sizes["time"], count)
        ]
        return np.concatenate(parts, 1)

    def drawn_particles(self, latents: np.ndarray) -> np.ndarray:
        """(…, particle, component) of latents (…, latent)."""
        flat = np.ascontiguousarray(latents.reshape(-1, latents.shape[-1]), np.float32)
        size = self.model.low.shape[0]
        drawn = np.empty((len(flat), self.particles, 1 + size), np.float32)
        for number, latent in enumerate(flat):
            generator = np.random.Generator(np.random.SFC64(zlib.crc32(latent.tobytes())))
            drawn[number, :, 0] = generator.random(self.particles, np.float32)
            drawn[number, :, 1:] = generator.standard_normal((self.particles, size), np.float32)
        numbers = self._tensor(np.moveaxis(drawn, 1, 0))
        with torch.inference_mode():
            law = self.model.particle_law(self._tensor(flat))
            found = law.transport(numbers[..., 0], numbers[..., 1:])
        shape = (*latents.shape[:-1], self.particles, size)
        return found.movedim(0, 1).cpu().numpy().reshape(shape)

    def observation_std(self) -> np.ndarray:
        """(channel,) standard deviation of a field about what is decoded."""
        with torch.inference_mode():
            return self.model.noise.std(0).cpu().numpy()

    # --- for validation and calibration ----------------------------------------------------------

    def summary(self, values: np.ndarray) -> np.ndarray:
        """What validation compares: fields, or mean and variance of each particle component."""
        if self.variable == "field":
            return values
        return np.concatenate([values.mean(-2), values.var(-2)], -1)

    def decoded_summary(self, latents: np.ndarray) -> np.ndarray:
        """``summary`` (member, trajectory, time, …) of (time, member, trajectory, latent)."""
        return self.summary(self.decode(latents)[self.variable].values)

    # --- state -----------------------------------------------------------------------------------

    def to(self, device: torch.device | str) -> Self:
        """Moves model and guide to a device."""
        self.device = torch.device(device)
        self.model.to(self.device)
        self.guide.to(self.device)
        return self

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
        return forecaster.to(device)

    @classmethod
    def _empty(cls, header: dict[str, Any]) -> Self:
        forecaster = cls(LEDConfig(**header["led"]))
        forecaster.model = LED(**header["model"])
        forecaster.guide = AmortizedSnapshotGuide(forecaster.model)
        for name in ("warmup", "variable", "particles", "drivers"):
            setattr(forecaster, name, header[name])
        forecaster.step = header["time_step"]
        forecaster.calibration = Calibration(**header["calibration"])
        forecaster.axes = {name: np.asarray(v) for name, v in header["axes"].items()}
        return forecaster

    def _pair(self) -> torch.nn.ModuleDict:
        return torch.nn.ModuleDict({"model": self.model, "guide": self.guide})

    def _header(self) -> dict[str, Any]:
        return {
            "led": self.led.model_dump(),
            "model": self.model.settings,
            "warmup": self.warmup,
            "variable": self.variable,
            "time_step": self.step,  # a checkpoint's own "step" is that of the training
            "particles": self.particles,
            "drivers": self.drivers,
            "calibration": vars(self.calibration),
            "axes": {name: values.tolist() for name, values in self.axes.items()},
        }

    def _learn_form(self, data: xr.Dataset) -> None:
        """Variable, coordinates, time step and drivers of the data."""
        self.variable = datasets.variable(data)
        times = data["time"].values
        self.step = float(times[-1] - times[0]) / (len(times) - 1)
        names = ["component"]
        if self.variable == "field":
            names = ["channel", *datasets.space_axes(data)]
        else:
            self.particles = data.sizes["particle"]
        self.axes = {name: np.asarray(data[name].values) for name in names}
        self.drivers = {
            "parameters": data["parameters"].shape[-1] if "parameters" in data else 0,
            "forcing": data["forcing"].shape[-1] if "forcing" in data and self.led.forcing else 0,
        }

    def _inputs(self, data: xr.Dataset) -> KnownInputs:
        return KnownInputs.of(data, self.step, self.led.clock, self.led.forcing, self.device)

    def _shape(self) -> tuple[int, ...]:
        if self.variable == "particles":
            return self.particles, int(self.model.low.shape[0])
        return tuple(self.model.settings["shape"])

    def _encoded(self, snapshots: xr.Dataset) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (trajectory, time, latent) of the posterior."""
        values = self._checked(snapshots)
        with torch.inference_mode():
            mean, std = self.guide.encode(self._tensor(values))
            if not self.model.settings["variational"]:
                # An autoencoder is as unsure of a state as its propagator is of the next one.
                propagator = self.model.propagator
                std = std + propagator.log_std.exp() * propagator.rate
        return mean, std

    def _checked(self, snapshots: xr.Dataset) -> np.ndarray:
        if self.variable not in snapshots:
            raise InputError(
                f"the initial data hold no `{self.variable}`, which the model was trained on"
            )
        values = snapshots[self.variable].values
        shape = self._shape()
        other = values.shape[2:] != shape
        if self.variable == "particles":  # any number of them can be encoded
            other = values.shape[3:] != shape[1:]
        if other:
            raise InputError(
                f"the initial {self.variable} has shape {values.shape[2:]} at each time, the model "
                f"was trained on {shape}: interpolate it to that grid"
            )
        if not np.isfinite(values).all():
            raise InputError(
                "the initial data have gaps, and learned effective dynamics need whole snapshots: "
                "fill them in"
            )
        return values

    def _drawn(self, mean: Tensor, std: Tensor, streams: Streams) -> np.ndarray:
        """(member, trajectory, latent) around a mean (trajectory, latent)."""
        noise = streams.normal(0, 1, mean.shape[-1], INITIAL)[0]
        found: np.ndarray = (
            mean.cpu().numpy() + self.calibration.initial * std.cpu().numpy() * noise
        )
        return found

    def _check_times(self, times: np.ndarray, state: LEDState) -> None:
        now = state.origin + max(0, state.index - 1) * self.step
        if not len(times) or (np.diff(times) < 0).any():
            raise InputError("the times of a forecast must be increasing, and at least one")
        if times[0] < now - 1e-4 * self.step:
            raise InputError(
                f"t = {times[0]:g} was asked for, which is before the state at t = {now:g}: "
                "a forecast goes forward only"
            )

    def _within_reach(self, latents: np.ndarray) -> np.ndarray:
        """NaN from the first time at which a path has left the world of the model."""
        propagator = self.model.propagator
        centre, spread = propagator.centre.cpu().numpy(), propagator.spread.cpu().numpy()
        with np.errstate(invalid="ignore", over="ignore"):
            lost = ~(np.abs((latents - centre) / spread).max(-1) < HORIZON)
        latents[np.logical_or.accumulate(lost, axis=0)] = np.nan
        return latents

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.tensor(np.asarray(values, np.float32), device=self.device)


def particle_bounds(data: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bound of each component.

    Where the attribute ``domain`` gives the lengths of a box that the data nearly fill, it is that
    box about the middle of the data; else the range of the data, widened by a twentieth.
    """
    values = data["particles"].values
    low, high = (edge((0, 1, 2)).astype(float) for edge in (values.min, values.max))
    length = np.asarray(data.attrs.get("domain", 0.0), float).reshape(-1)
    filled = (high - low) / np.maximum(length, 1e-12)
    margin = 0.05 * (high - low)
    if len(length) == len(low) and ((filled > 0.99) & (filled <= 1)).all():
        margin = (length - (high - low)) / 2
    return low - margin, high + margin
