"""Windows of a dataset: the minibatches that the models train on."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from pyro_msm.data.snapshots import Snapshots
from pyro_msm.errors import InputError


@dataclass(frozen=True)
class Forcing:
    """A forcing series of each window, linear between its samples and held beyond them.

    Attributes:
        times: (T,) absolute, increasing.
        values: (batch, T, component).
    """

    times: Tensor
    values: Tensor

    @classmethod
    def of(cls, series: xr.DataArray, device: torch.device | str) -> Self:
        """That of a variable ``forcing``, whose times are along its second dimension."""
        times = np.asarray(series[series.dims[1]].values, np.float32)
        values = np.asarray(series.values, np.float32)
        return cls(torch.tensor(times, device=device), torch.tensor(values, device=device))

    def __call__(self, times: Tensor) -> Tensor:
        """Values (batch, n, component) at absolute ``times`` (batch, n)."""
        if len(self.times) == 1:
            return self.values.expand(-1, times.shape[1], -1)
        right = torch.searchsorted(self.times, times.contiguous()).clamp(1, len(self.times) - 1)
        before, after = self.times[right - 1], self.times[right]
        share = ((times - before) / (after - before)).clamp(0, 1)[..., None]
        rows = torch.arange(len(self.values), device=right.device)[:, None]
        return (1 - share) * self.values[rows, right - 1] + share * self.values[rows, right]


@dataclass(frozen=True)
class WindowBatch:
    """A minibatch of windows: N snapshots each, at the same relative times.

    Attributes:
        field: (batch, N, snapshots, channel, *grid) each snapshot with those just before it (the
            encoder's view); the last one is the observation.
        times: (N,) from the window's start.
        start: (batch,) absolute time of the first observation.
        mask: like ``observation``, True where observed; None where everything is.
        parameters: (batch, parameter) or None.
        forcing: as a function of absolute time, or None.
        initial_weight: (batch,) weight of the KL divergence at the first time.
        points: (P,) grid points, the grid flattened, where the likelihood is evaluated; None means
            everywhere.
        likelihood_scale: observations in the data for each one in the batch.
        path_scale: time in the data for each unit of time in the batch.
        weights_scale: weight of what belongs to no window: 1 in a bound that is not scaled.
    """

    field: Tensor
    times: Tensor
    start: Tensor
    initial_weight: Tensor
    mask: Tensor | None = None
    parameters: Tensor | None = None
    forcing: Forcing | None = None
    points: Tensor | None = None
    likelihood_scale: float = 1.0
    path_scale: float = 1.0
    weights_scale: float = 1.0

    @property
    def observation(self) -> Tensor:
        """(batch, N, channel, *grid)."""
        return self.field[:, :, -1]

    def at_points(self, values: Tensor) -> Tensor:
        """``values`` (batch, N, channel, *grid) where the likelihood is evaluated."""
        return values if self.points is None else values.flatten(3)[..., self.points]

    def __len__(self) -> int:
        return len(self.field)


@dataclass
class Windows:
    """Draws random windows from the trajectories of a dataset.

    A window is ``length`` snapshots, ``stride`` time steps apart. Starts are uniform over a range
    that reaches half a window beyond either end and are then clamped, so that the first and last
    snapshots of a trajectory, which few windows hold, are not neglected.

    The field is not copied; of one that is too large for the memory a window reads its snapshots
    from disk, and those of the next windows while these are used (see ``Snapshots``).

    Args:
        data: a validated dataset with a ``field``, one split (see ``data.select``).
        length: N, snapshots of a window.
        stride: time steps between them; reduced where a trajectory is too short.
        snapshots: consecutive snapshots that the encoder sees at once.
        device: where the data and the batches live.

    Raises:
        InputError: fewer snapshots in a trajectory than a window needs.
    """

    data: xr.Dataset
    length: int = 8
    stride: int = 16
    snapshots: int = 1
    device: torch.device | str = "cpu"

    def __post_init__(self) -> None:
        count = self.data.sizes["time"]
        check_length(self.data, self.length, self.snapshots)
        self.stride = min(self.stride, (count - self.snapshots) // (self.length - 1))
        self._snapshots = Snapshots(self.data, self.device)
        times = np.asarray(self.data["time"].values, float)
        self.step = float((times[-1] - times[0]) / (count - 1))
        self._times = torch.tensor(times, dtype=torch.float32, device=self.device)
        self._parameters = None
        if "parameters" in self.data:
            values = np.asarray(self.data["parameters"].values, np.float32)
            self._parameters = torch.tensor(values, device=self.device)
        self._forcing = None
        if "forcing" in self.data:
            self._forcing = Forcing.of(self.data["forcing"], self.device)
        reach = self.stride * (self.length - 1)
        self._last_start = count - self.snapshots - reach
        margin = reach // 2
        self._choices = torch.arange(-margin, self._last_start + margin + 1).clamp(
            0, self._last_start
        )
        self._first_probability = float((self._choices == 0).float().mean())
        self._relative = torch.arange(self.length) * self.stride

    @property
    def times(self) -> Tensor:
        """(N,) times of a window's snapshots from its start."""
        return (self._relative * self.step).to(self._times)

    @property
    def trajectories(self) -> int:
        """How many the data hold."""
        return int(self._snapshots.shape[0])

    @property
    def values(self) -> int:
        """Numbers in one snapshot."""
        return math.prod(self._snapshots.shape[2:])

    @property
    def observed_numbers(self) -> int:
        """How many numbers have been observed in all."""
        return self._snapshots.observed

    def draw(
        self,
        batch: int,
        generator: torch.Generator | None = None,
        points: int | None = None,
        share: slice = slice(None),
    ) -> WindowBatch:
        """``batch`` windows, each from a random trajectory and start (a CPU generator).

        With ``points`` the likelihood is evaluated at so many random grid points only, the same for
        all windows, and scaled up: an unbiased estimate at a fraction of the cost.

        With ``share`` all are drawn, and those of the share returned, scaled as their own batch.
        """
        trajectories, count = self._snapshots.shape[:2]
        which, start = (drawn[share] for drawn in self._choose(batch, generator))
        own = len(which)
        duration = trajectories * (count - 1) * self.step
        path_scale = duration / (own * float(self.step * self._relative[-1]))
        initial_weight = (start == 0) * (
            trajectories / (own * self._first_probability * path_scale)
        )
        seen, chosen_points = 1.0, None
        whole = math.prod(self._snapshots.shape[3:])
        if points is not None and points < whole:
            chosen_points = torch.randint(whole, (points,), generator=generator)
            chosen_points, seen = chosen_points.to(self.device), points / whole
        windows = self.cut(which, start)
        self._read_ahead(batch, generator, share)
        return replace(
            windows,
            initial_weight=initial_weight.to(self._times),
            points=chosen_points,
            likelihood_scale=trajectories * count / (own * self.length * seen),
            path_scale=path_scale,
        )

    def _choose(self, batch: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Trajectory and first time step of random windows."""
        which = torch.randint(self._snapshots.shape[0], (batch,), generator=generator)
        chosen = torch.randint(len(self._choices), (batch,), generator=generator)
        return which, self._choices[chosen]

    def _read_ahead(self, batch: int, generator: torch.Generator | None, share: slice) -> None:
        """Begins to read what the next draw will choose, if it is like this one.

        The generator is left as it is: its state is what a checkpoint keeps.
        """
        if generator is not None and self._snapshots.on_disk:
            following = torch.Generator()
            following.set_state(generator.get_state())
            which, start = (drawn[share] for drawn in self._choose(batch, following))
            self._snapshots.read_ahead(which, self._steps(start))

    def _steps(self, start: Tensor) -> Tensor:
        """Time steps (batch, N, snapshots) of the windows that start at (batch,)."""
        return start[:, None, None] + self._relative[:, None] + torch.arange(self.snapshots)

    def end_to_end(self) -> Tensor:
        """(n,) time steps at which windows start that together cover a trajectory to its end."""
        starts = torch.arange(0, self._last_start, int(self._relative[-1]))
        return torch.cat([starts, torch.tensor([self._last_start])])

    def cut(self, trajectory: Tensor, start: Tensor) -> WindowBatch:
        """The windows of given trajectories (batch,) that start at given time steps (batch,)."""
        steps = self._steps(start)
        seen, observed = self._snapshots.read(trajectory, steps)
        parameters = None if self._parameters is None else self._parameters[trajectory]
        forcing = None
        if self._forcing is not None:
            forcing = replace(self._forcing, values=self._forcing.values[trajectory])
        return WindowBatch(
            field=seen,
            times=self.times,
            start=self._times[steps[:, 0, -1]],
            initial_weight=(start == 0).to(self._times),
            mask=None if observed is None else observed[:, :, -1],
            parameters=parameters,
            forcing=forcing,
        )


def check_length(data: xr.Dataset, length: int, snapshots: int) -> None:
    """Raises ``InputError`` if a trajectory has fewer snapshots than a window needs."""
    count, needed = data.sizes["time"], length + snapshots - 1
    if count < needed:
        raise InputError(
            f"a window needs {needed} snapshots, the training trajectories have {count}: "
            f"lower training.window_length (now {length})"
        )
