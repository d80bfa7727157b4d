"""Networks for sets of particles, whose order means nothing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pyro_msm.nn.residual import ResidualMLP


class SetEncoder(nn.Module):
    """Permutation-invariant encoder g(mean_i φ(x_i)) of particles in a box.

    Zaheer et al., *Deep Sets* (2017), as in LED's study of advection and diffusion.

    Args:
        low, high: (component,) bounds of the box.
        latent: size d_z of the latents.
        features: width of φ's output.
        hidden: width of the hidden layers of φ and g.
        layers: their number.
        variational: also give a standard deviation.

    Example:
        >>> encoder = SetEncoder(torch.zeros(2), torch.ones(2), 3, hidden=8, layers=2)
        >>> particles = torch.rand(10, 2)
        >>> order = torch.randperm(10)
        >>> torch.allclose(encoder(particles)[0], encoder(particles[order])[0], atol=1e-6)
        True
    """

    low: Tensor
    high: Tensor

    def __init__(
        self,
        low: Tensor,
        high: Tensor,
        latent: int,
        *,
        features: int = 200,
        hidden: int = 100,
        layers: int = 5,
        variational: bool = False,
    ) -> None:
        super().__init__()
        self.latent, self.variational = latent, variational
        self.register_buffer("low", low.clone())
        self.register_buffer("high", high.clone())
        self.each = ResidualMLP(len(low), features, hidden, layers)
        self.together = ResidualMLP(features, latent * (1 + variational), hidden, layers)

    def forward(self, particles: Tensor) -> tuple[Tensor, Tensor | None]:
        """Mean and, if variational, log standard deviation (…, latent) of (…, particle, D)."""
        inside = 2 * (particles - self.low) / (self.high - self.low) - 1
        found = self.together(self.each(inside).mean(-2))
        return found[..., : self.latent], (
            found[..., self.latent :] - 3 if self.variational else None
        )


class MixtureHead(nn.Module):
    """Parameters of a mixture of multivariate normals from latents.

    Args:
        latent: size of the latents.
        dimension: of the normals.
        components: their number K.
        hidden: width of the hidden layers.
        layers: their number.
    """

    def __init__(
        self, latent: int, dimension: int, components: int, hidden: int = 100, layers: int = 5
    ) -> None:
        super().__init__()
        self.dimension, self.components = dimension, components
        off_diagonal = dimension * (dimension - 1) // 2
        each = 1 + 2 * dimension + off_diagonal
        self.network = ResidualMLP(latent, components * each, hidden, layers, scale=0.5)
        # Components that start apart need not be told apart first.
        apart = torch.linspace(-1.5, 1.5, components)
        with torch.no_grad():
            bias = self.network.last.bias.view(components, each)
            bias[:, 1 : 1 + dimension] = apart[:, None]

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (…, K), locations (…, K, D) and Cholesky factors (…, K, D, D)."""
        size = self.dimension
        found = self.network(latents).unflatten(-1, (self.components, -1))
        logits, location, diagonal, below = found.split(
            [1, size, size, found.shape[-1] - 1 - 2 * size], -1
        )
        factor = torch.diag_embed(nn.functional.softplus(diagonal) + 1e-3)
        if size > 1:
            rows, columns = torch.tril_indices(size, size, -1)
            lower = torch.zeros_like(factor)
            lower[..., rows, columns] = below
            factor = factor + lower
        return logits[..., 0], location, factor
