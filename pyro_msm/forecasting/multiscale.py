"""The stochastic multiscale model as a forecaster: staged training, rollout, persistence."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from pyro_msm import data as datasets
from pyro_msm.config import Config, ModelConfig, TrainingConfig
from pyro_msm.data.windows import Forcing, Windows, check_length
from pyro_msm.environment import available_device, one_thread
from pyro_msm.errors import InputError
from pyro_msm.forecasting.bayesian import member_dynamics, random_weights, with_random_weights
from pyro_msm.forecasting.calibration import Calibration, calibrate
from pyro_msm.forecasting.contract import Randomness, root_entropy
from pyro_msm.forecasting.initial_data import check_drivers, seen_snapshots
from pyro_msm.forecasting.integrator import Integrator, PathState
from pyro_msm.forecasting.known_physics import chosen_physics, known_rate
from pyro_msm.forecasting.latent import LatentForecaster
from pyro_msm.forecasting.sizes import chosen_macro
from pyro_msm.forecasting.streams import INITIAL, Streams
from pyro_msm.forecasting.validation import free_running_error, validation_split
from pyro_msm.forecasting.warm_start import warm_start_of
from pyro_msm.guides import AmortizedPathGuide, BayesianPathGuide, grow
from pyro_msm.guides.grow import check_fields
from pyro_msm.inference import Processes, Trainer, load_checkpoint, restore_into
from pyro_msm.models import MultiscaleSDE
from pyro_msm.models.initialise import check_frame, check_macro
from pyro_msm.progress import progress_bar
from pyro_msm.records import MetricsLog

logger = logging.getLogger("pyro_msm")

#: A latent component beyond this many of its scales from its mean has left the model's world.
HORIZON = 1e3

#: Drift evaluations are at most this far apart, in units of the state's fastest time scale.
COARSEST = 0.05

#: In units of the known physics' one: Adams–Bashforth 3 is stable up to .55 (decay), .72 (waves).
STABLE = 0.4


@dataclass(frozen=True)
class LatentState:
    """Where a rollout stands: the path, and what drives it.

    Attributes:
        path: the state of the integration.
        parameters: (trajectory, parameter) or None.
        forcing: as a function of time, or None.
        dynamics: has drift and dispersion, see ``member_dynamics``.
    """

    path: PathState
    parameters: Tensor | None
    forcing: Forcing | None
    dynamics: Any


class MultiscaleForecaster(LatentForecaster):
    """Forecasts with a ``MultiscaleSDE`` and its guide.

    Args:
        model: the ``model`` section of a configuration.
        training: the ``training`` section.
        rollout_step: largest step in time; None takes the data's, or a fraction of it where the
            state moves faster.
    """

    name = "multiscale"
    stochastic = True

    def __init__(
        self,
        model: ModelConfig | None = None,
        training: TrainingConfig | None = None,
        rollout_step: float | None = None,
    ) -> None:
        self.model_settings = model or ModelConfig()
        self.training = training or TrainingConfig()
        self.warmup = self.model_settings.snapshots
        self.rollout_step = rollout_step or 0.0
        self.rollout_every = 1
        self.calibration = Calibration()
        self.from_prior = False
        self.model: MultiscaleSDE
        self.guide: AmortizedPathGuide
        self.device = torch.device("cpu")
        self.axes: dict[str, np.ndarray] = {}

    @classmethod
    def of_config(cls, config: Config) -> Self:
        """The untrained forecaster that a configuration describes."""
        return cls(config.model, config.training, config.rollout.step)

    @classmethod
    def of(cls, model: MultiscaleSDE, guide: AmortizedPathGuide, data: xr.Dataset) -> Self:
        """A forecaster around a model and a guide that already exist."""
        forecaster = cls(ModelConfig(snapshots=model.settings["snapshots"]))
        forecaster.model, forecaster.guide = model, guide
        forecaster._learn_grid(data)
        forecaster.to(next(model.parameters()).device)
        return forecaster

    @property
    def label(self) -> str:
        """What tables call it: a model without a microscale is the macro-only one."""
        return self.name if self.model.network.micro else "macro-only"

    # --- training --------------------------------------------------------------------------------

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
        """Builds the model for ``data`` and trains it.

        Args:
            data: a validated dataset with a ``field`` and a ``train`` split; with a ``validation``
                split the weights are chosen by free-running rollouts there.
            run: a run directory for checkpoints and metrics; None keeps neither.
            resume: go on from the run's last checkpoint.
            seed: root of the initial weights and of all draws.
            device: "auto", "cpu" or "cuda".
            progress: show a progress bar.
        """
        self.build(data, seed)
        if run is None:
            self.train(data, seed=seed, device=device, progress=progress)
            return self
        step = None
        if resume:
            path = run.checkpoints / "last.safetensors"
            step = load_checkpoint(path, "training")[1]["counters"]["step"]
        with MetricsLog(run.metrics, step, enabled=Processes().leads) as log:
            self.train(
                data, checkpoints=run.checkpoints, resume=resume, seed=seed, device=device,
                log=log.write, progress=progress,
            )  # fmt: skip
        return self

    def check(self, data: xr.Dataset) -> None:
        """Checks that a model can be built and trained on ``data``, without doing so.

        Raises:
            InputError: a coarse size that does not divide the grid, or too few snapshots.
        """
        train = datasets.select(data, "train")
        if "field" not in train:
            raise InputError(
                "the multiscale model learns from a variable `field` (trajectory, time, channel, "
                f"x[, y]); the data hold `{datasets.variable(data)}`: choose another --model"
            )
        macro = self.model_settings.macro
        if macro is not None:
            check_macro(macro, train["field"].shape[3:], data.attrs["boundary"])
        if self.model_settings.frame == "comoving":
            check_frame(train["field"].shape[3:], data.attrs["boundary"], self.model_settings.micro)
        if (smaller := warm_start_of(self.model_settings)) is not None:
            start = self.from_run(smaller)
            if random_weights(start.guide) is not None:
                raise InputError(
                    f"{smaller.path} has random weights, and only single values can grow: start "
                    "from a run with model.bayesian = 'none'"
                )
            check_fields(start.model, data)
        chosen_physics(self.model_settings.physics, data)
        check_length(train, self.training.window_length, self.warmup)

    def build(self, data: xr.Dataset, seed: int = 0) -> None:
        """Makes the model and guide with which the training for ``data`` starts."""
        s = self.model_settings
        smaller = warm_start_of(s)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if smaller is None:
                self._build_anew(data)
            else:
                self.model, self.guide = grow(self.from_run(smaller).guide, data, s.micro)
                quadrature = self.training.quadrature
                self.model.quadrature = self.model.settings["quadrature"] = quadrature
            if s.bayesian != "none":
                self.model, self.guide = with_random_weights(
                    self.model, self.guide, s.bayesian, s.prior_scale
                )
        self._learn_grid(data)

    def _build_anew(self, data: xr.Dataset) -> None:
        s = self.model_settings
        macro = s.macro if s.macro is not None else chosen_macro(data)
        self.model = MultiscaleSDE.for_data(
            data, macro, s.micro,
            rank=s.basis, hidden=s.hidden, drift_hidden=s.drift_hidden,
            drift_layers=s.drift_layers, neighbourhood=s.neighbourhood,
            time_input=s.time_input, frame=s.frame, detail=s.detail, snapshots=s.snapshots,
            physics=chosen_physics(s.physics, data), closure=s.closure,
            dispersion=s.dispersion,
            std_floor=s.std_floor, quadrature=self.training.quadrature,
        )  # fmt: skip
        self.guide = AmortizedPathGuide(self.model)

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
    ) -> Trainer:
        """Trains the model that is there; see ``fit`` for the arguments."""
        self.to(torch.device(available_device(device)))
        windows = Windows(
            datasets.select(data, "train"), self.training.window_length, self.training.stride,
            self.warmup, self.device,
        )  # fmt: skip
        validation = validation_split(data, self.warmup)
        if validation is None:
            logger.warning("no validation split, or none long enough: the last weights are kept")
        with progress_bar("training", enabled=progress) as update:
            known = self.model.network.known_drift is not None
            trainer = Trainer(
                self.model, self.guide, windows, self.training,
                validate=None if validation is None else free_running_error(self, validation),
                seed=seed, folder=checkpoints, log=log, progress=update, header=self._header(),
                untrained=known or self.model_settings.warm_start is not None,
            )  # fmt: skip
            trainer.run(resume)
        self._settle()
        if self.training.calibrate and validation is not None:
            self._calibrate(validation)
            trainer.header = self._header()
            trainer.save_best()
        return trainer

    def _calibrate(self, validation: xr.Dataset) -> None:
        """Fits the ensemble's spread on validation data without gaps."""
        if "mask" in validation:
            return
        self.calibration = calibrate(self, validation)
        logger.info("spread calibrated on validation: dispersion × %.3g, initial × %.3g",
                    self.calibration.dispersion, self.calibration.initial)  # fmt: skip

    # --- forecasting -----------------------------------------------------------------------------

    def values_per_snapshot(self) -> int:
        """Numbers in one decoded snapshot."""
        return self.model.network.values

    def encode(
        self, window: xr.Dataset, members: int | range = 1, generator: Randomness = None
    ) -> LatentState:
        """Members drawn from the encoder's posterior after the last of ``warmup`` snapshots.

        Raises:
            InputError: another grid, too few snapshots, or no parameters or forcing where the
                model was trained with them.
        """
        check_drivers(window, self.model.settings)
        field = self._tensor(self._snapshots(window))
        with torch.inference_mode():
            mean, log_var = self.guide.encode(field)
        indices = members if isinstance(members, range) else range(members)
        root = root_entropy(generator)
        streams = Streams(root, indices, range(window.sizes["trajectory"]))
        latent = self._posterior_draw(mean, log_var, streams)
        dynamics = member_dynamics(self.guide, indices, root, self.from_prior)
        parameters = self._tensor(window["parameters"].values) if "parameters" in window else None
        forcing = None
        if "forcing" in window:
            series = window["forcing"]
            forcing = Forcing(
                self._tensor(series[series.dims[1]].values), self._tensor(series.values)
            )
        time = float(window["time"].values[-1])
        return LatentState(PathState.start(time, latent, streams), parameters, forcing, dynamics)

    def advance(
        self, state: LatentState, times: np.ndarray, generator: Randomness = None
    ) -> tuple[LatentState, np.ndarray]:
        """Integrates along ``times``; NaN from where a path has left the model's world.

        Raises:
            InputError: times that decrease or lie before the state.
        """
        path, times = state.path, np.asarray(times, float)
        self._check_times(times, path)
        if generator is not None:
            members, trajectories = (range(n) for n in path.latent.shape[:2])
            streams = Streams(root_entropy(generator), members, trajectories)
            path = replace(path, streams=streams)
        with torch.inference_mode(), one_thread():
            integrator = Integrator(
                lambda time, latent: self._drift(time, latent, state),
                self.calibration.dispersion * state.dynamics.dispersion,
                self.rollout_step, self.rollout_every,
                None if self.model.network.state_gain is None else self.model.network.gain,
            )  # fmt: skip
            path, latents = integrator.run(path, times)
            latents = self._within_reach(latents)
            lost = torch.as_tensor(np.isnan(latents[-1]).any(-1), device=self.device)
            path = path.without(lost)
        return replace(state, path=path), latents

    def _check_times(self, times: np.ndarray, path: PathState) -> None:
        now = path.origin + (path.index - 1) * self.rollout_step if path.index else path.origin
        if not len(times) or (np.diff(times) < 0).any():
            raise InputError("the times of a forecast must be increasing, and at least one")
        if times[0] < now - 1e-4 * self.rollout_step:
            raise InputError(
                f"t = {times[0]:g} was asked for, which is before the state at t = {now:g}: "
                "a forecast goes forward only"
            )

    def _posterior_draw(self, mean: Tensor, log_var: Tensor, streams: Streams) -> Tensor:
        noise = self._tensor(streams.normal(0, 1, mean.shape[-1], INITIAL)[0])
        return mean + self.calibration.initial * (0.5 * log_var).exp() * noise

    def _within_reach(self, latents: np.ndarray) -> np.ndarray:
        """NaN from the first time at which a path has left the world of the model."""
        network = self.model.network
        scale, mean = network.state_scale.cpu().numpy(), network.state_mean.cpu().numpy()
        with np.errstate(invalid="ignore", over="ignore"):
            lost = ~(np.abs((latents - mean) / scale).max(-1) < HORIZON)
        latents[np.logical_or.accumulate(lost, axis=0)] = np.nan
        return latents

    def _drift(self, time: float, latent: Tensor, state: LatentState) -> Tensor:
        times = torch.full((latent.shape[1], 1), time, device=self.device)
        context = self.model.network.context(times, state.parameters, state.forcing)
        context = None if context is None else context[:, 0]
        return state.dynamics.drift(times[:, 0], latent, context, state.parameters)

    def assimilate(self, state: LatentState, snapshots: xr.Dataset) -> LatentState:
        """The state drawn afresh from the posterior of the last snapshots; streams go on."""
        window = snapshots.isel(time=slice(-self.warmup, None))
        with torch.inference_mode():
            mean, log_var = self.guide.encode(self._tensor(self._snapshots(window)))
        if state.path.streams is None:
            streams, latent = None, mean.expand(state.path.latent.shape)
        else:
            streams = state.path.streams.restarted()
            latent = self._posterior_draw(mean, log_var, streams)
        time = float(window["time"].values[-1])
        return replace(state, path=PathState.start(time, latent, streams))

    def decode(self, latents: np.ndarray) -> xr.Dataset:
        """``field``, ``macro``, ``micro`` and ``observation_std`` of (time, member, …) latents."""
        with torch.inference_mode():
            states = self._tensor(np.moveaxis(latents, 0, 2))
            field = self.model.network.mean_field(states).cpu().numpy()
        lead = ("member", "trajectory", "time")
        result = xr.Dataset(
            {
                "field": ((*lead, *self.axes), field),
                "observation_std": ("channel", self.observation_std()),
            },
            coords={name: (name, values) for name, values in self.axes.items()},
        )
        for name, (dims, values) in self.parts(latents).items():
            result[name] = (*lead, *dims), values
        return result

    def macro_part(self, latents: np.ndarray) -> np.ndarray:
        """D_ζ(ζ), the prolonged macroscale state of latents (…, latent): (…, channel, *grid)."""
        with torch.inference_mode():
            return self.model.network.macro_part(self._tensor(latents)).cpu().numpy()

    def parts(self, latents: np.ndarray) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        """Latents as ``macro`` and ``micro``, with the names of their own dimensions.

        Args:
            latents: (time, member, trajectory, latent), or (trajectory, time, latent).

        Returns:
            Arrays (member, trajectory, time, …) or (trajectory, time, …).
        """
        if latents.ndim == 4:
            latents = np.moveaxis(latents, 0, 2)
        network = self.model.network
        macro, micro = np.split(latents, [network.macro_values], -1)
        shape = (*latents.shape[:-1], network.channels, *network.macro)
        space = list(self.axes)[1:]
        found = {"macro": (("channel", *(f"macro_{a}" for a in space)), macro.reshape(shape))}
        if network.micro:
            found["micro"] = ("micro_component",), micro
        return found

    def encoded(self, data: xr.Dataset) -> np.ndarray:
        """Posterior mean at each snapshot from the warm-up on, (trajectory, time, latent)."""
        values = self._snapshots(data, whole=True)
        count = values.shape[1] - self.warmup + 1
        means = []
        with torch.inference_mode():
            for begin in range(0, count, 64):
                stop = min(begin + 64, count) + self.warmup - 1
                seen = self._tensor(values[:, begin:stop]).unfold(1, self.warmup, 1).movedim(-1, 2)
                means.append(self.guide.encode(seen)[0].cpu().numpy())
        return np.concatenate(means, 1)

    def ensemble_mean(self, latents: np.ndarray) -> np.ndarray:
        """Mean over members of the decoded field: latents (time, member, trajectory, latent).

        Returns:
            (trajectory, time, channel, *grid).
        """
        with torch.inference_mode():
            parts = [self.model.network.mean_field(self._tensor(part)).mean(0) for part in latents]
            return torch.stack(parts, 1).cpu().numpy()

    def observation_std(self) -> np.ndarray:
        """(channel,) standard deviation of the observation noise."""
        with torch.inference_mode():
            precision = (-self.model.network.log_macro_var).exp()
            if self.model.network.micro:
                precision = precision + (-self.model.network.log_micro_var).exp()
            return precision.rsqrt().cpu().numpy()

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
        pair = torch.nn.ModuleDict({"model": forecaster.model, "guide": forecaster.guide})
        pair.load_state_dict({n: torch.tensor(a) for n, a in arrays.items()})
        forecaster._settle()
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
        pair = torch.nn.ModuleDict({"model": forecaster.model, "guide": forecaster.guide})
        restore_into(pair, tensors, path)
        forecaster._settle()
        return forecaster.to(device)

    @classmethod
    def _empty(cls, header: dict[str, Any]) -> Self:
        if header["known_drift"]:
            raise InputError(
                "the model was trained with a known_drift, a function that no file can hold: "
                "rebuild the model with it in Python and use inference.restore_into, or train with "
                "its name, as model.physics = 'package.module:function'"
            )
        forecaster = cls(ModelConfig(snapshots=header["model"]["snapshots"]))
        forecaster.training = TrainingConfig(**header.get("windows", {}))
        forecaster.model = MultiscaleSDE(**header["model"])
        forecaster.guide = AmortizedPathGuide(forecaster.model)
        if header.get("bayesian") is not None:
            forecaster.model, forecaster.guide = with_random_weights(
                forecaster.model, forecaster.guide, **header["bayesian"]
            )
        forecaster.rollout_step = header["rollout_step"]
        forecaster.rollout_every = header["rollout_every"]
        forecaster.calibration = Calibration(**header["calibration"])
        forecaster.axes = {name: np.asarray(v) for name, v in header["axes"].items()}
        return forecaster

    def _settle(self) -> None:
        """Gives a network of random weights their mean, for whoever asks it for *the* drift."""
        if isinstance(self.guide, BayesianPathGuide):
            self.guide.settle()

    def _header(self) -> dict[str, Any]:
        return {
            "model": self.model.settings,
            "known_drift": self.model.known_by_hand,
            "bayesian": random_weights(self.guide),
            "windows": self.training.model_dump(include={"window_length", "stride"}),
            "rollout_step": self.rollout_step,
            "rollout_every": self.rollout_every,
            "calibration": vars(self.calibration),
            "axes": {name: values.tolist() for name, values in self.axes.items()},
        }

    def _learn_grid(self, data: xr.Dataset) -> None:
        """Coordinates of the output, and a step that resolves data and dynamics."""
        space = datasets.space_axes(data)
        self.axes = {"channel": np.asarray(data["channel"].values)}
        self.axes |= {axis: np.asarray(data[axis].values, float) for axis in space}
        times = data["time"].values
        network = self.model.network
        fastest = float((network.state_rate / network.state_scale).max())
        fastest = max(fastest, known_rate(self.model) * COARSEST / STABLE)
        if not self.rollout_step:
            step = float(times[-1] - times[0]) / (len(times) - 1)
            self.rollout_step = step / math.ceil(step * fastest / COARSEST)
        self.rollout_every = max(1, int(COARSEST / (self.rollout_step * fastest)))

    def _tensor(self, values: np.ndarray) -> Tensor:
        # A copy: aligned memory gives the same last bit every time.
        return torch.tensor(np.asarray(values, np.float32), device=self.device)

    def _snapshots(self, window: xr.Dataset, whole: bool = False) -> np.ndarray:
        shape = self.model.network.channels, *self.model.network.grid
        values = seen_snapshots(window, shape, self.warmup)
        return values if whole else values[:, -self.warmup :]
