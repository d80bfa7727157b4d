"""The stochastic multiscale model with a prior over the weights of its drift and dispersion."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

import pyro
import torch
import xarray as xr
from pyro import poutine
from pyro.distributions import Normal
from pyro.nn import PyroModule
from torch import Tensor, nn
from torch.func import functional_call, vmap

from pyro_msm.data.windows import WindowBatch
from pyro_msm.models.multiscale import MultiscaleSDE, announced
from pyro_msm.nn.multiscale import MultiscaleNetwork

#: Parameters of ``MultiscaleNetwork`` that are random, by the beginnings of their names.
RANDOM = ("macro_drift.", "micro_drift.", "log_dispersion")

#: Prior standard deviation of ln L: a factor of e either way.
DISPERSION_SCALE = 1.0


class WeightPrior(PyroModule):
    r"""Independent normal prior over some parameters of a module, as one sample site ``weights``.

    A matrix (…, inputs) gets N(0, s²/inputs), which keeps a layer's outputs of the size of its
    inputs whatever its width (Neal, *Bayesian Learning for Neural Networks*, 1996); a vector gets
    N(0, s²); one whose name begins with ``log_`` is centred where it stands.

    Args:
        module: whose parameters (or buffers) are random; it is not kept.
        names: theirs.
        scale: s.

    Example:
        >>> import torch
        >>> prior = WeightPrior(torch.nn.Linear(100, 2), ["weight", "bias"])
        >>> prior().shape
        torch.Size([202])
        >>> prior.unflatten(prior())["weight"].shape
        torch.Size([2, 100])
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, module: nn.Module, names: Iterable[str], scale: float = 1.0) -> None:
        with pyro.settings.context(module_local_params=True):
            super().__init__(name="weights")
        state = module.state_dict()
        tensors = {name: state[name] for name in names}
        self.shapes = {name: tensor.shape for name, tensor in tensors.items()}
        laws = [_law(name, tensor, scale) for name, tensor in tensors.items()]
        self.register_buffer("centre", torch.cat([centre.flatten() for centre, _ in laws]))
        self.register_buffer("scale", torch.cat([spread.flatten() for _, spread in laws]))

    def forward(self) -> Tensor:
        """Samples all weights, one vector (weights,)."""
        law = Normal(self.centre, self.scale, validate_args=False).to_event(1)
        result: Tensor = pyro.sample("weights", law)
        return result

    def unflatten(self, weights: Tensor) -> dict[str, Tensor]:
        """(…, weights) → the parameters by name, each (…, *shape)."""
        sizes = [shape.numel() for shape in self.shapes.values()]
        parts = weights.split(sizes, -1)
        return {
            name: part.unflatten(-1, shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def flatten(self, module: nn.Module) -> Tensor:
        """The parameters of ``module`` as one vector (weights,)."""
        state = module.state_dict()
        return torch.cat([state[name].flatten() for name in self.shapes])


def _law(name: str, tensor: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Centre and standard deviation of the prior of a parameter."""
    if name.rpartition(".")[2].startswith("log_"):
        return tensor.clone(), torch.full_like(tensor, DISPERSION_SCALE)
    inputs = tensor.shape[-1] if tensor.dim() > 1 else 1
    return torch.zeros_like(tensor), torch.full_like(tensor, scale / inputs**0.5)


class DrawnDynamics:
    """Drift and dispersion with weights drawn from a prior or a posterior.

    All else is the network's own, so that it stands for the network in ``MultiscaleSDE.path``.

    Args:
        network: the networks; their own parameters are not touched.
        weights: the drawn parameters by name; with a leading dimension ``member`` each member of
            an ensemble has weights of its own.
        members: whether there is that dimension.
    """

    def __init__(
        self, network: MultiscaleNetwork, weights: Mapping[str, Tensor], members: bool = False
    ) -> None:
        self._network, self._members = network, members
        self._weights = {f"network.{name}": value for name, value in weights.items()}
        self._part = _Part(network)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_network"], name)

    def drift(
        self,
        times: Tensor,
        state: Tensor,
        context: Tensor | None = None,
        parameters: Tensor | None = None,
    ) -> Tensor:
        """As ``MultiscaleNetwork.drift``; with members the states are (member, …, state)."""

        return self._with_weights(lambda state: ("drift", times, state, context, parameters), state)

    def learned_drift(self, state: Tensor, context: Tensor | None = None) -> Tensor:
        """As ``MultiscaleNetwork.learned_drift``; states as for ``drift``."""
        return self._with_weights(lambda state: ("learned_drift", state, context), state)

    def _with_weights(self, inputs: Callable[[Tensor], tuple[Any, ...]], state: Tensor) -> Tensor:
        """The part of the network that ``inputs`` names, with the drawn weights."""

        def one(weights: dict[str, Tensor], state: Tensor) -> Tensor:
            result: Tensor = functional_call(self._part, weights, inputs(state))
            return result

        return vmap(one)(self._weights, state) if self._members else one(self._weights, state)

    @property
    def dispersion(self) -> Tensor:
        """(state,), or (member, 1, state) for (member, trajectory, state)."""

        def one(weights: dict[str, Tensor]) -> Tensor:
            result: Tensor = functional_call(self._part, weights, ("dispersion",))
            return result

        return vmap(one)(self._weights)[:, None] if self._members else one(self._weights)


class _Part(nn.Module):
    """Gives ``functional_call`` the methods of the network that the weights enter."""

    def __init__(self, network: MultiscaleNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, name: str, *inputs: Any) -> Any:
        part = getattr(self.network, name)
        return part(*inputs) if inputs else part


class BayesianMultiscaleSDE(MultiscaleSDE):
    r"""A ``MultiscaleSDE`` whose drift and dispersion weights θ are random.

    .. math:: \theta \sim N(\theta_0, \mathrm{diag}\,s^2), \qquad dz = f_\theta(t, z)\,dt
        + L_\theta\,d\beta

    with one more sample site, ``weights``, for the whole dataset (see ``WeightPrior``). Scale
    separation, decoders and observation noise stay point estimates. Its guide is
    ``BayesianPathGuide``. In the network those parameters are buffers: where the posterior starts.

    Args:
        grid: as for ``MultiscaleSDE``.
        macro: as for ``MultiscaleSDE``.
        boundary: as for ``MultiscaleSDE``.
        prior_scale: s of ``WeightPrior``.
        **settings: further arguments of ``MultiscaleSDE``.
    """

    prior: WeightPrior

    def __init__(
        self,
        grid: Sequence[int],
        macro: Sequence[int],
        boundary: Sequence[str],
        *,
        prior_scale: float = 1.0,
        **settings: Any,
    ) -> None:
        super().__init__(grid, macro, boundary, **settings)
        self.prior_scale = prior_scale
        names = [n for n, _ in self.network.named_parameters() if n.startswith(RANDOM)]
        self.prior = WeightPrior(self.network, names, prior_scale)
        for name in names:
            part, _, own = name.rpartition(".")
            module = self.network.get_submodule(part)
            value = module.get_parameter(own).detach()
            delattr(module, own)
            module.register_buffer(own, value)

    @classmethod
    def for_data(
        cls,
        data: xr.Dataset,
        macro: int | Sequence[int],
        micro: int = 5,
        *,
        prior_scale: float = 1.0,
        **settings: Any,
    ) -> Self:
        """See ``MultiscaleSDE.for_data``."""
        return cls.of(MultiscaleSDE.for_data(data, macro, micro, **settings), prior_scale)

    @classmethod
    def of(cls, model: MultiscaleSDE, prior_scale: float = 1.0) -> Self:
        """A model whose posterior starts at the weights of a plain one."""
        known = model.network.known_drift if model.known_by_hand else None
        new = cls(**model.settings, prior_scale=prior_scale, known_drift=known)
        new.network.load_state_dict(model.network.state_dict())
        new.encoder_basis, new.encoder_offset = model.encoder_basis, model.encoder_offset
        new.prior = WeightPrior(new.network, new.prior.shapes, prior_scale)
        return new

    def dynamics(self, network: MultiscaleNetwork, batch: WindowBatch) -> Any:
        """Drift and dispersion with weights of the site ``weights``."""
        prior: WeightPrior = announced(self, "prior")
        with poutine.scale(scale=batch.weights_scale):
            weights = prior()
        return DrawnDynamics(network, prior.unflatten(weights))
