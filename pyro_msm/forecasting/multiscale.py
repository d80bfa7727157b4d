"""The stochastic multiscale model as a forecaster: staged training, rollout, persistence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from pyro_msm import data as datasets
from pyro_msm.config import Config, ModelConfig, TrainingConfig
from pyro_msm.data.gaps import with_gaps
from pyro_msm.data.windows import Forcing, Windows
from pyro_msm.environment import one_thread
from pyro_msm.errors import InputError
from pyro_msm.forecasting.bayesian import member_dynamics, random_weights, with_random_weights
from pyro_msm.forecasting.calibration import Calibration
from pyro_msm.forecasting.contract import LONGEST, Randomness, root_entropy
from pyro_msm.forecasting.initial_data import check_drivers, seen_snapshots
from pyro_msm.forecasting.integrator import Integrator, PathState
from pyro_msm.forecasting.multiscale_building import check_trainable, new_pair
from pyro_msm.forecasting.reach import Reach, World
from pyro_msm.forecasting.second_look import doubt, misfit, reconsidered
from pyro_msm.forecasting.streams import INITIAL, Streams
from pyro_msm.forecasting.time_step import resolve, resolving
from pyro_msm.forecasting.trained_latent import (
    TrainedLatentForecaster,
    check_forcing,
    check_times,
    within_reach,
)
from pyro_msm.forecasting.validation import free_running_error
from pyro_msm.forecasting.warm_start import warm_start_of
from pyro_msm.guides import AmortizedPathGuide, BayesianPathGuide
from pyro_msm.inference import Trainer
from pyro_msm.models import MultiscaleSDE

#: From how many scales of doubt on a start is said to be unlike those of the training.
UNLIKE = 0.1


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


class MultiscaleForecaster(TrainedLatentForecaster):
    """Forecasts with a ``MultiscaleSDE`` and its guide.

    Args:
        model: the ``model`` section of a configuration.
        training: the ``training`` section.
        rollout_step: largest step in time; None takes the data's, or a fraction of it where the
            state moves faster.
    """

    name = "multiscale"
    stochastic = True
    model: MultiscaleSDE
    guide: AmortizedPathGuide

    def __init__(
        self,
        model: ModelConfig | None = None,
        training: TrainingConfig | None = None,
        rollout_step: float | None = None,
    ) -> None:
        self.model_settings = model or ModelConfig()
        self.training = training or TrainingConfig()
        self.warmup = self.model_settings.snapshots
        self.given_step = self.rollout_step = rollout_step or 0.0
        self.rollout_every = 1
        self.calibration = Calibration()
        self.reach: Reach | None = None
        self.from_prior = False
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

    def check(self, data: xr.Dataset) -> None:
        """Checks that a model can be built and trained on ``data``, without doing so."""
        check_trainable(data, self.model_settings, self.training, self._smaller())

    def build(self, data: xr.Dataset, seed: int = 0) -> None:
        """Makes the model and guide with which the training for ``data`` starts."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model, self.guide = new_pair(
                data, self.model_settings, self.training.quadrature, self._smaller()
            )
        self._learn_grid(data)

    def _smaller(self) -> AmortizedPathGuide | None:
        """Guide, and with it model, of the run from whose weights this one starts."""
        run = warm_start_of(self.model_settings)
        return None if run is None else self.from_run(run).guide

    def _trainer(self, data: xr.Dataset, resume: bool, **how: Any) -> Trainer:
        """On windows of the training split, by the error of free runs on the validation split."""
        windows = Windows(
            datasets.select(data, "train"), self.training.window_length, self.training.stride,
            self.warmup, self.device,
        )  # fmt: skip
        validation = self._validation(data)
        known = self.model.network.known_drift is not None
        return Trainer(
            self.model, self.guide, windows, self.training,
            validate=None if validation is None else free_running_error(self, validation),
            untrained=known or self.model_settings.warm_start is not None, **how,
        )  # fmt: skip

    def _finish(self, trainer: Trainer, data: xr.Dataset) -> None:
        """Keeps what the training data reach, before anything is fitted to validation data."""
        self.reach = Reach.of(self.guide, trainer.windows)
        super()._finish(trainer, data)

    def _calibrate(self, validation: xr.Dataset) -> None:
        """Fits the steps of a rollout, and with these the spread of the ensemble."""
        resolve(self, validation)
        if self.reach is not None and self._tells_novelty():
            seen = validation.isel(time=slice(LONGEST))
            parts = [self.encoded(seen.isel(trajectory=[k])) for k in range(len(seen.trajectory))]
            states = self._tensor(np.concatenate(parts))
            self.reach = self.reach.accustomed(self.model.network, states)
        super()._calibrate(validation)

    # --- forecasting -----------------------------------------------------------------------------

    def values_per_snapshot(self) -> int:
        """Numbers in one decoded snapshot."""
        return self.model.network.values

    def encode(
        self, window: xr.Dataset, members: int | range = 1, generator: Randomness = None
    ) -> LatentState:
        """Members drawn from the encoder's posterior after the last of ``warmup`` snapshots.

        Raises:
            InputError: another grid, too few snapshots, or no parameters or forcing at that time
                where the model was trained with them; gaps or other times between snapshots where
                these tell rates.
        """
        check_drivers(window, self.model.settings)
        self._check_rates(window)
        mean, std = self._posterior(window)
        indices = members if isinstance(members, range) else range(members)
        root = root_entropy(generator)
        streams = Streams(root, indices, range(window.sizes["trajectory"]))
        latent = self._posterior_draw(mean, std, streams)
        dynamics = member_dynamics(self.guide, indices, root, self.from_prior)
        parameters = self._tensor(window["parameters"].values) if "parameters" in window else None
        time, forcing = float(window["time"].values[-1]), None
        if self.model.settings["forcing"]:
            forcing = Forcing.of(window["forcing"], self.device)
            check_forcing(forcing, time, time, self.rollout_step)
        return LatentState(PathState.start(time, latent, streams), parameters, forcing, dynamics)

    def advance(
        self, state: LatentState, times: np.ndarray, generator: Randomness = None
    ) -> tuple[LatentState, np.ndarray]:
        """Integrates along ``times``; NaN from where a path has left the model's world.

        Raises:
            InputError: times that decrease, lie before the state or beyond the forcing.
        """
        path, times = state.path, np.asarray(times, float)
        check_times(times, path.origin, path.index, self.rollout_step, state.forcing)
        if generator is not None:
            members, trajectories = (range(n) for n in path.latent.shape[:2])
            streams = Streams(root_entropy(generator), members, trajectories)
            path = replace(path, streams=streams)
        with torch.inference_mode(), one_thread():
            world = self._world()
            integrator = Integrator(
                lambda time, latent: self._drift(time, latent, state, world),
                state.dynamics.dispersion, self.rollout_step, self.rollout_every,
                lambda latent, rate: self._gain(latent, rate, world),
                None if self.model.network.known_drift is None
                else lambda time, latent: self._physics(time, latent, state),
            )  # fmt: skip
            path, latents = integrator.run(path, times)
            network = self.model.network
            centre, scale = network.state_mean.cpu().numpy(), network.state_scale.cpu().numpy()
            latents = within_reach(latents, centre, scale)
            lost = torch.as_tensor(np.isnan(latents[-1]).any(-1), device=self.device)
            path = path.without(lost)
        return replace(state, path=path), latents

    def unlike(self, window: xr.Dataset) -> np.ndarray:
        """(trajectory,) whether a start shows what no training snapshot did: ``second_look``."""
        return np.asarray((self._look(window)[2] > UNLIKE).cpu())

    def _posterior(self, window: xr.Dataset) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation after the last snapshots; without noise the latter is 0."""
        network = self.model.network
        mean, log_var, width = self._look(window)
        std = self.calibration.initial * (0.5 * log_var).exp()
        if self.calibration.initial:
            first = network.macro_values + network.angles
            added = width[:, None] * network.state_scale[first:]
            std = torch.cat([std[:, :first], torch.hypot(std[:, first:], added)], -1)
        return mean, std

    def _look(self, window: xr.Dataset) -> tuple[Tensor, Tensor, Tensor]:
        """The encoder's posterior after the last snapshots, the microscale's mean within reach.

        Snapshots unlike those of the training are looked at twice, see ``second_look``.

        Returns:
            Mean and log variance (trajectory, state), and how far η may be off, in its scales,
            (trajectory,): 0 for what training has shown.
        """
        with torch.no_grad():
            mean, log_var = self.guide.encode(self._tensor(self._snapshots(window)))
            mean, width = self._nearest(mean), torch.zeros_like(mean[:, 0])
            if self._tells_novelty():
                field = self._tensor(with_gaps(window)[:, -1])
                width = self._doubt(mean, field)
                new = width > 0
                if new.any():
                    better = reconsidered(self.model.network, mean[new], field[new], width[new])
                    mean[new] = self._nearest(better)
                    width[new] = self._doubt(mean[new], field[new])
        return mean, log_var, width

    def _nearest(self, state: Tensor) -> Tensor:
        """The state with the nearest microscale within reach."""
        world, macro = self._world(), self.model.network.macro_values
        if world is None:
            return state
        return torch.cat([state[..., :macro], world.nearest(state)[..., macro:]], -1)

    def _doubt(self, state: Tensor, field: Tensor) -> Tensor:
        """(trajectory,) how far the η of states may be off, given what the field shows."""
        assert self.reach is not None
        network = self.model.network
        excess = misfit(network, state, field) - self.reach.misfit
        found, new = torch.zeros_like(excess), excess > 0
        if new.any():
            found[new] = doubt(network, state[new], excess[new])
        return found

    def _check_rates(self, window: xr.Dataset) -> None:
        """Raises ``InputError`` if snapshots cannot tell the rates that the state holds."""
        if self.model.network.order == 1:
            return
        steps, usual = np.diff(window["time"].values), float(self.model.network.frame_step)
        if not np.allclose(steps[1 - self.warmup :], usual, rtol=1e-3):
            raise InputError(
                f"the model tells rates from {self.warmup} snapshots {usual:g} apart, as it was "
                f"trained; these are {np.array2string(steps[1 - self.warmup :], precision=6)} apart"
            )
        if "mask" in window:
            raise InputError("a model of order 2 starts from whole snapshots; these have a mask")

    def _world(self) -> World | None:
        return None if self.reach is None else self.reach.world(self.model.network)

    def _posterior_draw(self, mean: Tensor, std: Tensor, streams: Streams) -> Tensor:
        return mean + std * self._tensor(streams.normal(0, 1, mean.shape[-1], INITIAL)[0])

    def _drift(
        self, time: float, latent: Tensor, state: LatentState, world: World | None = None
    ) -> Tensor:
        times = torch.full((latent.shape[1], 1), time, device=self.device)
        context = self.model.network.context(times, state.parameters, state.forcing)
        context = None if context is None else context[:, 0]
        near = latent if world is None else world.nearest(latent)
        rate: Tensor = state.dynamics.learned_drift(near, context)
        return rate if world is None else rate + world.pace * (near - latent)

    def _physics(self, time: float, latent: Tensor, state: LatentState) -> Tensor:
        times = latent.new_full((latent.shape[1],), time)
        return self.model.network.physics(times, latent, state.parameters)

    def _gain(self, latent: Tensor, rate: Tensor, world: World | None) -> Tensor:
        """Factors (member, trajectory, state or 1) on the dispersion."""
        network, calibration = self.model.network, self.calibration
        factor = latent.new_full((1,), calibration.dispersion)
        if calibration.novelty and world is not None:
            factor = torch.hypot(factor, calibration.novelty * world.novelty(latent))
        if calibration.tendency:
            factor = torch.hypot(factor, calibration.tendency * rate / network.state_rate)
        return factor if network.state_gain is None else factor * network.gain(latent)

    def _tells_tendency(self) -> bool:
        return self.model.network.known_drift is not None

    def _tells_novelty(self) -> bool:
        # Where the equation is known, η is detail that may stand anywhere, and new everywhere.
        return self.reach is not None and bool(self.reach.seen) and not self._tells_tendency()

    def assimilate(self, state: LatentState, snapshots: xr.Dataset) -> LatentState:
        """The state drawn afresh from the posterior of the last snapshots; streams go on."""
        window = snapshots.isel(time=slice(-self.warmup, None))
        mean, std = self._posterior(window)
        if state.path.streams is None:
            streams, latent = None, mean.expand(state.path.latent.shape)
        else:
            streams = state.path.streams.restarted()
            latent = self._posterior_draw(mean, std, streams)
        time = float(window["time"].values[-1])
        return replace(state, path=PathState.start(time, latent, streams))

    def decode(self, latents: np.ndarray) -> xr.Dataset:
        """``field``, ``macro``, ``micro`` and ``observation_std`` of (time, member, …) latents."""
        with torch.inference_mode():
            states = self._tensor(np.moveaxis(latents, 0, 2))
            result = self._decoded(self.model.network.mean_field(states).cpu().numpy())
        for name, (dims, values) in self.parts(latents).items():
            result[name] = ("member", "trajectory", "time", *dims), values
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
            Arrays (member, trajectory, time, …) or (trajectory, time, …); of second order with
            ``macro_rate``, as ``macro``.
        """
        if latents.ndim == 4:
            latents = np.moveaxis(latents, 0, 2)
        network = self.model.network
        macro, micro = np.split(latents, [network.macro_values], -1)
        shape = (*latents.shape[:-1], network.order, network.channels, *network.macro)
        dims = "channel", *(f"macro_{axis}" for axis in list(self.axes)[1:])
        orders = np.moveaxis(macro.reshape(shape), latents.ndim - 1, 0)
        found = {
            name: (dims, values)
            for name, values in zip(("macro", "macro_rate"), orders, strict=False)
        }
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
            return self.calibration.observation * precision.rsqrt().cpu().numpy()

    # --- state -----------------------------------------------------------------------------------

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
        forecaster.reach = Reach.from_header(header.get("reach"))
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
            "reach": None if self.reach is None else vars(self.reach),
            "axes": {name: values.tolist() for name, values in self.axes.items()},
        }

    def _learn_grid(self, data: xr.Dataset) -> None:
        """Coordinates of the output, and a step that resolves data and dynamics."""
        space = datasets.space_axes(data)
        self.axes = {"channel": np.asarray(data["channel"].values)}
        self.axes |= {axis: np.asarray(data[axis].values, float) for axis in space}
        self.rollout_step, self.rollout_every = resolving(self.model, data, self.given_step)

    def _snapshots(self, window: xr.Dataset, whole: bool = False) -> np.ndarray:
        shape = self.model.network.channels, *self.model.network.grid
        values = seen_snapshots(window, shape, self.warmup)
        return values if whole else values[:, -self.warmup :]
