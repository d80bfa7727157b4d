"""The stochastic multiscale model: a generative SDE over two scales, as a Pyro program."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Self

import pyro
import torch
import xarray as xr
from pyro import poutine
from pyro.distributions import Normal, TorchDistribution
from pyro.nn import PyroModule
from torch import Tensor

from pyro_msm import data as datasets
from pyro_msm.data.windows import WindowBatch
from pyro_msm.distributions import SDEPath
from pyro_msm.models.initialise import Statistics, check_order, measure
from pyro_msm.nn.multiscale import MultiscaleNetwork
from pyro_msm.nn.physics import KnownDrift, Physics

_instances = itertools.count()


def announced(module: PyroModule, name: str) -> Any:
    """A plain submodule, announced to Pyro's parameter store only where that store is in use.

    Attribute access on a ``PyroModule`` makes a ``pyro.param`` statement of each parameter below.
    Under ``module_local_params`` nobody needs them, and they cost a tenth of a training step.
    """
    if pyro.settings.get("module_local_params"):
        return module._modules[name]
    return getattr(module, name)


class MultiscaleSDE(PyroModule):
    r"""Stochastic multiscale model of a field (Ilersich & Nair, NeurIPS 2025).

    The state z = (ζ, η) is a macroscale state ζ on a coarse grid and a microscale state η of a few
    numbers. The generative process of a window of N snapshots is

    .. math::
        z(t_0) &\sim N(\mu_0, \mathrm{diag}\,\sigma_0^2) \\
        dz &= [f_\theta(\zeta, \varphi(\eta)),\; g_\theta(\eta, \psi(\zeta))]\,dt
              + L_\theta\,d\beta \\
        y_i &\sim \mathrm{ProductOfExperts}(
              D_\zeta(\zeta(t_i)), D_\eta(\eta(t_i)), \Sigma_\zeta, \Sigma_\eta)

    with the sample sites ``state`` (N, state) and ``field`` (N, channel, *grid) in the plate
    ``windows``. ``micro=0`` is the macro-only (closure) model. ``docs/multiscale.md`` maps symbols
    to names.

    Args:
        grid: points of each axis of the field.
        macro: coarse points of each axis.
        boundary: "periodic", "wall" or "open" for each axis.
        channels: channels of the field.
        micro: n_η.
        rank: modes of the basis that the microscale decoder writes in.
        hidden: width of the microscale encoder's and decoder's perceptrons.
        drift_hidden: width of the macroscale drift's hidden layers; the microscale drift's are
            twice as wide.
        drift_layers: their number.
        neighbourhood: coarse points along an axis that the macroscale drift sees, odd.
        view: width of ψ(ζ), see ``MicroDrift``.
        parameters: number of known parameters μ of a trajectory.
        forcing: number of forcing components f(t).
        time_input: whether the drifts see the time. Off by default: it lets a model memorise a
            timetable instead of learning dynamics.
        frame: "fixed", or "comoving" on one periodic axis: the parts that are tied to places see
            the field in a frame that moves with it (see ``nn.comoving``), which makes the whole
            model translation equivariant; two components of η are the frame's angle.
        detail: width of the perceptron by which D_ζ is more than a linear prolongation, see
            ``nn.detail.LocalDetail``; 0: it is linear.
        closure: share of the waves of ζ on an axis, the longest, that the learned drift sees and
            changes where physics is known.
        dispersion: "constant", or "state": the dispersion of each scale depends on the other scale,
            see ``nn.dispersion.StateGain``; constant with ``micro=0``.
        order: 1, or 2: the macroscale state holds the rates of its values beside these, dζ = ζ̇ dt
            and more, dζ̇ = …, as waves need whose momentum is not observed. The encoder sees the
            rates in its ``snapshots``, two at least.
        snapshots: consecutive snapshots that the encoder sees at once.
        std_floor: least posterior standard deviation, relative to the state's scale: the width of
            the tube of states in which the drift is trained.
        quadrature: strata of the path term's random quadrature.
        physics: known physics, to which the learned macroscale drift is added as its closure: the
            coefficients of an equation's terms, see ``nn.physics.FilteredEquation``, or the name
            of a function, "package.module:name", as ``known_drift`` is one.
        spacing: distance between grid points, each axis; an equation by its terms needs it.
        known_drift: known physics as a function (ζ, t, μ) → dζ/dt in the field's units, which no
            checkpoint can hold; ζ is (…, channel, *macro); t (…) and μ (…, parameter) broadcast
            with the leading dimensions of ζ.

    ``for_data`` takes the sizes, scales and initial weights from a dataset.

    Raises:
        InputError: ``physics`` that does not fit the field, or cannot be imported; an ``order``
            that does not go with the other settings.
    """

    network: MultiscaleNetwork

    def __init__(
        self,
        grid: Sequence[int],
        macro: Sequence[int],
        boundary: Sequence[str],
        *,
        channels: int = 1,
        micro: int = 5,
        rank: int = 32,
        hidden: int = 128,
        drift_hidden: int = 64,
        drift_layers: int = 2,
        neighbourhood: int = 5,
        view: int = 64,
        parameters: int = 0,
        forcing: int = 0,
        time_input: bool = False,
        frame: str = "fixed",
        detail: int = 0,
        closure: float = 0.5,
        dispersion: str = "constant",
        order: int = 1,
        snapshots: int = 1,
        std_floor: float = 0.01,
        quadrature: int = 4,
        physics: Physics | None = None,
        spacing: Sequence[float] | None = None,
        known_drift: KnownDrift | None = None,
    ) -> None:
        known = physics is not None or known_drift is not None
        check_order(order, snapshots, frame, known)
        # A name of its own keeps the parameters of two models apart in Pyro's global store; made
        # under local parameters, the module can be used under either setting.
        with pyro.settings.context(module_local_params=True):
            super().__init__(name=f"multiscale{next(_instances)}")
        sizes: dict[str, Any] = {
            "grid": list(grid), "macro": list(macro), "boundary": list(boundary),
            "channels": channels, "micro": micro, "rank": rank, "hidden": hidden,
            "drift_hidden": drift_hidden, "drift_layers": drift_layers,
            "neighbourhood": neighbourhood, "view": view, "parameters": parameters,
            "forcing": forcing, "time_input": time_input, "frame": frame, "detail": detail,
            "closure": closure, "dispersion": dispersion, "order": order,
            "physics": dict(physics) if isinstance(physics, Mapping) else physics,
            "spacing": None if spacing is None else list(spacing),
        }  # fmt: skip
        self.settings = sizes | {
            "snapshots": snapshots, "std_floor": std_floor, "quadrature": quadrature,
        }  # fmt: skip
        self.known_by_hand = known_drift is not None
        self.network = MultiscaleNetwork(**sizes, known_drift=known_drift)
        self.quadrature = quadrature
        # Where an encoder may start from; not part of the generative model.
        width = self.network.decoder.basis.shape[1] if micro else 0
        self.encoder_basis = torch.zeros(rank, width)
        self.encoder_offset = torch.zeros(rank)

    @classmethod
    def for_data(
        cls, data: xr.Dataset, macro: int | Sequence[int], micro: int = 5, **settings: Any
    ) -> Self:
        """A model with sizes, scales and initial weights from the ``train`` split of ``data``.

        Args:
            data: a validated dataset with a ``field``.
            macro: coarse points of each axis (one number for all).
            micro: n_η.
            **settings: any other argument of the class; ``rank`` is then the largest allowed.

        Raises:
            InputError: ``macro`` does not fit the grid, or there is no ``train`` split.
        """
        known = any(settings.get(name) is not None for name in ("physics", "known_drift"))
        found = measure(
            data, macro, micro, settings.get("rank", 32), settings.get("frame", "fixed"),
            sharp=known, order=settings.get("order", 1),
        )  # fmt: skip
        model = cls(
            found.grid,
            found.macro,
            found.boundary,
            micro=micro,
            **({"spacing": _spacing(data)} | settings | found.sizes),
        )
        model.initialise(found)
        return model

    def initialise(self, statistics: Statistics) -> None:
        """Sets scales and initial weights to what was measured on training data."""
        with torch.no_grad():
            for name, value in statistics.buffers.items():
                self.network.get_buffer(name).copy_(value)
            for name, value in statistics.parameters.items():
                self.network.get_parameter(name).copy_(value)
        if statistics.encoder_basis is not None and statistics.encoder_offset is not None:
            self.encoder_basis = statistics.encoder_basis
            self.encoder_offset = statistics.encoder_offset

    def path(self, batch: WindowBatch, network: MultiscaleNetwork) -> SDEPath:
        """The prior over the latent paths of a batch of windows."""

        # One set of parameters for all times of a window.
        parameters = None if batch.parameters is None else batch.parameters[:, None]

        def drift(times: Tensor, state: Tensor) -> Tensor:
            context = network.context(times, batch.parameters, batch.forcing)
            return network.drift(times, state, context, parameters)

        initial = Normal(network.initial_mean, network.initial_log_std.exp(), validate_args=False)
        return SDEPath(
            drift, network.dispersion, initial.to_event(1).expand(batch.start.shape), batch.times,
            start=batch.start, initial_weight=batch.initial_weight, quadrature=self.quadrature,
            gain=None if self.network.state_gain is None else lambda _, state: network.gain(state),
            validate_args=False,
        )  # fmt: skip

    def dynamics(self, network: MultiscaleNetwork, batch: WindowBatch) -> Any:
        """What has drift and dispersion: the network itself, unless weights are random."""
        return network

    def forward(self, batch: WindowBatch, observed: bool = True) -> Tensor:
        """The generative program of a batch of windows.

        Args:
            batch: the windows.
            observed: condition on the batch's observations; otherwise draw them.

        Returns:
            The field (batch, N, channel, *grid), or at the batch's points only.
        """
        network = announced(self, "network")
        dynamics = self.dynamics(network, batch)
        with pyro.plate("windows", len(batch)):
            with poutine.scale(scale=batch.path_scale):
                state = pyro.sample("state", self.path(batch, dynamics))
            law: TorchDistribution = network.experts(state, batch.points)
            if batch.mask is not None:
                law = law.mask(batch.at_points(batch.mask))
            with poutine.scale(scale=batch.likelihood_scale):
                result: Tensor = pyro.sample(
                    "field",
                    law.to_event(len(law.batch_shape) - 1),
                    obs=batch.at_points(batch.observation) if observed else None,
                )
        return result


def _spacing(data: xr.Dataset) -> list[float]:
    """Distance between the grid points of each axis."""
    axes = [data[axis].values for axis in datasets.space_axes(data)]
    return [float(axis[-1] - axis[0]) / (len(axis) - 1) for axis in axes]
