"""The vortex street behind a cylinder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from pyro_msm.data.readers.cgl import read_cgl, record_split
from pyro_msm.data.systems import lattice_boltzmann as lattice
from pyro_msm.data.systems.base import Generators, System
from pyro_msm.data.systems.options import option
from pyro_msm.data.systems.simulation import Progress
from pyro_msm.errors import InputError

LENGTH = 4.0
UPSTREAM = 0.5
DIAMETER = 0.125
FRAME = 0.01
LATTICE_SPEED = 0.1
SPONGE = 0.75
SPONGE_VISCOSITY = 40.0
SPIN_UP = 8.0
PERIOD = 0.64
EXTRAPOLATION = 0.2


@dataclass(frozen=True)
class Cylinder(System):
    """Flow past a cylinder between frictionless walls, Re = 160: two velocity components.

    Channel [-0.5, 3.5] x [-0.5, 0.5], cylinder of diameter 0.125 around the origin, inflow velocity
    1: geometry, Reynolds number, grid (the left 320 x 80 of 640 x 80) and times (1501 frames on
    [0, 15]) of the public data set ``cylinder2d`` (Günther, Gross and Theisel, ACM Trans. Graph.
    36, 2017), which was computed with Gerris. ``file="cylinder2d.nc"`` reads that file instead of
    simulating; ours starts in the developed street, while the file holds its onset too.

    One record, split in **time** in the published proportions: train [0, 13], validation (13, 14],
    test (14, 15]. ``extrapolation`` goes on for 3 more time units with the viscosity raised to
    ``later_reynolds``. Period of shedding 0.636: 23.6 periods in the record, 1.6 of them test.

    Scheme: see ``lattice_boltzmann``; ten cells across the cylinder, 8 steps of Mach number 0.17 a
    frame, and 60 more columns behind the outlet that absorb vortices. The state is the populations
    of the whole lattice. Expected at a blockage of 1/8: a Strouhal number of 0.188 (Williamson and
    Brown, J. Fluids Struct. 12, 1998) raised by up to 8/7, and a drag coefficient above the 1.3 of
    the open flow. Measured: 0.196 and 1.62; with twice the resolution 0.202 and 1.52; with a
    blockage of 1/20 and eight diameters upstream 0.185 and 1.47.
    """

    name: ClassVar[str] = "cylinder-2d"
    title: ClassVar[str] = "vortex street behind a cylinder"
    equation: ClassVar[str] = "u_t + u·∇u = -∇p + ∇²u/Re (per diameter), ∇·u = 0, Re = 160"
    channels: ClassVar[tuple[str, ...]] = ("u", "v")
    unobserved: ClassVar[str] = "its pressure follows from the whole flow"
    boundary: ClassVar[tuple[str, ...]] = ("open", "wall")
    domain: ClassVar[tuple[float, ...]] = (LENGTH, 1.0)
    initial_names: ClassVar[tuple[str, ...]] = ("phase",)
    split_on: ClassVar[str] = "time"

    points: int = option(80, "grid points across the channel; four times as many along", minimum=4)
    frames: int = option(1501, "snapshots to the end of the test range", minimum=2)
    end_time: float = option(15.0, "end of the test range", minimum=1e-9)
    reynolds: float = option(160.0, "Reynolds number of the diameter", minimum=1.0)
    later_reynolds: float = option(100.0, "Reynolds number from change_at on", minimum=1.0)
    change_at: float = option(15.0, "time of that change; simulate takes end_time", minimum=0.0)
    file: str = option("", "path of the public CGL file (or VTK images) to be read instead")

    @property
    def trajectories(self) -> dict[str, int]:
        """One record."""
        return {"train": 1, "validation": 1, "test": 1}

    @property
    def noise_std(self) -> float:
        """As published, none."""
        return 0.0

    @property
    def spacing(self) -> tuple[float, ...]:
        """Square cells."""
        return (1.0 / self.points, 1.0 / self.points)

    @property
    def lattice_step(self) -> float:
        """Time step: a whole number of them is the published interval of frames, 0.01."""
        return FRAME / np.ceil(FRAME / (LATTICE_SPEED * self.spacing[0]) - 1e-9)

    def grid(self) -> dict[str, np.ndarray]:
        """Middles of the cells."""
        spacing = self.spacing[0]
        return {
            "x": spacing * (np.arange(4 * self.points) + 0.5) - UPSTREAM,
            "y": spacing * (np.arange(self.points) + 0.5) - 0.5,
        }

    def initial_parameters(
        self, generator: np.random.Generator, count: int, extrapolation: bool = False
    ) -> np.ndarray:
        """Phase of the shedding at time 0, in periods."""
        return generator.uniform(0.0, 1.0, (count, 1))

    def initial_state(self, parameters: np.ndarray) -> np.ndarray:
        """The developed street: eight time units after a start from a disturbed uniform flow."""
        x, y = np.meshgrid(*self._lattice_grid(), indexing="ij")
        inflow = self.lattice_step / self.spacing[0]
        start = lattice.equilibrium(
            np.zeros_like(x),
            np.full_like(x, inflow),
            0.3 * inflow * np.exp(-((x - 1.5 * DIAMETER) ** 2 + y**2) / DIAMETER**2),
        )
        times = SPIN_UP + PERIOD * np.asarray(parameters, dtype=np.float64)[:, 0]
        counts = [round(time / self.lattice_step) for time in times]
        # Overflow is told by ``simulate``.
        with np.errstate(over="ignore", invalid="ignore"):
            return np.stack([self._advanced(start, count) for count in counts])

    def observe(self, state: np.ndarray) -> np.ndarray:
        """Velocity in units of the inflow, zero in the cylinder."""
        _, u, v = lattice.moments(np.moveaxis(state, 1, 0))
        velocity = np.stack([u, v], axis=1)[:, :, : 4 * self.points]
        return velocity * (self.spacing[0] / self.lattice_step)

    def lift(self, observation: np.ndarray) -> np.ndarray:
        """Local equilibrium at uniform pressure; its pressure settles within a few frames."""
        velocity = np.asarray(observation, float) * (self.lattice_step / self.spacing[0])
        beyond = len(self._lattice_grid()[0]) - 4 * self.points
        u, v = np.moveaxis(np.pad(velocity, [(0, 0)] * 2 + [(0, beyond), (0, 0)], "edge"), 1, 0)
        return np.moveaxis(lattice.equilibrium(np.zeros_like(u), u, v), 0, 1)

    def step(
        self, state: np.ndarray, t: float, duration: float, generator: Generators | None = None
    ) -> np.ndarray:
        """A whole number of lattice steps.

        Raises:
            InputError: ``duration`` is no multiple of ``lattice_step``.
        """
        count = round(duration / self.lattice_step)
        if abs(duration - count * self.lattice_step) > 1e-6 * self.lattice_step:
            raise InputError(
                f"system {self.name} advances in steps of {self.lattice_step:g}, and {duration:g} "
                "is no multiple of it: choose end_time and frames accordingly"
            )
        before = int(np.clip(round((self.change_at - t) / self.lattice_step), 0, count))
        after = [self._advanced(g, before) for g in np.asarray(state, dtype=np.float64)]
        if before < count:
            later = replace(self, reynolds=self.later_reynolds)
            after = [later._advanced(g, count - before) for g in after]
        return np.stack(after)

    def simulate(
        self,
        trajectories: Mapping[str, int] | None = None,
        seed: int = 0,
        noise_std: float | None = None,
        *,
        progress: Progress | None = None,
        **options: Any,
    ) -> xr.Dataset:
        """One record that is split in time: see ``System.simulate``.

        Args:
            trajectories: only whether ``extrapolation`` is asked for is read; a record holds the
                other three splits anyway.

        Raises:
            InputError: also a ``file`` that is not as expected.
        """
        system = self.configured(**options)
        further = bool((trajectories or {}).get("extrapolation"))
        if system.file:
            return system._read(further, seed, noise_std)
        spacing, end = system.end_time / (system.frames - 1), system.end_time
        more = max(1, round(EXTRAPOLATION * (system.frames - 1))) if further else 0
        extended = replace(
            system, frames=system.frames + more, end_time=end + more * spacing, change_at=end
        )
        dataset = super(Cylinder, extended).simulate(
            {"train": 1}, seed, noise_std, progress=progress
        )
        split = record_split(extended.times, end)
        return dataset.drop_vars("split").assign_coords(split=("time", split))

    def channel(self) -> lattice.Channel:
        """The lattice that advances a state; after a step its ``force`` is the cylinder's."""
        columns = len(self._lattice_grid()[0])
        diameter = DIAMETER * self.points
        inflow = self.lattice_step / self.spacing[0]
        viscosity = np.full(columns, inflow * diameter / self.reynolds)
        beyond = columns - 4 * self.points
        viscosity[-beyond:] *= np.linspace(1.0, SPONGE_VISCOSITY, beyond)
        return lattice.Channel(_cylinder(columns, self.points), inflow, viscosity)

    def _advanced(self, populations: np.ndarray, count: int) -> np.ndarray:
        return self.channel().advance(populations.copy(), count)

    def _lattice_grid(self) -> tuple[np.ndarray, np.ndarray]:
        """The grid, and the columns behind it that absorb vortices."""
        spacing = self.spacing[0]
        columns = 4 * self.points + max(2, round(SPONGE * self.points))
        return spacing * (np.arange(columns) + 0.5) - UPSTREAM, self.grid()["y"]

    def _read(self, further: bool, seed: int, noise_std: float | None) -> xr.Dataset:
        """The published record from its file, with noise if that is asked for."""
        if further:
            raise InputError(
                f"{self.file} has no extrapolation split: it ends with the test range; leave out "
                "option file to simulate one"
            )
        shape = (self.frames, self.points, 8 * self.points)
        dataset = read_cgl(str(self.file), shape=shape)
        noise_std = self.noise_std if noise_std is None else float(noise_std)
        if not noise_std >= 0:
            raise InputError(f"noise_std is {noise_std}: expected a number that is not negative")
        if noise_std > 0:
            dataset["clean"] = dataset["field"].copy()
            noise = np.random.default_rng(seed).standard_normal(dataset["field"].shape, np.float32)
            dataset["field"] = dataset["field"] + np.float32(noise_std) * noise
        return dataset.assign_attrs(system=self.name, noise_std=noise_std, seed=int(seed))


@lru_cache(maxsize=4)
def _cylinder(columns: int, points: int) -> lattice.Links:
    centre = (UPSTREAM * points, 0.5 * points)
    return lattice.Links.of_circle((columns, points), centre, DIAMETER * points / 2)
