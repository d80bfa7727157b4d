"""The averaged dynamics of a slow variable: a Pyro program whose fast law is a normalizing flow."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.nn import PyroModule
from torch import Tensor, nn
from torch.func import functional_call, jvp

from pyro_msm.data.increments import Increments
from pyro_msm.models.fast_laws import KINDS, QUIET, LawKind
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
        kind: of the fast law: its states, and the prior of its weights.
        bins, hidden: see ``InvariantLaw``.
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
        kind: LawKind = KINDS["spline"],
        bins: int = 16,
        hidden: int = 16,
        penalty: float = 0.0,
        power: float = 2.0,
        linear: bool = False,
        noise: Tensor | None = None,
    ) -> None:
        with pyro.settings.context(module_local_params=True):
            super().__init__()
        self.coupling, self.conditional, self.linear = coupling, conditional, linear
        self.kind, self.penalty, self.power = kind, penalty, power
        context = coupling.slow if conditional else 0
        law = InvariantLaw(coupling.fast, context, kind.states, bins, hidden)
        self.law = law.double().requires_grad_(False)
        free = coupling.slow * (coupling.slow + 1) // 2 if coupling.diffusion is None else 0
        self.log_noise = nn.Parameter(torch.zeros(free, dtype=torch.float64), requires_grad=False)
        self.register_buffer("centre", centre.double().clone())
        self.register_buffer("width", width.double().clone())
        self.register_buffer("noise", torch.eye(coupling.slow).double() if noise is None else noise)
        scales = [scale.flatten() for _, scale in kind.scales(self.law)]
        scales.append(torch.full_like(self.log_noise, NOISE_SCALE))
        self.register_buffer("scale", torch.cat(scales))
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
        values, mass = self.fast_values(weights, x, base)
        return self.averages_over(values, mass, weights, x)

    def fast_values(
        self, weights: Tensor, x: Tensor, base: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Values of the fast variable at x (rows, d), and what each counts in an average.

        Args:
            weights: θ.
            x: (rows, d).
            base: points (sets, L, fast) and weights (sets, L), see ``base_points``.

        Returns:
            (rows, sets, n, fast) and (rows, sets, n), where each of the L points stands for as many
            values as the law has states; one row where the law does not depend on x.
        """
        z, mass = base
        law, _ = self._named(weights)
        place = (x - self.centre) / self.width
        values, occupancy = functional_call(self.law, law, (z.flatten(0, 1), place))
        rows = len(values)
        shares = mass[..., None] * occupancy[:, None, None]
        return values.reshape(rows, len(z), -1, z.shape[-1]), shares.flatten(2)

    def averages_over(self, y: Tensor, mass: Tensor, weights: Tensor, x: Tensor) -> Averages:
        """As ``averages``, from what ``fast_values`` returns."""
        slow, place = self.coupling.slow, x[:, None]
        sets, count = mass.shape[1:]
        y = y.expand(len(x), -1, -1, -1).flatten(1, 2)
        mass = mass.expand(len(x), -1, -1)

        def mean(values: Tensor) -> Tensor:
            split = values.reshape(len(x), sets, count, -1)
            return torch.einsum("nsl,nslk->snk", mass, split)

        drift = mean(self.coupling.drift(place, y))
        if self.coupling.diffusion is None:
            covariance = self._constant(self._named(weights)[1]).expand(sets, len(x), slow, slow)
        else:
            sigma = self.coupling.diffusion(place, y)
            covariance = mean((sigma @ sigma.mT).flatten(-2)).reshape(sets, len(x), slow, slow)
        moment = mean(y.square().sum(-1, keepdim=True) ** (self.power / 2)).mean(0)[:, 0]
        return Averages(drift, covariance, moment)

    def start(self, generator: torch.Generator) -> Tensor:
        """Whitened weights to start from: see ``LawKind.start``."""
        noise = QUIET * torch.randn(self.log_noise.shape, generator=generator, dtype=torch.float64)
        return torch.cat([self.kind.start(self.law, generator), noise])

    def _named(self, weights: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        found, begin = {}, 0
        for name, parameter in self.law.named_parameters():
            found[name] = weights[begin : begin + parameter.numel()].reshape(parameter.shape)
            begin += parameter.numel()
        return found, weights[begin:]

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
