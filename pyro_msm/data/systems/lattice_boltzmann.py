"""The D2Q9 lattice Boltzmann method for incompressible flow past obstacles in a channel.

Populations are kept as deviations g = f - w from the fluid at rest, in lattice units, with the
equilibrium of He and Luo (J. Stat. Phys. 88, 1997): density ρ = 1 + Σg, velocity Σcg. Collisions
have two relaxation times (Ginzburg et al., Commun. Comput. Phys. 3, 2008): that of the even part
sets the viscosity, that of the odd part follows from the magic parameter Λ, here 0.01: the
customary 1/4 and 1/12 blow up past a cylinder of ten cells at a Reynolds number of 160. The
obstacle's surface is curved (Bouzidi et al., Phys. Fluids 13, 2001, linear interpolation), the
walls along x reflect without friction half a cell beyond their nodes, and the first and last column
extrapolate the non-equilibrium part (Guo et al., Chin. Phys. 11, 2002) to a given velocity and a
given pressure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

VELOCITIES = np.array(
    [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (1, -1), (-1, 1)]
)
WEIGHTS = np.array([4 / 9, *[1 / 9] * 4, *[1 / 36] * 4])
PAIRS = ((1, 2), (3, 4), (5, 6), (7, 8))
OPPOSITE = np.array([0, 2, 1, 4, 3, 6, 5, 8, 7])
MAGIC = 0.01
# Populations that leave through the lower wall and those they come back as; and the upper one's.
REFLECTED = ((4, 3), (6, 8), (7, 5))


@dataclass(frozen=True)
class Links:
    """Where populations meet the obstacle.

    Attributes:
        outward: flat indices into (9, x, y) of the populations that are about to hit it.
        back: those that come back.
        second: what is mixed with the first to account for where between two nodes the surface is.
        share: weight of the first; 1 - share is that of the second.
        inside: (x, y) True in the obstacle.
    """

    outward: np.ndarray
    back: np.ndarray
    second: np.ndarray
    share: np.ndarray
    inside: np.ndarray

    @classmethod
    def of_circle(cls, shape: tuple[int, int], centre: tuple[float, float], radius: float) -> Links:
        """A circle; node (i, j) stands at (i + ½, j + ½), all lengths in cells."""
        place = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1) + 0.5 - centre
        inside = (place**2).sum(-1) < radius**2
        found: list[tuple[np.ndarray, ...]] = []
        for direction in range(1, 9):
            step = VELOCITIES[direction]
            ahead = np.roll(inside, -step, axis=(0, 1))
            i, j = np.nonzero(ahead & ~inside)
            first = place[i, j]
            # |first + q step| = radius, the smaller root.
            a, b = (step**2).sum(), first @ step
            q = (-b - np.sqrt(b**2 - a * ((first**2).sum(-1) - radius**2))) / a
            outward = np.ravel_multi_index((np.full_like(i, direction), i, j), (9, *shape))
            back = np.ravel_multi_index((np.full_like(i, OPPOSITE[direction]), i, j), (9, *shape))
            behind = np.ravel_multi_index(
                (np.full_like(i, direction), i - step[0], j - step[1]), (9, *shape)
            )
            near = q < 0.5
            found.append(
                (outward, back, np.where(near, behind, back), np.where(near, 2 * q, 0.5 / q))
            )
        outward, back, second, share = (np.concatenate(part) for part in zip(*found, strict=True))
        return cls(outward, back, second, share, inside)


def equilibrium(density: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Deviations (9, …) of a fluid with density 1 + ``density`` and velocity (u, v)."""
    along = np.multiply.outer(VELOCITIES[:, 0], u) + np.multiply.outer(VELOCITIES[:, 1], v)
    rest = density - 1.5 * (u**2 + v**2)
    weights = WEIGHTS.reshape(-1, *[1] * np.ndim(u))
    return weights * (rest + 3 * along + 4.5 * along**2)


