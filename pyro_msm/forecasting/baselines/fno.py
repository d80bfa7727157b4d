"""A Fourier neural operator, rolled out."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import Any, ClassVar, Self

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from pyro_msm.data.axes import space_axes
from pyro_msm.data.splits import select
from pyro_msm.errors import InputError
from pyro_msm.forecasting.baselines import arrays, resampling, tuning
from pyro_msm.forecasting.baselines.fourier_operator import FourierOperator
from pyro_msm.forecasting.contract import Forecaster, Randomness

GRID = {1: 256, 2: 64}
WIDTH = {1: 32, 2: 20}
MODES = {1: 32, 2: 12}
BATCH = {1: 8, 2: 4}
STEPS = {1: 4000, 2: 1500}
STEPS_A_FORECAST = {1: (100, 40, 20), 2: (40, 20)}
LEARNING_RATE = 3e-3
AVERAGING = 0.99
INPUT_NOISE = 0.01
TRIAL_SHARE = 5
CHECKS = 3
PROBED = 10
DIVERGED = 100.0


class Fno(Forecaster):
    """y(t+s) = y(t) + FNO(y(t)), rolled out; a cubic spline in time between the strides.

    The operator works on at most 256 points (64² in two dimensions), onto which the field is
    restricted and from which it is interpolated back: Fourier modes on periodic axes, cell averages
    and cubic splines on others. Where all axes are periodic it is translation-equivariant;
    otherwise it also reads the coordinates. The stride s (about 100, 40 or 20 a forecast; in two
    dimensions 40 or 20) is the one whose short training, of a fifth of ``steps``, forecasts the
    validation split best; the full training keeps the weights (an exponential average) that do.

    Args:
        warmup: number of snapshots it is given; it reads the last.
        steps: optimisation steps of the full training; by default 4000, in two dimensions 1500.
        seed: of initial weights and batches.
        budget_seconds: of the whole fit. The steps are as many as a first measurement of their
            speed says fit into it, so that the numbers depend on the machine; None: no bound.
    """

    name: ClassVar[str] = "fno"

    def __init__(
        self,
        warmup: int = 1,
        steps: int | None = None,
        seed: int = 0,
        budget_seconds: float | None = None,
    ) -> None:
        self.warmup, self.steps, self.seed = warmup, steps, seed
        self.budget_seconds = budget_seconds
        self.choice: dict[str, Any] = {}
        self.validation_error = float("nan")
        self._step = 1.0
        self._shape: dict[str, Any] = {}
        self._arrays: dict[str, np.ndarray] = {}
        self._network: FourierOperator | None = None
        self._matrices: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])

    def fit(self, data: xr.Dataset) -> Self:
        """Trains on the training split; stride and weights are chosen on the validation split.

        Raises:
            InputError: no field, too few snapshots, or not at equal steps.
        """
        if not space_axes(data):
            raise InputError("fno forecasts fields on a grid, and this dataset has no field")
        record = tuning.gathered(data, self.name, self.warmup)
        self._step = record.step
        self._prepare(data, record.learned)
        mean = arrays.observed_mean(*arrays.observed(select(data, "train")), axis=(0, 1))
        self._arrays["mean"] = mean
        states = self._encoded(record.learned)
        frames = record.held_out.shape[1]
        counts = STEPS_A_FORECAST[len(self._shape["axes"])]
        options = sorted({max(1, frames // count) for count in counts})
        options = [stride for stride in options if stride < states.shape[1]]
        steps = self._affordable(states, record.held_out, options)
        given = states, record.held_out
        few = max(1, steps // TRIAL_SHARE)
        trials = [self._trained(*given, stride, few, 1)[0] for stride in options]
        stride = options[int(np.argmin(trials))]
        self.validation_error, self._network = self._trained(*given, stride, steps, CHECKS)
        self.choice = {"stride": stride, "steps": steps}
        return self

    def _affordable(self, states: Tensor, held_out: np.ndarray, strides: list[int]) -> int:
        """Steps of the full training: fewer than asked for where the budget would end before."""
        steps = self.steps or STEPS[len(self._shape["axes"])]
        if self.budget_seconds is None:
            return steps
        began = time.perf_counter()

        def seconds(count: int) -> float:
            start = time.perf_counter()
            self._trained(states, held_out, strides[0], count, 0)
            return time.perf_counter() - start

        once = min(seconds(1), seconds(1))
        pace = max(seconds(1 + PROBED) - once, 0.0) / PROBED
        start = time.perf_counter()
        self._validated(self._built(), held_out, strides[0])
        # A validation takes as many applications of the operator as there are strides.
        checks = CHECKS + sum(strides[0] / stride for stride in strides)
        left = self.budget_seconds - checks * (time.perf_counter() - start)
        left -= time.perf_counter() - began + (1 + len(strides)) * once
        whole = pace * (1 + len(strides) / TRIAL_SHARE) + 1e-9
        return max(1, min(steps, int(left / whole)))

    def _prepare(self, data: xr.Dataset, learned: np.ndarray) -> None:
        """The inner grid and the scale of each channel."""
        grid = {axis: data[axis].values.astype(float) for axis in space_axes(data)}
        periodic = [kind == "periodic" for kind in data.attrs["boundary"]]
        axes = (0, 1, *range(3, learned.ndim))
        centre = learned.mean(axis=axes, dtype=np.float64).astype(np.float32)
        scale = arrays.spread(learned, centre.reshape(-1, *[1] * len(grid)), 2)
        self._shape = {
            "channels": int(learned.shape[2]),
            "axes": list(grid),
            "periodic": periodic,
            "domain": [float(length) for length in data.attrs["domain"]],
        }
        self._arrays = {
            "centre": centre,
            "scale": np.where(scale > 0, scale, 1).astype(np.float32),
            **grid,
        }
        self._matrices = self._transfers()

    def _transfers(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Restriction to the inner grid and interpolation back, one matrix an axis."""
        down, up = [], []
        most = GRID[len(self._shape["axes"])]
        for axis, periodic, length in zip(
            self._shape["axes"], self._shape["periodic"], self._shape["domain"], strict=True
        ):
            fine = self._arrays[axis]
            if len(fine) <= most:
                down.append(np.eye(len(fine)))
                up.append(np.eye(len(fine)))
                continue
            if periodic:
                few = fine[0] + length / most * np.arange(most)
                down.append(resampling.fourier(few, fine, length))
                up.append(resampling.fourier(fine, few, length))
            else:
                few = np.linspace(fine[0], fine[-1], most)
                down.append(resampling.averages(few, fine, length, periodic))
                up.append(resampling.cubic(fine, few, length, periodic))
        return down, up

    def _encoded(self, values: np.ndarray) -> Tensor:
        """Normalised fields on the inner grid from values (trajectory, time, channel, x[, y])."""
        shape = (-1, *[1] * len(self._shape["axes"]))
        centre, scale = (self._arrays[part].reshape(shape) for part in ("centre", "scale"))
        down = self._matrices[0]
        return torch.from_numpy(
            np.stack([resampling.apply(down, (part - centre) / scale) for part in values])
        ).float()

    def _decoded(self, states: np.ndarray) -> np.ndarray:
        shape = (-1, *[1] * len(self._shape["axes"]))
        centre, scale = (self._arrays[part].reshape(shape) for part in ("centre", "scale"))
        with np.errstate(over="ignore", invalid="ignore"):
            values = resampling.apply(self._matrices[1], states.astype(np.float32))
            return values * scale + centre

    def _built(self) -> FourierOperator:
        """The network with initial weights that depend on the seed alone."""
        axes, channels = len(self._shape["axes"]), self._shape["channels"]
        periodic = tuple(self._shape["periodic"])
        inputs = channels + (0 if all(periodic) else axes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            modes = (MODES[axes],) * axes
            return FourierOperator(inputs, channels, WIDTH[axes], modes, periodic)

    def _trained(
        self, states: Tensor, held_out: np.ndarray, stride: int, steps: int, checks: int
    ) -> tuple[float, FourierOperator]:
        """The least validation error at so many ``checks``, and the network that has it."""
        network = self._built()
        increments = states[:, stride:] - states[:, :-stride]
        with torch.no_grad():
            # Increments are small: so are those of an untrained network.
            network.last.weight.mul_(increments.std())
        average, batch = copy.deepcopy(network), BATCH[len(self._shape["axes"])]
        optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        generator = torch.Generator().manual_seed(self.seed)
        scale, best = float(increments.std()) or 1.0, (np.inf, average)
        for step in range(1, steps + 1):
            rows = torch.randint(increments.shape[0], (batch,), generator=generator)
            times = torch.randint(increments.shape[1], (batch,), generator=generator)
            before = states[rows, times]
            noise = INPUT_NOISE * torch.randn(before.shape, generator=generator)
            aim = increments[rows, times] - noise
            loss = ((_applied(network, before + noise) - aim) / scale).square().mean()
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            _average(average, network, min(AVERAGING, step / (step + 10)))
            if checks and (step == steps or step % -(-steps // checks) == 0):
                error = self._validated(average, held_out, stride)
                if error < best[0] or not np.isfinite(best[0]):
                    best = error, copy.deepcopy(average)
        return best

    def _validated(self, network: FourierOperator, held_out: np.ndarray, stride: int) -> float:
        frames = tuning.judged(held_out.shape[1], self.warmup)
        leads = (frames - (self.warmup - 1)).astype(float)
        forecast = self._rolled(network, held_out[:, self.warmup - 1 : self.warmup], leads, stride)
        if not np.isfinite(forecast).all():
            return np.inf
        return arrays.relative_error(forecast, held_out[:, frames], None)

    @torch.no_grad()
    def _rolled(
        self, network: FourierOperator, start: np.ndarray, leads: np.ndarray, stride: int
    ) -> np.ndarray:
        """Values (trajectory, time, …) ``leads`` frames after ``start`` (trajectory, 1, …)."""
        path = [self._encoded(start)[:, 0]]
        for _ in range(int(np.ceil(leads.max(initial=0) / stride)) + 1):
            path.append(path[-1] + _applied(network, path[-1]))
        states = torch.stack(path, dim=1).numpy().astype(float)
        return self._decoded(arrays.between(states, leads / stride, DIVERGED))

    def forecast_blocks(
        self, initial: xr.Dataset, times: np.ndarray, members: int = 1, generator: Randomness = None
    ) -> Iterator[xr.Dataset]:
        """One block with one member."""
        if self._network is None:
            raise InputError(f"{self.name} is not fitted: call fit(data) first")
        values, mask = arrays.last_snapshots(initial, self.warmup, self.name)
        start = arrays.filled(values, mask, self._arrays["mean"])[:, -1:]
        leads = (times - float(initial["time"].values[-1])) / self._step
        forecast = self._rolled(self._network, start, leads, self.choice["stride"])
        yield arrays.as_forecast(forecast, initial, times)

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Weights, grid and scales; what was chosen."""
        if self._network is None:
            raise InputError(f"{self.name} is not fitted: call fit(data) first")
        weights = self._network.state_dict()
        return self._arrays | {f"network.{key}": part.numpy() for key, part in weights.items()}, {
            "warmup": self.warmup,
            "steps": self.steps,
            "seed": self.seed,
            "budget_seconds": self.budget_seconds,
            "choice": self.choice,
            "validation_error": self.validation_error,
            "step": self._step,
            "shape": self._shape,
        }

    @classmethod
    def restore(cls, arrays: dict[str, np.ndarray], settings: dict[str, Any]) -> Self:
        """From what ``state`` returned."""
        given = (settings[key] for key in ("warmup", "steps", "seed", "budget_seconds"))
        fitted = cls(*given)
        fitted.choice, fitted._step = settings["choice"], settings["step"]
        fitted.validation_error, fitted._shape = settings["validation_error"], settings["shape"]
        fitted._arrays = {
            name: array for name, array in arrays.items() if not name.startswith("network.")
        }
        fitted._matrices = fitted._transfers()
        fitted._network = fitted._built()
        weights = {
            name.removeprefix("network."): torch.from_numpy(np.array(array))
            for name, array in arrays.items()
            if name.startswith("network.")
        }
        fitted._network.load_state_dict(weights)
        return fitted


def _applied(network: FourierOperator, states: Tensor) -> Tensor:
    """The increment; where an axis is not periodic the network also reads the coordinates."""
    if all(network.periodic):
        return network(states)
    axes = [torch.linspace(0, 1, size) for size in states.shape[2:]]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    return network(torch.cat([states, grid.expand(len(states), *grid.shape)], dim=1))


@torch.no_grad()
def _average(average: FourierOperator, network: FourierOperator, decay: float) -> None:
    for kept, new in zip(average.parameters(), network.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)
