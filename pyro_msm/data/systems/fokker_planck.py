r"""The density of particles that drift, diffuse and are reflected: what any ensemble tends to.

On one axis, y = x + ½ in [0, 1], an Euler step is y → y + a + σξ, then reflection. Cosines
cos(mπy) are the same before and after reflection, so that with p(y) = Σ_m c_m cos(mπy)

    c'_m = exp(-(mπσ)²/2) (c_m cos(mπa) - s_m sin(mπa)),    s_m = 2 ∫ p(y) sin(mπy) dy,

without approximation but that of finitely many m: those are left out that one step damps below
1e-13. This is the chain's own density, not that of the stochastic process which it approximates:
their difference in the mean, 3.4e-4 at δt = 1e-3, is nearly as large as the chance difference of
two ensembles of 600 runs.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from pyro_msm.data.systems.advection_diffusion import AdvectionDiffusion

DAMPED = 1e-13


class AxisDensity:
    """Densities of the particles of a system on one of its axes, as cosine coefficients.

    Args:
        system: its ``diffusion`` and ``time_step`` count.
        axis: number of the component.

    Example:
        >>> from pyro_msm.data import systems
        >>> axis = AxisDensity(systems.get("advection-diffusion-1d", time_step=0.01))
        >>> later = axis.step(axis.at(0.0), 0.0, 1.0)
        >>> mean, variance = axis.moments(later)
        >>> round(float(mean), 2), round(float(variance), 2)
        (0.38, 0.01)
    """

    def __init__(self, system: AdvectionDiffusion, axis: int = 0) -> None:
        self.system = system
        self.drift, self.frequency = system.drift[axis], system.frequency[axis]
        std = np.sqrt(system.diffusion * system.time_step)
        self.modes = int(np.ceil(np.sqrt(-2 * np.log(DAMPED)) / (np.pi * std))) + 1

    def at(self, x: float | np.ndarray) -> np.ndarray:
        """All particles at ``x`` (…): coefficients (…, mode)."""
        coefficients = 2 * np.cos(np.multiply.outer(np.asarray(x) + 0.5, self._waves))
        coefficients[..., 0] = 1.0
        return coefficients

    def step(self, coefficients: np.ndarray, t: float | np.ndarray, duration: float) -> np.ndarray:
        """The densities (…, mode) a time ``duration`` after the absolute times ``t`` (…)."""
        count = max(1, int(np.ceil(duration / self.system.time_step - 1e-6)))
        step = duration / count
        damping = np.exp(-0.5 * self.system.diffusion * step * self._waves**2)
        to_sine = _to_sine(self.modes)
        for index in range(count):
            shift = step * self.drift * np.cos(self.frequency * (np.asarray(t) + index * step))
            angle = np.multiply.outer(shift, self._waves)
            sine = coefficients @ to_sine
            coefficients = damping * (np.cos(angle) * coefficients - np.sin(angle) * sine)
        return coefficients

    def density(self, coefficients: np.ndarray, x: np.ndarray) -> np.ndarray:
        """p at the places ``x`` (point), (…, point)."""
        return coefficients @ np.cos(np.multiply.outer(self._waves, np.asarray(x) + 0.5))

    def distribution(self, coefficients: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The share of particles left of ``x`` (point), (…, point)."""
        y = np.asarray(x) + 0.5
        sines = np.sin(np.multiply.outer(self._waves[1:], y)) / self._waves[1:, None]
        return coefficients[..., :1] * y + coefficients[..., 1:] @ sines

    def moments(self, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of x, each (…)."""
        waves = self._waves[1:]
        # ∫ y cos(wy) dy = (cos w - 1)/w², ∫ y² cos(wy) dy = 2 cos(w)/w² for w = mπ.
        first = 0.5 + coefficients[..., 1:] @ ((np.cos(waves) - 1) / waves**2)
        second = 1 / 3 + coefficients[..., 1:] @ (2 * np.cos(waves) / waves**2)
        return first - 0.5, second - first**2

    def sample(
        self, coefficients: np.ndarray, count: int, generator: np.random.Generator
    ) -> np.ndarray:
        """``count`` independent particles of one density (mode,)."""
        x = np.linspace(-0.5, 0.5, 8 * self.modes)
        below = np.maximum.accumulate(self.distribution(coefficients, x))
        return np.interp(generator.uniform(0.0, below[-1], count), below, x)

    @property
    def _waves(self) -> np.ndarray:
        return np.pi * np.arange(self.modes)


def exact_runs(
    system: AdvectionDiffusion,
    start: float,
    times: np.ndarray,
    count: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """Particles of ``count`` runs from the middle of the box, each time on its own.

    What simulated runs would have for a distribution at any one time, at a small part of the cost:
    particles and axes are independent. From one time to the next these have nothing in common.

    Args:
        system: whose chain it is, with as many particles as it says.
        start: absolute time at which the runs begin.
        times: (time,) since then, increasing.
        count: number of runs.
        generator: of the draws.

    Returns:
        (run, time, particle, component), float32.
    """
    shape = count, len(times), system.points, len(system.channels)
    found = np.empty(shape, np.float32)
    for axis in range(shape[-1]):
        law, now = AxisDensity(system, axis), 0.0
        density = law.at(0.0)
        for number, then in enumerate(np.asarray(times, float)):
            if then > now:
                density, now = law.step(density, start + now, then - now), then
            drawn = law.sample(density, count * system.points, generator)
            found[:, number, :, axis] = drawn.reshape(count, -1)
    return found


@lru_cache(maxsize=8)
def _to_sine(modes: int) -> np.ndarray:
    """From c (mode) to s (mode): s_m = Σ_k c_k · 4m / (π(m² - k²)) over k with k + m odd."""
    k, m = np.meshgrid(np.arange(modes), np.arange(modes), indexing="ij")
    odd = (k + m) % 2 == 1
    return np.where(odd, 4 * m / (np.pi * np.where(odd, m**2 - k**2, 1)), 0.0)
