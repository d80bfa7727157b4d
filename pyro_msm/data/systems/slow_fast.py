"""Slow–fast stochastic systems: what systems A to D share."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pyro_msm.data.systems.base import Generators, System
from pyro_msm.data.systems.effective import EffectiveSDE
from pyro_msm.data.systems.options import option
from pyro_msm.errors import InputError

if TYPE_CHECKING:
    from pyro_msm.nn.coupling import Coupling

#: Internal steps whose noise is drawn together; the draws do not depend on it.
CHUNK = 512

#: Standard deviation from which the burn-in starts.
START = 0.7

#: How far ``extrapolation`` moves a slow component.
SHIFT = (1.0, 1.5)


@dataclass(frozen=True)
class SlowFast(System):
    r"""A slow variable X that feels a fast one Y, of which only X is observed.

    .. math::
        dX &= b(X, Y)\,dt + \sigma(X, Y)\,dW, \\
        dY &= \varepsilon^{-1} B(X, Y)\,dt + \varepsilon^{-1/2} \alpha\,dV.

    As ε → 0, X obeys dX = b̄(X) dt + Σ̄(X)^{1/2} dW with b̄(x) = E b(x, Y) and Σ̄(x) = E σσᵀ(x, Y),
    Y from the invariant law π_x of the fast part at fixed x (Pavliotis and Stuart, Multiscale
    Methods, 2008, chapter 11). Here both are known in closed form: ``effective``.

    The state of a trajectory is (x, y), slow components first; ``observe`` gives x. A path starts
    in its stationary law: it has run for ``burn_in`` before time 0. For ``extrapolation`` the slow
    components are then moved by 1 to 1.5, to either side.

    Scheme: Euler–Maruyama for X; for Y the exact transition of its linear part with the rest held
    over the step, so that π_x has no error of the step where Y is Ornstein–Uhlenbeck at fixed x.
    At least ``steps_per_epsilon`` steps a time ε: ε/20 stays biased however small ε is, for what
    X and Y do to each other within a step does not shrink with ε.

    Class attributes: ``fast``, components of Y; ``noise``, normal numbers a step;
    ``steps_per_epsilon``.
    """

    variable: ClassVar[str] = "path"
    boundary: ClassVar[tuple[str, ...]] = ()
    domain: ClassVar[tuple[float, ...]] = ()
    initial_names: ClassVar[tuple[str, ...]] = ("seed", "shift")
    unobserved: ClassVar[str] = "its fast part is hidden"
    fast: ClassVar[int]
    noise: ClassVar[int]
    steps_per_epsilon: ClassVar[int] = 50

    frames: int = option(10_001, "snapshots, the first at time 0", minimum=2)
    end_time: float = option(100.0, "time of the last snapshot", minimum=1e-9)
    epsilon: float = option(0.02, "ratio of the fast time scale to the slow one", minimum=1e-5)
    burn_in: float = option(5.0, "time that a path has run before time 0", minimum=0.0)

    # What a system defines ---------------------------------------------------------------------

    @abstractmethod
    def coupling(self) -> Coupling:
        """b and σ for a model that knows them."""

    @abstractmethod
    def averaged_drift(self, x: np.ndarray) -> np.ndarray:
        """b̄ at x (n, slow) → (n, slow), exact."""

    @abstractmethod
    def averaged_diffusion(self, x: np.ndarray) -> np.ndarray:
        """Σ̄ at x (n, slow) → (n, slow, slow), exact."""

    @abstractmethod
    def fast_draws(self, x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """One draw of Y from π_x for each x (n, slow) → (n, fast)."""

    @abstractmethod
    def _advance(self, x: np.ndarray, y: np.ndarray, dt: float, noise: np.ndarray) -> None:
        """Takes a step of length ``dt`` for each entry of ``noise``, in place.

        Args:
            x: (slow, n).
            y: (fast, n).
            dt: length of a step.
            noise: (steps, noise, n) standard normal, that of X first; overwritten.
        """

    # What they share ---------------------------------------------------------------------------

    @property
    def slow(self) -> int:
        """Slow components."""
        return len(self.channels)

    @property
    def trajectories(self) -> dict[str, int]:
        """Thirty parallel paths to learn from, which are time 3000 together."""
        return {"train": 30, "validation": 5, "test": 5}

    @property
    def noise_std(self) -> float:
        """None: the path is observed as it is."""
        return 0.0

    @property
    def effective(self) -> EffectiveSDE:
        """The SDE of X as ε → 0."""
        return EffectiveSDE(self.averaged_drift, self.averaged_diffusion, self.slow)

    def initial_parameters(
        self, generator: np.random.Generator, count: int, extrapolation: bool = False
    ) -> np.ndarray:
        """Seed of the burn-in (a whole number), and shift of the slow components after it."""
        seeds = generator.integers(2**32, size=count)
        shifts = np.zeros(count)
        if extrapolation:
            shifts = generator.choice([-1.0, 1.0], count) * generator.uniform(*SHIFT, count)
        return np.stack([seeds, shifts], axis=1)

    def initial_state(self, parameters: np.ndarray) -> np.ndarray:
        """(count, slow + fast)."""
        seeds, shifts = np.asarray(parameters, float).T
        generators = [np.random.default_rng(int(seed)) for seed in seeds]
        x = START * np.stack([each.standard_normal(self.slow) for each in generators])
        y = [self.fast_draws(at[None], each)[0] for at, each in zip(x, generators, strict=True)]
        state = np.concatenate([x, np.stack(y)], axis=1)
        if self.burn_in > 0:
            state = self.step(state, -self.burn_in, self.burn_in, generators)
        state[:, : self.slow] += shifts[:, None]
        return state

    def observe(self, state: np.ndarray) -> np.ndarray:
        """The slow components."""
        return np.asarray(state)[:, : self.slow]

    def lift(self, observation: np.ndarray) -> np.ndarray:
        """The observed x, with a fast part from its law at that x, always the same draw."""
        x = np.asarray(observation, dtype=np.float64)
        return np.concatenate([x, self.fast_draws(x, np.random.default_rng(0))], axis=1)

    def step(
        self, state: np.ndarray, t: float, duration: float, generator: Generators | None = None
    ) -> np.ndarray:
        """Equal steps of at most ε / ``steps_per_epsilon``.

        Raises:
            InputError: not one generator a trajectory.
        """
        if generator is None or len(generator) != len(state):
            given = "none" if generator is None else str(len(generator))
            raise InputError(
                f"system {self.name} is stochastic: step needs one random generator for each of "
                f"the {len(state)} trajectories, got {given}"
            )
        count = max(1, int(np.ceil(duration * self.steps_per_epsilon / self.epsilon - 1e-9)))
        state = np.array(state, dtype=np.float64).T.copy()
        x, y = state[: self.slow], state[self.slow :]
        for start in range(0, count, CHUNK):
            noise = _noise(generator, min(CHUNK, count - start), self.noise)
            self._advance(x, y, duration / count, noise)
        return state.T.copy()


def _noise(generators: Generators, steps: int, width: int) -> np.ndarray:
    """Standard normal numbers (steps, width, trajectory), each trajectory's from its generator."""
    drawn = np.empty((len(generators), steps, width))
    for each, generator in zip(drawn, generators, strict=True):
        generator.standard_normal(out=each)
    return np.ascontiguousarray(drawn.transpose(1, 2, 0))
