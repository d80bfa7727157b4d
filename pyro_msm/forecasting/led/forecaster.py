"""Learned effective dynamics as a forecaster: staged training, rollout, persistence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from pyro_msm import data as datasets
from pyro_msm.config import Config, LEDConfig, ModelConfig, TrainingConfig
from pyro_msm.environment import one_thread
from pyro_msm.errors import InputError
from pyro_msm.forecasting.calibration import Calibration
from pyro_msm.forecasting.contract import Randomness, root_entropy
from pyro_msm.forecasting.initial_data import check_drivers
from pyro_msm.forecasting.led.building import check_trainable, new_model, shifted_axes
from pyro_msm.forecasting.led.inputs import KnownInputs
from pyro_msm.forecasting.led.pace import Pace
from pyro_msm.forecasting.led.particle_spread import calibrate_particles
from pyro_msm.forecasting.led.particles import drawn_particles
from pyro_msm.forecasting.led.stages import TrainingData, stages
from pyro_msm.forecasting.led.stepping import LEDState, Stepping
from pyro_msm.forecasting.led.validation import free_running_error, reconstruction_error
from pyro_msm.forecasting.streams import INITIAL, Streams
from pyro_msm.forecasting.trained_latent import (
    TrainedLatentForecaster,
    check_forcing,
    check_times,
    within_reach,
)
from pyro_msm.guides.amortized_snapshot import AmortizedSnapshotGuide
from pyro_msm.inference.stages import StagedTrainer
from pyro_msm.models.led import LED


class LEDForecaster(TrainedLatentForecaster):
    """Forecasts with learned effective dynamics.

    Args:
        led: the ``led`` section of a configuration.
        model: the ``model`` section; its ``snapshots`` are the warm-up.
        training: the ``training`` section.
    """

    name = "led"
    stochastic = True
    remembers = True
    model: LED
    guide: AmortizedSnapshotGuide

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
        self.variable = "field"
        self.step = 1.0
        self.particles = 0
        self.axes: dict[str, np.ndarray] = {}
        self.drivers = {"parameters": 0, "forcing": 0}

    @classmethod
    def of_config(cls, config: Config) -> Self:
        """The untrained forecaster that a configuration describes."""
        return cls(config.led, config.model, config.training)

    # --- training --------------------------------------------------------------------------------

    def check(self, data: xr.Dataset) -> None:
        """Checks that a model can be built and trained on ``data``, without doing so."""
        check_trainable(data, self.led, self.training, self.warmup)

    def build(self, data: xr.Dataset, seed: int = 0) -> None:
        """Makes the model and guide with which the training for ``data`` starts."""
        train = datasets.select(data, "train")
        self._learn_form(data)
        inputs = self._inputs(train).at(train["time"].values[:1]).shape[-1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = new_model(train, self.led, inputs)
            self.guide = AmortizedSnapshotGuide(self.model)

    def _trainer(self, data: xr.Dataset, resume: bool, **how: Any) -> StagedTrainer:
        """Of the stages that ``stages`` tells."""
        validation = self._validation(data)
        scores = [None, None] if validation is None else [
            reconstruction_error(self, validation), free_running_error(self, validation)
        ]  # fmt: skip
        planned = stages(
            self.model, self.guide, self._training_data(data), self.led, self.training, *scores
        )
        return StagedTrainer(self.model, self.guide, planned, self.training, **how)

    def _calibrate(self, validation: xr.Dataset) -> None:
        """Fits the spread of the ensemble."""
        if self.variable == "field":
            super()._calibrate(validation)
        else:
            self.calibration = calibrate_particles(self, validation)

    def _training_data(self, data: xr.Dataset) -> TrainingData:
        train = datasets.select(data, "train")
        inputs = self._inputs(train).at(train["time"].values[:-1])
        values = self._tensor(train[self.variable].values)
        return TrainingData(values, inputs, shifted_axes(train, self.led), self.warmup)

    # --- forecasting -----------------------------------------------------------------------------

    def values_per_snapshot(self) -> int:
        """Numbers in one decoded snapshot."""
        return int(np.prod(self._shape()))

    def encode(
        self, window: xr.Dataset, members: int | range = 1, generator: Randomness = None
    ) -> LEDState:
        """The propagator after ``warmup`` snapshots, and draws of the latents of the last one.

        Raises:
            InputError: another grid, too few snapshots, or no parameters or forcing at their times
                where the model was trained with them.
        """
        check_drivers(window, self.drivers)
        indices = members if isinstance(members, range) else range(members)
        streams = Streams(root_entropy(generator), indices, range(window.sizes["trajectory"]))
        inputs = self._inputs(window)
        snapshots = window.isel(time=slice(-self.warmup, None))
        mean, std = self._encoded(snapshots)
        times = snapshots["time"].values
        check_forcing(inputs.forcing, times[0], times[-1], self.step)
        with torch.inference_mode(), one_thread():
            memory = self.model.propagator.start(len(mean))
            if self.warmup > 1:
                seen = mean[:, :-1], inputs.at(times[:-1])
                memory = self.model.propagator(*seen, memory)[1]
            latent = self._drawn(mean[:, -1], std[:, -1], streams)
        remembered = np.broadcast_to(memory.cpu().numpy(), (len(indices), *memory.shape))
        pace = Pace.unknown(len(indices), len(mean))
        return LEDState(float(times[-1]), 0, latent, latent, remembered, streams, inputs, pace)

    def advance(
        self, state: LEDState, times: np.ndarray, generator: Randomness = None
    ) -> tuple[LEDState, np.ndarray]:
        """Steps on the model's own grid of times, and linearly between two of them.

        NaN from where a path has left the model's world.

        Raises:
            InputError: times that decrease, lie before the state or beyond the forcing.
        """
        times = np.asarray(times, float)
        check_times(times, state.origin, state.index, self.step, state.inputs.forcing)
        if generator is not None:
            streams = replace(state.streams, root=root_entropy(generator), _drawn={})
            state = replace(state, streams=streams)
        places = (times - state.origin) / self.step
        after = np.ceil(places - 1e-6).astype(int)
        stepping = Stepping(self.model.propagator, self.step, self.calibration.dispersion)
        path, ahead = stepping.run(state, max(0, int(after[-1]) - state.index))
        path = np.concatenate([[state.before, state.latent], path])
        right = after - state.index + 1
        share = np.clip(after - places, 0.0, 1.0).astype(np.float32)
        share[share < 1e-6] = 0.0
        share = share[:, np.newaxis, np.newaxis, np.newaxis]
        found = (1 - share) * path[right] + share * path[np.maximum(right - 1, 0)]
        propagator = self.model.propagator
        centre, spread = propagator.centre.cpu().numpy(), propagator.spread.cpu().numpy()
        latents = within_reach(found, centre, spread)
        gone = np.where(np.isnan(latents[-1]).any(-1, keepdims=True), np.float32(np.nan), 0)
        ahead = replace(ahead, latent=ahead.latent + gone, before=ahead.before + gone)
        return ahead, latents

    def assimilate(self, state: LEDState, snapshots: xr.Dataset) -> LEDState:
        """Feeds true snapshots to the propagator, whose memory goes on; nothing is reset.

        What the propagator would have predicted meanwhile corrects its pace: see ``Pace``. A path
        that was lost starts anew, and remembers nothing of before.

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
            now = self._tensor(np.nan_to_num(state.latent)).flatten(0, 1).unsqueeze(1)
            seen = torch.cat([now, path[:, :-1]], 1)
            before = np.concatenate([[state.origin + self.step * state.index], times[:-1]])
            known = state.inputs.at(before)
            known = known.expand(shape[0], *known.shape).flatten(0, 1)
            memory = self._tensor(np.nan_to_num(state.memory)).flatten(0, 1)
            memory = self.model.propagator(seen, known, memory)[1].cpu().numpy()
            streams = state.streams.restarted()
            latent = self._drawn(mean[:, -1], std[:, -1], streams)
        memory = memory.reshape(*shape[:2], memory.shape[-1])
        pace = state.pace
        if self.model.propagator.components == 1 and np.allclose(times - before, self.step):
            pace = self._corrected(state, np.moveaxis(mean.cpu().numpy(), 1, 0)[:, np.newaxis])
        return LEDState(float(times[-1]), 0, latent, latent, memory, streams, state.inputs, pace)

    def _corrected(self, state: LEDState, seen: np.ndarray) -> Pace:
        """The pace after true latents (time, 1, trajectory, latent), one a step."""
        predicted = Stepping(self.model.propagator, self.step, 0.0).run(state, len(seen))[0]
        spread = self.model.propagator.spread.cpu().numpy()
        # A lost path tells nothing of its pace, as one that stands still.
        known = np.isfinite(predicted).all((0, -1))[..., np.newaxis]
        predicted, shown = (np.where(known, path, 0.0) for path in (predicted, seen))
        return state.pace.corrected(predicted / spread, shown / spread)

    def decode(self, latents: np.ndarray) -> xr.Dataset:
        """The variable, and ``observation_std`` of a field, of (time, member, …) latents.

        There are as many particles as in the training data: see ``drawn_particles``.
        """
        states = np.ascontiguousarray(np.moveaxis(latents, 0, 2))
        if self.variable == "particles":
            dims = ("member", "trajectory", "time", "particle", "component")
            found = drawn_particles(self.model, states, self.particles)
            return xr.Dataset({"particles": (dims, found)}, coords=self.axes)
        with torch.inference_mode():
            return self._decoded(self.model.mean_field(self._tensor(states)).cpu().numpy())

    def encoded(self, data: xr.Dataset) -> np.ndarray:
        """Latents of all snapshots of a dataset, (trajectory, time, latent)."""
        count = max(1, self.block_values // self.values_per_snapshot() // data.sizes["trajectory"])
        parts = [
            self._encoded(data.isel(time=slice(first, first + count)))[0].cpu().numpy()
            for first in range(0, data.sizes["time"], count)
        ]
        return np.concatenate(parts, 1)

    def observation_std(self) -> np.ndarray:
        """(channel,) standard deviation of a field about what is decoded."""
        with torch.inference_mode():
            return self.calibration.observation * self.model.noise.std(0).cpu().numpy()

    # --- state -----------------------------------------------------------------------------------

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
        forced = bool(self.drivers["forcing"])
        return KnownInputs.of(data, self.step, self.led.clock, forced, self.device)

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
                std = std + propagator.typical_log_std.exp() * propagator.rate
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
