"""The averaged dynamics of a slow variable: a Pyro program whose fast law is a normalizing flow."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.nn import PyroModule
from torch import Tensor, nn
from torch.func import functional_call, jvp

from pyro_msm.data.increments import Increments
from pyro_msm.nn.coupling import Coupling
from pyro_msm.nn.flows import InvariantLaw

#: Prior standard deviation of the logarithm of a learned noise, relative to what the path shows.
NOISE_SCALE = 0.3

#: A linear Σ̄ is at least this share of that at the origin.
LEAST = 0.01


@dataclass(frozen=True)
class Averages:
    """b̄ and Σ̄ at some places, from each of several independent sets of base points.

    Attributes:
        drift: (sets, rows, d).
        covariance: (sets, rows, d, d).
        moment: (rows,) E|Y|^p, over all sets.
    """

    drift: Tensor
    covariance: Tensor
    moment: Tensor


@dataclass(frozen=True)
class PathBatch:
    """What one evaluation of the program sees.

    Attributes:
        increments: rows that stand for the whole record.
        base: points (sets, L, fast) and weights (sets, L), see ``base_points``.
        scale: factor on the whole objective.
    """

    increments: Increments
    base: tuple[Tensor, Tensor]
    scale: float = 1.0


class AveragedSDE(PyroModule):
    r"""dX = b̄(X) dt + Σ̄(X)^{1/2} dW with b̄(x) = E b(x, Y), Σ̄(x) = E σσᵀ(x, Y), Y ~ π_θ(· | x).

    .. math::
        u &\sim N(0, 1), \quad \theta = \text{scale} \cdot u, \\
        \Delta X_k &\sim N(\bar b_\theta(X_k) \Delta_k, \bar\Sigma_\theta(X_k) \Delta_k), \\
        \text{and a factor } & \exp(-\lambda E_{p(x)} E_{\pi_\theta} |Y|^p) .

    All weights u are free coordinates, until ``restrict`` leaves those that a path informs.

    Args:
        coupling: b and σ. Without σ, Σ̄ is a learned constant.
        centre: (d,) by which x is shifted before the flow sees it.
        width: (d,) by which x is then divided.
        conditional: whether the law of Y depends on x (our extension of the paper).
        bins, hidden: see ``InvariantLaw``.
        shape_scale: prior standard deviation of what the splines' knots are made of; 0 is none.
        penalty: λ, in nats.
        power: p.
        linear: take b̄ and Σ̄ as linear in the coordinates of ``restrict``, about its origin. Far
            along a direction of which the path tells little, the flow bends; its linearisation
            gives bands that the data justify.
        noise: (d, d) Cholesky factor of the quadratic variation of the path a unit time, about
            which a constant Σ̄ is learned.
    """

    def __init__(
        self,
        coupling: Coupling,
        centre: Tensor,
        width: Tensor,
        *,
        conditional: bool = True,
        bins: int = 16,
        hidden: int = 16,
        shape_scale: float = 0.5,
        penalty: float = 0.0,
        power: float = 2.0,
        linear: bool = False,
        noise: Tensor | None = None,
    ) -> None:
        with pyro.settings.context(module_local_params=True):
            super().__init__()
        self.coupling, self.conditional, self.linear = coupling, conditional, linear
        self.shape_scale, self.penalty, self.power = shape_scale, penalty, power
        context = coupling.slow if conditional else 0
        self.law = InvariantLaw(coupling.fast, context, bins, hidden).double().requires_grad_(False)
        free = coupling.slow * (coupling.slow + 1) // 2 if coupling.diffusion is None else 0
        self.log_noise = nn.Parameter(torch.zeros(free, dtype=torch.float64), requires_grad=False)
        self.register_buffer("centre", centre.double().clone())
        self.register_buffer("width", width.double().clone())
        self.register_buffer("noise", torch.eye(coupling.slow).double() if noise is None else noise)
        self.register_buffer("scale", self._scales())
        self.register_buffer("origin", torch.zeros_like(self.scale))
        self.register_buffer("basis", None)
        self.register_buffer("unit", None)

    # --- the generative program ----------------------------------------------------------------

    def forward(self, batch: PathBatch) -> None:
        """Scores the increments of a path."""
        with poutine.scale(scale=batch.scale):
            coordinates = pyro.sample("coordinates", self.prior())
            increments = batch.increments
            averages = self.averages_at(coordinates, increments.place, batch.base)
            pyro.factor("path", log_likelihood(increments, averages))
            if self.penalty:
                share = increments.duration / increments.duration.sum()
                pyro.factor("moment", -self.penalty * (share * averages.moment).sum())

    def prior(self) -> dist.TorchDistribution:
        """The law of the coordinates, by which whitened weights are N(0, 1) on the subspace."""
        if self.basis is None:
            return dist.Normal(self.origin, torch.ones_like(self.origin)).to_event(1)
        return dist.Normal(-(self.origin @ self.basis) / self.unit, 1 / self.unit).to_event(1)

    def weights(self, coordinates: Tensor) -> Tensor:
        """θ (…, weights) of coordinates (…, r)."""
        if self.basis is None:
            return self.scale * coordinates
        return self.scale * (self.origin + (self.unit * coordinates) @ self.basis.mT)

    def restrict(self, origin: Tensor, basis: Tensor, unit: Tensor) -> None:
        """From now on the weights lie in origin + V (unit · c), in units of their prior scale.

        Args:
            origin: (weights,).
            basis: V, (weights, r) with orthonormal columns.
            unit: (r,) what a coordinate is measured in.
        """
        self.origin, self.basis, self.unit = origin, basis, unit

    def set_shape_scale(self, value: float) -> None:
        """Another prior standard deviation of what the splines' knots are made of."""
        self.shape_scale = value
        self.scale = self._scales()

    def averages_at(self, coordinates: Tensor, x: Tensor, base: tuple[Tensor, Tensor]) -> Averages:
        """b̄ and Σ̄ at x (rows, d) for coordinates (r,): linear in these if ``linear`` is set."""

        def found(c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            averages = self.averages(self.weights(c), x, base)
            return averages.drift, averages.covariance, averages.moment

        if not self.linear:
            return Averages(*found(coordinates))
        with warnings.catch_warnings():
            # torch compiles its forward mode by a function that it deprecates itself.
            warnings.filterwarnings("ignore", ".*torch.jit.script", DeprecationWarning)
            values, slopes = jvp(found, (torch.zeros_like(coordinates),), (coordinates,))[:2]
        drift, covariance, moment = (v + s for v, s in zip(values, slopes, strict=True))
        return Averages(drift, _above(covariance, LEAST * values[1]), moment)

    def averages(self, weights: Tensor, x: Tensor, base: tuple[Tensor, Tensor]) -> Averages:
        """b̄_θ and Σ̄_θ at x (rows, d), by the base points."""
        z, mass = base
        return self.averages_over(self.fast_values(weights, x, z), weights, x, mass)

    def fast_values(self, weights: Tensor, x: Tensor, z: Tensor) -> Tensor:
        """y = f_θ(z; x) for x (rows, d) and z (sets, L, fast).

        Returns:
            (rows, sets · L, fast); (1, sets · L, fast) where the law does not depend on x.
        """
        law, _ = self._named(weights)
        place = (x[:, None] - self.centre) / self.width
        y = functional_call(self.law, law, (z.flatten(0, 1), place))
        return y if y.dim() == 3 else y[None]

    def averages_over(self, y: Tensor, weights: Tensor, x: Tensor, mass: Tensor) -> Averages:
        """As ``averages``, from the values y of ``fast_values`` and their weights (sets, L)."""
        sets, count = mass.shape
        slow, place = self.coupling.slow, x[:, None]
        y = y.expand(len(x), -1, -1)

        def mean(values: Tensor) -> Tensor:
            split = values.reshape(len(x), sets, count, -1)
            return torch.einsum("sl,nslk->snk", mass, split)

        drift = mean(self.coupling.drift(place, y))
        if self.coupling.diffusion is None:
            covariance = self._constant(self._named(weights)[1]).expand(sets, len(x), slow, slow)
        else:
            sigma = self.coupling.diffusion(place, y)
            covariance = mean((sigma @ sigma.mT).flatten(-2)).reshape(sets, len(x), slow, slow)
        moment = mean(y.square().sum(-1, keepdim=True) ** (self.power / 2)).mean(0)[:, 0]
        return Averages(drift, covariance, moment)

    def start(self, generator: torch.Generator) -> Tensor:
        """Whitened weights to start from: random features that have almost no effect yet."""
        drawn = torch.randn(self.scale.shape, generator=generator, dtype=torch.float64)
        quiet = torch.cat([torch.full(p.shape, q).flatten() for p, q in self._loudness()])
        return drawn * quiet

    # --- weights by name -----------------------------------------------------------------------

    def _parts(self) -> Iterator[tuple[str, Tensor, float]]:
        """Name, parameter and prior scale, in the order of the weights."""
        for name, parameter in self.law.named_parameters():
            spline, last = "transforms.1" in name, "hyper.0" not in name
            scale = self.shape_scale if spline and last else 1.0
            fan_in = parameter.shape[1] if name.endswith("weight") else 1
            yield name, parameter, scale / fan_in**0.5
        yield "log_noise", self.log_noise, NOISE_SCALE

    def _scales(self) -> Tensor:
        return torch.cat([torch.full(p.shape, s).flatten() for _, p, s in self._parts()]).double()

    def _loudness(self) -> Iterator[tuple[Tensor, float]]:
        for name, parameter, _ in self._parts():
            features = "transforms.1" in name and "hyper.0" in name
            yield parameter, 1.0 if features else 0.05

    def _named(self, weights: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        found, begin = {}, 0
        for name, parameter, _ in self._parts():
            found[name] = weights[begin : begin + parameter.numel()].reshape(parameter.shape)
            begin += parameter.numel()
        return found, found.pop("log_noise")

    def _constant(self, log_noise: Tensor) -> Tensor:
        slow = self.coupling.slow
        lower = torch.tril_indices(slow, slow)
        factor = torch.zeros(slow, slow, dtype=log_noise.dtype).index_put(tuple(lower), log_noise)
        factor = factor.tril(-1) + factor.diagonal().exp().diag()
        root = self.noise @ factor
        return root @ root.mT


def _above(covariance: Tensor, least: Tensor) -> Tensor:
    """Matrices (…, d, d), replaced by ``least`` where they are not larger than that (positive
    definite) one: far from the origin a linear Σ̄ may become indefinite."""
    small = torch.linalg.cholesky_ex(covariance - least)[1] > 0
    return torch.where(small[..., None, None], least, covariance)


def log_likelihood(increments: Increments, averages: Averages) -> Tensor:
    r"""ln L of the increments under Euler–Maruyama, corrected for the noise in b̄ and Σ̄.

    An average over L base points has an error, whose square would count as misfit and shrink the
    fast law. With ℓ of the mean of two independent sets and ℓ₁, ℓ₂ of each alone, 2ℓ - (ℓ₁ + ℓ₂)/2
    is free of that bias to order 1/L. Where Σ̄ is known it is free of it altogether, for its
    quadratic part is δ₁ᵀ(Σ̄Δ)⁻¹δ₂ with the residuals δ of the two sets.
    """
    if len(averages.drift) == 1:
        return _gaussian(increments, averages.drift, averages.covariance)[0]
    drift = torch.cat([averages.drift.mean(0, keepdim=True), averages.drift])
    covariance = torch.cat([averages.covariance.mean(0, keepdim=True), averages.covariance])
    both, first, second = _gaussian(increments, drift, covariance)
    return 2 * both - 0.5 * (first + second)


def _gaussian(increments: Increments, drift: Tensor, covariance: Tensor) -> Tensor:
    """(sets,) log-likelihood of all rows, without the constant in ln 2πΔ."""
    cross = increments.displacement[:, :, None] * drift[..., None, :]
    misfit = increments.spread - cross - cross.mT
    misfit = misfit + increments.duration[:, None, None] * drift[..., :, None] * drift[..., None, :]
    if drift.shape[-1] == 1:
        variance = covariance[..., 0, 0]
        rows = increments.count * variance.log() + misfit[..., 0, 0] / variance
    else:
        root, _ = torch.linalg.cholesky_ex(covariance)
        logs = 2 * root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        rows = increments.count * logs + torch.cholesky_solve(misfit, root).diagonal(
            dim1=-2, dim2=-1
        ).sum(-1)
    return -0.5 * rows.sum(-1)
