"""Learned effective dynamics: an autoencoder and a propagator of its latents, as Pyro programs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions import Categorical, MixtureSameFamily, Normal, TorchDistribution
from pyro.nn import PyroModule
from torch import Tensor, nn

from pyro_msm.distributions.bounded_mixture import BoundedMixture
from pyro_msm.models.multiscale import announced
from pyro_msm.nn.autoencoder import FieldBasis, FieldDecoder, FieldEncoder
from pyro_msm.nn.latent_dynamics import LatentDynamics, Step
from pyro_msm.nn.latent_sde import LatentSDE
from pyro_msm.nn.particle_sets import MixtureHead, SetEncoder
from pyro_msm.nn.propagator import Propagator

_instances = itertools.count()


@dataclass(frozen=True)
class SnapshotBatch:
    """Snapshots for ``LED.snapshots``.

    Attributes:
        values: (batch, channel, *grid), or (batch, particle, component).
        prior_weight: tempering of the latents' prior (the KL term): 1 is the evidence lower bound.
    """

    values: Tensor
    prior_weight: float = 1.0

    @property
    def weight(self) -> float:
        """``prior_weight``, but above 0, as Pyro wants a scale to be."""
        return max(self.prior_weight, 1e-12)


@dataclass(frozen=True)
class PathBatch:
    """Encoded stretches of trajectories for ``LED.paths``.

    Attributes:
        latents: (batch, N, latent) from which steps start; of those beyond ``forced`` none is read.
        target: (batch, N, latent) one step after each.
        inputs: (batch, N, inputs) known inputs of each step.
        state: (batch, state_size) hidden state of the propagator before the first of them.
        forced: the first so many steps start from the latents given, the others each from the
            prediction before it.
        particles: (batch, n, particle, component) those observed after ``seen``, in whose place the
            latents are then not scored; None scores the latents.
        seen: (n,) numbers of steps.
    """

    latents: Tensor
    target: Tensor
    inputs: Tensor
    state: Tensor
    forced: int
    particles: Tensor | None = None
    seen: Tensor | None = None

    @property
    def observed(self) -> Tensor:
        """What is scored."""
        return self.target if self.particles is None else self.particles


class LED(PyroModule):
    r"""Learned effective dynamics (Vlachas et al., *Nature Machine Intelligence* 2022).

    Two Pyro programs that share a decoder's latents. ``snapshots``, with the guide
    ``AmortizedSnapshotGuide``:

    .. math::
        z \sim N(0, I), \qquad
        x \sim N(D(z), \mathrm{diag}\,\sigma^2) \;\text{or}\;
        x_i \sim \mathrm{BoundedMixture}(\pi(z), \mu(z), L(z)), \; i = 1 \dots n

    for a field, or for the n particles of a set. ``paths``, with nothing latent:

    .. math::
        h_n = \mathrm{cell}(h_{n-1}, z_n, f_n), \qquad z_{n+1} \sim p(\cdot \mid z_n, h_n, f_n)

    a normal law or a mixture. Of particles it can score free runs by what they are decoded to:

    .. math::
        x_{n,i} \sim \mathrm{BoundedMixture}(\pi(z_n), \mu(z_n), L(z_n)), \; i = 1 \dots n

    ``docs/led.md`` maps symbols to names.

    Args:
        shape: (channel, *grid) of a field, or (component,) of particles.
        latent: d_z.
        boundary: of each spatial axis of a field.
        low, high: bounds of each component of particles; None for a field.
        rank: modes of a field's basis.
        network: "mlp", "convolution" or "pod", for fields: see ``nn.autoencoder``.
        hidden: width of encoder and decoder.
        layers: their hidden layers.
        variational: whether the encoder gives a standard deviation (a VAE).
        mixture: components of the decoder of particles.
        inputs: known inputs of a step (forcing, clocks).
        cell: "gru", "lstm", "none", or "sde" for a ``LatentSDE``.
        memory: size of the cell's hidden state.
        propagator_hidden: width of the propagator's perceptron.
        propagator_layers: its hidden layers.
        components: of the propagator's law.
        polynomial: degree of the propagator's polynomial; 0: none.
        substeps: of a ``LatentSDE`` between two snapshots.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int,
        *,
        boundary: Sequence[str] = (),
        low: Sequence[float] | None = None,
        high: Sequence[float] | None = None,
        rank: int = 64,
        network: str = "mlp",
        hidden: int = 100,
        layers: int = 3,
        variational: bool = False,
        mixture: int = 4,
        inputs: int = 0,
        cell: str = "gru",
        memory: int = 50,
        propagator_hidden: int = 64,
        propagator_layers: int = 2,
        components: int = 1,
        polynomial: int = 0,
        substeps: int = 1,
    ) -> None:
        with pyro.settings.context(module_local_params=True):
            super().__init__(name=f"led{next(_instances)}")
        self.settings: dict[str, Any] = {
            "shape": list(shape), "latent": latent, "boundary": list(boundary),
            "low": None if low is None else list(low), "high": None if high is None else list(high),
            "rank": rank, "network": network, "hidden": hidden, "layers": layers,
            "variational": variational, "mixture": mixture, "inputs": inputs, "cell": cell,
            "memory": memory, "propagator_hidden": propagator_hidden,
            "propagator_layers": propagator_layers, "components": components,
            "polynomial": polynomial, "substeps": substeps,
        }  # fmt: skip
        self.particles = low is not None
        self.latent = latent
        if low is not None and high is not None:
            self.register_buffer("low", torch.tensor(low, dtype=torch.float32))
            self.register_buffer("high", torch.tensor(high, dtype=torch.float32))
            self.decoder: nn.Module = MixtureHead(latent, shape[0], mixture, hidden, layers)
        else:
            self.decoder = FieldDecoder(
                FieldBasis(shape, rank), latent, network=network, hidden=hidden, layers=layers,
                periodic="periodic" in boundary,
            )  # fmt: skip
            self.noise = ChannelNoise(shape[0])
        width: dict[str, int] = {"hidden": propagator_hidden, "layers": propagator_layers}
        self.propagator: LatentDynamics = (
            LatentSDE(latent, inputs, **width, substeps=substeps)
            if cell == "sde"
            else Propagator(
                latent, inputs, **width, cell=cell, memory=memory, components=components,
                polynomial=polynomial,
            )
        )  # fmt: skip

    def new_encoder(self) -> nn.Module:
        """An encoder with initial weights that fits this model."""
        s = self.settings
        if self.particles:
            return SetEncoder(
                self.low, self.high, self.latent, hidden=s["hidden"], layers=s["layers"],
                variational=s["variational"],
            )  # fmt: skip
        return FieldEncoder(
            self.basis, self.latent, network=s["network"], hidden=s["hidden"],
            layers=s["layers"], variational=s["variational"],
            periodic="periodic" in s["boundary"],
        )  # fmt: skip

    # --- the generative programs -----------------------------------------------------------------

    def snapshots(self, batch: SnapshotBatch) -> None:
        """Sites ``latent`` and ``field`` or ``particles`` in the plate ``snapshots``."""
        values = batch.values
        with pyro.plate("snapshots", len(values), dim=-1):
            with poutine.scale(scale=batch.weight):
                latents = pyro.sample("latent", self._prior_law())
            if self.particles:
                law = self.particle_law(latents.unsqueeze(-2), announced(self, "decoder"))
                pyro.sample("particles", law.to_event(1), obs=values)
            else:
                mean = announced(self, "decoder")(latents)
                std = announced(self, "noise").std(values.ndim - 2)
                events = values.ndim - 1
                pyro.sample("field", Normal(mean, std).to_event(events), obs=values)

    def paths(self, batch: PathBatch) -> Tensor:
        """Site ``path`` or ``particles`` in the plate ``windows``.

        Returns the hidden state after the last step.
        """
        law, state = self.predicted(batch, announced(self, "propagator"))
        with pyro.plate("windows", len(batch.latents), dim=-1):
            if batch.particles is None:
                pyro.sample("path", step_law(law).to_event(1), obs=batch.target)
            else:
                latents = law.expected()[:, batch.seen].unsqueeze(-2)
                decoded = self.particle_law(latents, announced(self, "decoder"))
                pyro.sample("particles", decoded.to_event(2), obs=batch.particles)
        return state

    def predicted(self, batch: PathBatch, propagator: LatentDynamics) -> tuple[Step, Tensor]:
        """Laws (batch, N, …) of the target of a batch.

        Where it runs free their standard deviations are those that the errors turn out to have:
        what the propagator has learned of a single step says nothing of them.
        """
        forced = batch.forced
        law, state = propagator(batch.latents[:, :forced], batch.inputs[:, :forced], batch.state)
        if forced == batch.inputs.shape[1]:
            return law, state
        start = Step(*(part[:, -1:] if part.ndim > 2 else part for part in law)).expected()[:, 0]
        free, state = propagator.free(start, batch.inputs[:, forced:], state)
        mean = torch.cat([law.expected(), free], 1)
        spread = (batch.target - mean).detach().square().mean((0, 1)).sqrt().clamp_min(1e-12)
        return Step(mean.new_zeros(*mean.shape[:-1], 1), mean.unsqueeze(-2), spread.log()), state

    # --- its parts -------------------------------------------------------------------------------

    @property
    def basis(self) -> FieldBasis:
        """The linear part of a field's autoencoder."""
        found: FieldBasis = self._plain("decoder").basis
        return found

    def particle_law(self, latents: Tensor, decoder: nn.Module | None = None) -> BoundedMixture:
        """The law of a particle given latents (…, latent)."""
        head = self._plain("decoder") if decoder is None else decoder
        logits, location, factor = head(latents)
        return BoundedMixture(logits, location, factor, self.low, self.high, validate_args=False)

    def mean_field(self, latents: Tensor) -> Tensor:
        """Fields (…, channel, *grid) of latents (…, latent)."""
        field: Tensor = self._plain("decoder")(latents)
        return field

    def _plain(self, name: str) -> Any:
        """A submodule, without a word to Pyro."""
        return self._modules[name]

    def _prior_law(self) -> TorchDistribution:
        zero = self.propagator.centre.new_zeros(self.latent)
        return Normal(zero, 1.0).to_event(1)


class ChannelNoise(nn.Module):
    """Standard deviation of each channel about the decoder's field."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_std = nn.Parameter(torch.zeros(channels))

    def std(self, axes: int) -> Tensor:
        """(channel, 1, …) for fields with so many spatial axes."""
        return self.log_std.exp().reshape(-1, *(1 for _ in range(axes)))


def step_law(step: Step) -> TorchDistribution:
    """A propagator's law as a distribution over (…, latent)."""
    if step.mean.shape[-2] == 1:
        std = step.log_std.exp().expand_as(step.mean).squeeze(-2)
        return Normal(step.mean.squeeze(-2), std).to_event(1)
    parts = Normal(step.mean, step.log_std.exp()).to_event(1)
    return MixtureSameFamily(Categorical(logits=step.logits), parts)
