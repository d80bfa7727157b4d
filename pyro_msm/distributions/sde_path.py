"""The prior over latent paths: the law of an SDE with diagonal dispersion."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
import torchsde
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

Drift = Callable[[Tensor, Tensor], Tensor]
Dispersion = Callable[[Tensor], Tensor]


class SDEPath(TorchDistribution):
    r"""Paths of dz = f(t, z) dt + L(t, z) dβ at given times, from a random initial state.

    Args:
        drift: f(t, z) with t (batch…, n) and z (sample…, batch…, n, state), n any number of times;
            returns the shape of z.
        dispersion: the diagonal of L: a tensor (state,), or a function of t (batch…, n) that
            returns (batch…, n, state). In units of the state over the square root of time.
        gain: where L depends on the state, the function of t and z, like ``drift``, that multiplies
            ``dispersion``. The gain of a component must not depend on this component: neither the
            KL divergence nor the scheme have the terms that its derivative would bring.
        initial: law of the state at the first time, batch shape (batch…) and event shape (state,).
        times: (N,) times from the start of the window, increasing.
        start: (batch…) absolute time of the window's start; drift and dispersion see absolute time.
        initial_weight: (batch…) weight of the initial law in ``log_prob`` and in the KL divergence.
            A window cut from the middle of a trajectory gets 0: its first state is conditioned on.
            Windows that start a trajectory may get an importance weight above 1.
        quadrature: number of strata in the KL divergence's random quadrature over time.

    ``rsample`` integrates with torchsde's Euler–Maruyama scheme on the given times; ``log_prob`` is
    the density of that scheme, up to ``initial_weight``.

    Example:
        >>> import torch
        >>> from pyro.distributions import Normal
        >>> _ = torch.manual_seed(0)
        >>> initial = Normal(torch.zeros(1), torch.ones(1)).to_event(1)
        >>> path = SDEPath(lambda t, z: -z, torch.ones(1), initial, torch.linspace(0, 1, 11))
        >>> path.rsample((7,)).shape
        torch.Size([7, 11, 1])
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.independent(constraints.real, 2)
    has_rsample = True

    def __init__(
        self,
        drift: Drift,
        dispersion: Tensor | Dispersion,
        initial: Distribution,
        times: Tensor,
        *,
        start: Tensor | None = None,
        initial_weight: Tensor | None = None,
        quadrature: int = 8,
        gain: Drift | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self.drift, self.initial, self.times = drift, initial, times
        self._dispersion, self.gain = dispersion, gain
        self.start = times.new_zeros(()) if start is None else start
        if initial_weight is None:
            initial_weight = torch.ones_like(self.start)
        self.initial_weight = initial_weight
        self.quadrature = quadrature
        batch_shape = torch.broadcast_shapes(
            initial.batch_shape, self.start.shape, self.initial_weight.shape
        )
        event_shape = times.shape + initial.event_shape
        super().__init__(batch_shape, event_shape, validate_args=validate_args)

    def dispersion(self, times: Tensor) -> Tensor:
        """The diagonal of L at absolute ``times`` (batch…, n): broadcasts to (batch…, n, state)."""
        if isinstance(self._dispersion, Tensor):
            return self._dispersion
        return self._dispersion(times)

    def dispersion_at(self, times: Tensor, state: Tensor) -> Tensor:
        """The diagonal of L at absolute ``times`` (batch…, n) and states (…, batch…, n, state)."""
        dispersion = self.dispersion(times)
        return dispersion if self.gain is None else dispersion * self.gain(times, state)

    def absolute(self, times: Tensor) -> Tensor:
        """(batch…, n) absolute times of ``times`` (n,) within each window."""
        return self.start[..., None] + times

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Euler–Maruyama paths, (sample…, batch…, N, state)."""
        first = self.initial.expand(self.batch_shape).rsample(torch.Size(sample_shape))
        # In units of steps, so that the scheme's steps are the given intervals, uniform or not.
        # torchsde seeds itself from NumPy's global generator unless told; float64 times keep its
        # Brownian interval fast.
        steps = torch.arange(len(self.times), dtype=torch.float64)
        brownian = torchsde.BrownianInterval(
            t0=0.0,
            t1=float(steps[-1]),
            size=(first[..., 0].numel(), first.shape[-1]),
            dtype=first.dtype,
            device=first.device,
            entropy=int(torch.randint(2**31, ())),
            dt=1.0,
        )
        path = torchsde.sdeint(
            _Integrand(self, first.shape),
            first.reshape(-1, first.shape[-1]),
            steps,
            bm=brownian,
            method="euler",
            dt=1.0,
        )
        return path.reshape(len(steps), *first.shape).movedim(0, -2).to(first.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        """Euler–Maruyama density of paths (sample…, batch…, N, state)."""
        if self._validate_args:
            self._validate_sample(value)
        step = self.times.diff()[:, None]
        now = self.absolute(self.times[:-1])
        mean = value[..., :-1, :] + step * self.drift(now, value[..., :-1, :])
        std = self.dispersion_at(now, value[..., :-1, :]) * step.sqrt()
        score = (value[..., 1:, :] - mean) / std
        transitions = -0.5 * score.square() - std.log() - 0.5 * math.log(2 * math.pi)
        first = self.initial_weight * self.initial.log_prob(value[..., 0, :])
        return transitions.sum((-2, -1)) + first

    def expand(self, batch_shape: Any, _instance: Any = None) -> SDEPath:
        """The same law for every window of a larger batch."""
        new = self._get_checked_instance(SDEPath, _instance)
        batch_shape = torch.Size(batch_shape)
        for name in ("drift", "_dispersion", "gain", "times", "quadrature"):
            setattr(new, name, getattr(self, name))
        new.initial = self.initial.expand(batch_shape)
        new.start = self.start.expand(batch_shape)
        new.initial_weight = self.initial_weight.expand(batch_shape)
        super(SDEPath, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new


class _Integrand(nn.Module):
    """An SDEPath as torchsde wants it: one flat batch dimension, time counted in steps."""

    noise_type = "diagonal"
    sde_type = "ito"

    def __init__(self, path: SDEPath, shape: torch.Size) -> None:
        super().__init__()
        self.path, self.shape = path, shape
        self.now, self.spacing = path.absolute(path.times), path.times.diff()

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        step = round(float(t))
        state = y.reshape(self.shape)[..., None, :]
        rate = self.path.drift(self.now[..., step : step + 1], state)
        return (self.spacing[step] * rate).reshape(y.shape)

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        step = round(float(t))
        state = y.reshape(self.shape)[..., None, :]
        dispersion = self.path.dispersion_at(self.now[..., step : step + 1], state)
        if dispersion.dim() > 1:
            dispersion = dispersion[..., 0, :]
        return (self.spacing[step].sqrt() * dispersion).expand(self.shape).reshape(y.shape)
