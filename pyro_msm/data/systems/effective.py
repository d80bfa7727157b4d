"""The SDE that a slow variable obeys on average: paths, stationary law, and points to score at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.integrate import cumulative_trapezoid, trapezoid

#: x (n, d) → (n, d) for a drift, (n, d, d) for a diffusion.
Coefficient = Callable[[np.ndarray], np.ndarray]

STEP = 0.01
SETTLING = 10.0
DECORRELATED = 2.0
WALKERS = 500
GRID = np.linspace(-8.0, 8.0, 16_001)


@dataclass(frozen=True)
class EffectiveSDE:
    r"""dX = b̄(X) dt + Σ̄(X)^{1/2} dW with d components, true or estimated.

    Args:
        drift: b̄, (n, d) → (n, d).
        diffusion: Σ̄, (n, d) → (n, d, d), positive definite.
        components: d.

    Example:
        >>> walk = EffectiveSDE(lambda x: -x, lambda x: np.full((len(x), 1, 1), 0.5), 1)
        >>> walk.paths(np.zeros((3, 1)), np.linspace(0, 1, 11), np.random.default_rng(0)).shape
        (3, 11, 1)
        >>> round(float(np.mean(walk.stationary_points(1000) ** 2)), 3)
        0.25
    """

    drift: Coefficient
    diffusion: Coefficient
    components: int

    def paths(
        self,
        start: np.ndarray,
        times: np.ndarray,
        generator: np.random.Generator,
        step: float = STEP,
    ) -> np.ndarray:
        """Paths (n, T, d) from ``start`` (n, d) at ``times[0]``.

        Euler–Maruyama, in equal steps of at most ``step`` between two times. A path that overflows
        is not finite from there on.
        """
        x = np.array(start, dtype=float)
        found = np.empty((len(x), len(times), self.components))
        found[:, 0] = x
        with np.errstate(over="ignore", invalid="ignore"):
            for index, duration in enumerate(np.diff(times), start=1):
                count = max(1, int(np.ceil(duration / step - 1e-9)))
                for _ in range(count):
                    x = self._stepped(x, duration / count, generator)
                found[:, index] = x
        return found

    def stationary_points(self, count: int) -> np.ndarray:
        """Points (count, d) over which a mean is a mean over the stationary law.

        One component: its quantiles (i + ½)/count, by quadrature. More: states of independent
        walkers, always the same ones.
        """
        if self.components == 1:
            below = cumulative_trapezoid(self.stationary_density(GRID), GRID, initial=0.0)
            shares = (np.arange(count) + 0.5) / count
            return np.interp(shares, below / below[-1], GRID)[:, None]
        generator = np.random.default_rng(0)
        frames = -(-count // WALKERS)
        times = SETTLING + DECORRELATED * np.arange(-1, frames)
        times[0] = 0.0
        start = generator.standard_normal((WALKERS, self.components))
        walked = self.paths(start, times, generator)[:, 1:]
        return walked.swapaxes(0, 1).reshape(-1, self.components)[:count]

    def stationary_density(self, grid: np.ndarray) -> np.ndarray:
        r"""Stationary density (m,) on a grid (m,) that holds practically all of it; d = 1.

        .. math:: p(x) \propto \Sigma(x)^{-1} \exp \int^x 2 b / \Sigma

        by the trapezoidal rule on the grid, normalised there (Gardiner, Handbook of Stochastic
        Methods, section 5.3).
        """
        x = np.asarray(grid, float)[:, None]
        drift, variance = self.drift(x)[:, 0], self.diffusion(x)[:, 0, 0]
        logarithm = cumulative_trapezoid(2 * drift / variance, grid, initial=0.0) - np.log(variance)
        density = np.exp(logarithm - logarithm.max())
        return density / trapezoid(density, grid)

    def _stepped(self, x: np.ndarray, dt: float, generator: np.random.Generator) -> np.ndarray:
        noise = np.sqrt(dt) * generator.standard_normal(x.shape)
        variance = self.diffusion(x)
        if self.components == 1:
            return x + dt * self.drift(x) + np.sqrt(variance[..., 0]) * noise
        root = np.linalg.cholesky(variance)
        return x + dt * self.drift(x) + (root @ noise[..., None])[..., 0]
