"""Known inputs of the propagator: forcing, parameters and clocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from pyro_msm.data.windows import Forcing


@dataclass(frozen=True)
class KnownInputs:
    """What is known of every step from t to t + ``step``: (trajectory, inputs) at any t.

    Attributes:
        step: duration of a step.
        clock: angular frequencies ω; each gives cos and sin of ω(t + step/2).
        parameters: (trajectory, parameter) or None.
        forcing: as a function of time, or None; its values at both ends of the step are given.
        trajectories: their number.
        device: where the tensors live.
    """

    step: float
    clock: Sequence[float]
    parameters: Tensor | None
    forcing: Forcing | None
    trajectories: int
    device: torch.device

    @classmethod
    def of(
        cls,
        data: xr.Dataset,
        step: float,
        clock: Sequence[float],
        forcing: bool,
        device: torch.device,
    ) -> KnownInputs:
        """Those of a dataset, or of initial data (see ``initial_window``)."""
        parameters = series = None
        if "parameters" in data:
            parameters = _tensor(data["parameters"].values, device)
        if forcing and "forcing" in data:
            series = Forcing.of(data["forcing"], device)
        return cls(step, tuple(clock), parameters, series, data.sizes["trajectory"], device)

    def at(self, times: np.ndarray) -> Tensor:
        """(trajectory, n, inputs) of the steps that begin at ``times`` (n,)."""
        times = np.asarray(times, float)
        parts = []
        for frequency in self.clock:
            phase = frequency * (times + self.step / 2)
            waves = _tensor(np.stack([np.cos(phase), np.sin(phase)], -1), self.device)
            parts.append(waves.expand(self.trajectories, *waves.shape))
        if self.parameters is not None:
            lead = self.trajectories, len(times)
            parts.append(self.parameters[:, None].expand(*lead, -1))
        if self.forcing is not None:
            for when in (times, times + self.step):
                at = _tensor(when, self.device).expand(self.trajectories, len(times))
                parts.append(self.forcing(at))
        if not parts:
            return torch.zeros(self.trajectories, len(times), 0, device=self.device)
        return torch.cat(parts, -1)


def _tensor(values: np.ndarray, device: torch.device) -> Tensor:
    return torch.tensor(np.asarray(values, np.float32), device=device)