def moments(g: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Density less 1, and velocity, of populations (9, …)."""
    density = g.sum(0)
    right, left = g[1] + g[5] + g[7], g[2] + g[6] + g[8]
    up, down = g[3] + g[5] + g[8], g[4] + g[6] + g[7]
    return density, right - left, up - down


class Channel:
    """Advances populations (9, x, y) of a channel with an obstacle, in place.

    Args:
        links: of the obstacle.
        inflow: velocity in the first column, in lattice units.
        viscosity: (x,) in lattice units; may grow along the channel.
    """

    def __init__(self, links: Links, inflow: float, viscosity: np.ndarray) -> None:
        self.links = links
        self.inflow = inflow
        relaxation = 3 * np.asarray(viscosity, dtype=np.float64)[:, None]
        self._even = 1 / (0.5 + relaxation)
        self._odd = 1 / (0.5 + MAGIC / relaxation)
        self._after = np.zeros((9, *links.inside.shape))
        self._momentum = VELOCITIES[links.outward // links.inside.size]
        self.force = np.zeros(2)

    def advance(self, g: np.ndarray, count: int) -> np.ndarray:
        """``count`` steps; ``force`` is then that on the obstacle in the last one."""
        for _ in range(count):
            self._collide(g)
            self._stream(g)
        return g

    def _collide(self, g: np.ndarray) -> None:
        """From ``g`` into ``_after``."""
        density, u, v = moments(g)
        rest = u * u
        rest += v * v
        rest *= -1.5
        rest += density
        after = self._after
        after[0] = g[0] + self._even * (WEIGHTS[0] * rest - g[0])
        for (plus, minus), along in zip(PAIRS, (u, v, u + v, u - v), strict=True):
            weight = 2 * WEIGHTS[plus]
            even = along * along
            even *= 4.5
            even += rest
            even *= weight
            even -= g[plus]
            even -= g[minus]
            even *= 0.5 * self._even
            odd = along * (3 * weight)
            odd -= g[plus]
            odd += g[minus]
            odd *= 0.5 * self._odd
            np.add(even, odd, out=after[plus])
            after[plus] += g[plus]
            np.subtract(even, odd, out=after[minus])
            after[minus] += g[minus]

    def _stream(self, g: np.ndarray) -> None:
        """From ``_after`` into ``g``, with all boundaries."""
        after = self._after
        g[0] = after[0]
        for direction in range(1, 9):
            (to_x, from_x), (to_y, from_y) = map(_moved, VELOCITIES[direction])
            g[direction, to_x, to_y] = after[direction, from_x, from_y]
        for down, up in REFLECTED:
            to_x, from_x = _moved(VELOCITIES[down, 0])
            g[up, to_x, 0] = after[down, from_x, 0]
            down, up = OPPOSITE[down], OPPOSITE[up]
            to_x, from_x = _moved(VELOCITIES[down, 0])
            g[up, to_x, -1] = after[down, from_x, -1]
        links, flat = self.links, after.reshape(-1)
        hitting = flat[links.outward]
        coming = links.share * hitting + (1 - links.share) * flat[links.second]
        g.reshape(-1)[links.back] = coming
        self.force = (hitting + coming) @ self._momentum
        g[:, links.inside] = 0
        self._open_ends(g)

    def _open_ends(self, g: np.ndarray) -> None:
        density, u, v = moments(g[:, 1])
        given = equilibrium(density, np.full_like(u, self.inflow), np.zeros_like(v))
        g[:, 0] = given + g[:, 1] - equilibrium(density, u, v)
        density, u, v = moments(g[:, -2])
        given = equilibrium(np.zeros_like(density), u, v)
        g[:, -1] = given + g[:, -2] - equilibrium(density, u, v)


def _moved(step: int) -> tuple[slice, slice]:
    """Where populations that move by ``step`` along an axis arrive, and where they come from."""
    if step == 0:
        return slice(None), slice(None)
    return (slice(1, None), slice(None, -1)) if step > 0 else (slice(None, -1), slice(1, None))
