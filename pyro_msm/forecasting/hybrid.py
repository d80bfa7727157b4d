"""Hybrid forecasting: latent dynamics and the true solver by turns."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from pyro_msm.data.gaps import with_gaps
from pyro_msm.data.schema import variable
from pyro_msm.errors import InputError
from pyro_msm.forecasting.contract import Randomness, root_entropy
from pyro_msm.forecasting.latent import LatentForecaster
from pyro_msm.forecasting.solvers import Solver, StepFunction, as_solver


@dataclass(frozen=True)
class Alternation:
    """When a hybrid forecast leaves the latent dynamics for the solver.

    Exactly one of ``ratio`` and ``error_budget`` is given.

    Attributes:
        solver_time: T_μ, duration of a solver phase.
        ratio: ρ = T_m/T_μ, latent time per solver time.
        error_budget: the solver takes over when the spread of the ensemble since the last solver
            phase passes this, as a share of the data's range.
    """

    solver_time: float
    ratio: float | None = None
    error_budget: float | None = None

    def __post_init__(self) -> None:
        given = [self.ratio is not None, self.error_budget is not None]
        if sum(given) != 1:
            raise InputError(
                "a hybrid forecast is timed by a ratio or by an error budget: give one of them "
                f"(--ratio 5 or --error-budget 0.01), not {sum(given)}"
            )
        for name in ("solver_time", "ratio", "error_budget"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name} of a hybrid forecast must be above 0, not {value:g}")


@dataclass
class Clock:
    """Seconds that were spent, by what on."""

    seconds: dict[str, float] = field(default_factory=dict)

    def timed(self, what: str, call: Any, *args: Any) -> Any:
        """What ``call(*args)`` returns."""
        began = time.perf_counter()
        result = call(*args)
        self.seconds[what] = self.seconds.get(what, 0.0) + time.perf_counter() - began
        return result


class Hybrid:
    """Forecasts in which any latent forecaster and a true solver take turns.

    From the initial snapshots on, phases of latent dynamics and of the solver alternate: the last
    latent state is decoded and lifted to a state of the solver, which runs for T_μ; its
    observations, one every ``step``, are assimilated, and the latent dynamics go on from there
    (Vlachas et al., *Nature Machine Intelligence* 2022). A phase shorter than the warm-up of a
    forecaster without a memory (``remembers``) goes with the snapshots forecast before it.

    With a fixed **ratio** every member is a path of its own, latent and true phases alike. With an
    **error budget** each trajectory has a clock of its own: its members show by their spread how
    far the latent dynamics can be trusted; when that passes the budget the solver takes over from
    the mean of their latents, and after it all members start from the same true snapshots. Their
    spread is then that since the last solver phase, not since the start.

    A path whose values are not finite is lost: NaN from there on, whatever later phases give. Under
    an error budget it is the solver that loses a path, and all members with it: a member that the
    latent dynamics lose has no spread that could be trusted, so the solver takes over before.

    Args:
        forecaster: fitted.
        solver: a ``Solver``, or a function (state, t, duration) → state of observations.
        alternation: when to change.
        step: time between two snapshots of the data, in which all phases are counted.
        scale: range of the data, to go with a snapshot; the error budget is in its units.

    Example:
        >>> Alternation(solver_time=10.0, ratio=5.0).ratio
        5.0
    """

    def __init__(
        self,
        forecaster: LatentForecaster,
        solver: Solver | StepFunction,
        alternation: Alternation,
        step: float,
        scale: np.ndarray | float = 1.0,
    ) -> None:
        self.forecaster, self.solver = forecaster, as_solver(solver)
        self.alternation, self.step, self.scale = alternation, step, np.asarray(scale)
        self.solver_steps = max(1, round(alternation.solver_time / step))
        missing = max(0, forecaster.warmup - self.solver_steps)
        #: Snapshots before those of a solver phase that an assimilation needs as well.
        self.history = 0 if forecaster.remembers else missing
        self.clock = Clock()

    def forecast(
        self, initial: xr.Dataset, times: np.ndarray, members: int = 1, generator: Randomness = None
    ) -> xr.Dataset:
        """A forecast as any ``Forecaster`` gives it, and what the solver had to do.

        Args:
            initial: see ``Forecaster.forecast_blocks``.
            times: on the grid of snapshots that starts with the last initial one.
            members: size of the ensemble; an error budget needs at least 2.
            generator: root of the random streams of the latent dynamics.

        Returns:
            The variable (member, trajectory, time, …); ``diverged_at(member, trajectory)``, see
            ``Forecaster``; ``solver(member, trajectory, time)``, 1 where a value is the solver's;
            attributes ``solver_share`` (of the time forecast) and ``seconds_latent``,
            ``seconds_decode`` and ``seconds_solver``.

        Raises:
            InputError: times off the grid, or an error budget with fewer than two members.
        """
        start = float(initial["time"].values[-1])
        places = (np.asarray(times, float) - start) / self.step
        kept = places.round().astype(int)
        if not len(kept) or kept[0] < 0 or np.abs(places - kept).max() > 1e-3:
            raise InputError(
                f"a hybrid forecast goes in steps of {self.step:g} from t = {start:g}: its times "
                "must be among those"
            )
        ahead = start + self.step * np.arange(1, max(1, kept[-1]) + 1)
        grid = np.concatenate([initial["time"].values, ahead])
        root = root_entropy(generator)
        if self.alternation.ratio is not None:
            values, solved = self._by_ratio(initial, grid, members, root)
        else:
            values, solved = self._by_budget(initial, grid, members, root)
        return self._labelled(initial, values, solved, kept, times)

    # --- a fixed ratio ---------------------------------------------------------------------------

    def _by_ratio(
        self, initial: xr.Dataset, grid: np.ndarray, members: int, root: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Values (member, trajectory, time, …), and (…, time) whether they are the solver's.

        Args:
            initial: the snapshots before the forecast.
            grid: (time,) theirs, and those of the forecast.
            members: size of the ensemble.
            root: of the random streams.
        """
        count, done = initial.sizes["trajectory"], initial.sizes["time"]
        copies = initial.isel(trajectory=np.tile(np.arange(count), members))
        ratio = float(self.alternation.ratio or 0.0)
        latent_steps = max(1, round(ratio * self.solver_steps))
        state = self.forecaster.encode(copies, 1, root)
        path, solved = _begun(copies, len(grid)), np.zeros(len(grid), bool)
        while done < len(grid):
            phase = grid[done : done + latent_steps]
            state, latents = self._advanced(state, phase)
            path[:, done : done + len(phase)] = self._decoded(latents)[0]
            done += len(phase)
            if done < len(grid):
                state, phase = self._relieved(self.solver, state, path, grid, done)
                solved[done : done + len(phase)] = True
                done += len(phase)
        values = path.reshape(members, count, *path.shape[1:])
        return values, np.broadcast_to(solved, values.shape[:3])

    # --- an error budget -------------------------------------------------------------------------

    def _by_budget(
        self, initial: xr.Dataset, grid: np.ndarray, members: int, root: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """As ``_by_ratio``; every trajectory by itself."""
        if members < 2:
            raise InputError(
                "an error budget is held against the spread of an ensemble: take 2 members or more "
                f"(--members), not {members}"
            )
        values, solved = [], []
        for which in range(initial.sizes["trajectory"]):
            one = initial.isel(trajectory=[which])
            part = getattr(self.solver, "part", None)
            solver = self.solver if part is None else part(which)
            found, by_solver = self._guarded(solver, one, grid, members, root + which)
            values.append(found)
            solved.append(by_solver)
        turns = np.stack(solved)
        return np.concatenate(values, 1), np.broadcast_to(turns, (members, *turns.shape))

    def _guarded(
        self, solver: Solver, initial: xr.Dataset, grid: np.ndarray, members: int, root: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """(member, 1, time, …) of one trajectory, and (time,) whether the solver gave it."""
        state, done = self.forecaster.encode(initial, members, root), initial.sizes["time"]
        # The one path of the solver, and of the mean latents where it takes over from those.
        path, solved = _begun(initial, len(grid)), np.zeros(len(grid), bool)
        values = np.repeat(path[np.newaxis], members, 0)
        since: list[np.ndarray] = []  # the last trusted latents since the last true snapshot
        while done < len(grid):
            phase = grid[done : done + self.solver_steps]
            ahead, latents = self._advanced(state, phase)
            found = self._decoded(latents)
            over = ~(self._spread(found) <= float(self.alternation.error_budget or 0.0))
            trusted = int(over.argmax()) if over.any() else len(phase)
            # What is beyond the budget is not kept: the solver goes there instead.
            values[:, :, done : done + trusted] = found[:, :, :trusted]
            since = [*since, *latents[:trusted]][-max(1, self.history) :]
            done += trusted
            if trusted == len(phase):
                state = ahead
                continue
            if trusted:
                state, _ = self._advanced(state, phase[:trusted])
            if since:
                mean = np.stack(since).mean(1, keepdims=True)
                path[:, done - len(since) : done] = self._decoded(mean)[0]
            state, phase = self._relieved(solver, state, path, grid, done)
            turn = slice(done, done + len(phase))
            values[:, :, turn], solved[turn], since = path[:, turn], True, []
            done += len(phase)
        return values, solved

    def _spread(self, values: np.ndarray) -> np.ndarray:
        """(time,) mean standard deviation over members of (member, 1, time, …), in ranges.

        Of particles it is that of their mean position.
        """
        if self.particles:
            values = values.mean(-2)
        with np.errstate(invalid="ignore"):
            spread = values.std(0, ddof=1) / self.scale
        return spread.mean(tuple(range(2, spread.ndim)))[0]

    # --- phases ----------------------------------------------------------------------------------

    @property
    def particles(self) -> bool:
        """Whether what is forecast is particles."""
        return getattr(self.forecaster, "variable", "field") == "particles"

    def _relieved(
        self, solver: Solver, state: Any, path: np.ndarray, grid: np.ndarray, done: int
    ) -> tuple[Any, np.ndarray]:
        """A solver phase from the last of the ``done`` snapshots on, which is added to ``path``.

        Args:
            solver: of the paths.
            state: latent, at the last snapshot.
            path: (path, time, …), changed in place.
            grid: (time,).
            done: number of snapshots that there are.

        Returns:
            The state after it, which nobody needs at the end of the grid; its times.
        """
        phase = grid[done : done + self.solver_steps]
        end = done + len(phase)
        path[:, done:end] = self._solve(solver, path[:, done - 1], phase)
        if end < len(grid):
            seen = slice(max(0, done - self.history), end)
            state = self._assimilated(state, path[:, seen], grid[seen])
        return state, phase

    def _advanced(self, state: Any, phase: np.ndarray) -> tuple[Any, np.ndarray]:
        found: tuple[Any, np.ndarray] = self.clock.timed(
            "latent", self.forecaster.advance, state, phase
        )
        return found

    def _decoded(self, latents: np.ndarray) -> np.ndarray:
        """(member, trajectory, time, …)."""
        decoded = self.clock.timed("decode", self.forecaster.decode, latents)
        values: np.ndarray = decoded[variable(decoded)].values
        return values

    def _solve(self, solver: Solver, start: np.ndarray, phase: np.ndarray) -> np.ndarray:
        """Observations (count, time, …) at the times of a phase, one step after ``start``."""
        lost = ~np.isfinite(start.reshape(len(start), -1)).all(1)
        state = solver.lift(np.where(np.isfinite(start), start, 0.0))
        found = []
        for when in phase - self.step:
            state = self.clock.timed("solver", solver.step, state, float(when), self.step)
            found.append(solver.observe(state))
        values = np.stack(found, 1)
        values[lost] = np.nan
        return values.astype(np.float32)

    def _assimilated(self, state: Any, values: np.ndarray, times: np.ndarray) -> Any:
        name = "particles" if self.particles else "field"
        rest = ("particle", "component") if self.particles else ("channel", "x", "y")
        dims = ("trajectory", "time", *rest)[: values.ndim]
        whole = np.where(np.isfinite(values), values, 0.0)  # nothing later of a lost path is kept
        snapshots = xr.Dataset({name: (dims, whole)}, coords={"time": times})
        return self.clock.timed("latent", self.forecaster.assimilate, state, snapshots)

    def _labelled(
        self,
        initial: xr.Dataset,
        values: np.ndarray,
        solved: np.ndarray,
        kept: np.ndarray,
        times: np.ndarray,
    ) -> xr.Dataset:
        name, seen = variable(initial), initial.sizes["time"]
        lost = _lost(values, seen)
        values[lost] = np.nan
        places, times = seen - 1 + kept, np.asarray(times, float)
        lost = lost[:, :, places]
        since = np.where(lost.any(2), times[lost.argmax(2)], np.nan)
        lead = ("member", "trajectory", "time")
        dims = (*lead, *map(str, initial[name].dims[2:]))
        result = xr.Dataset(
            {
                name: (dims, values[:, :, places]),
                "diverged_at": (lead[:2], since),
                "solver": (lead, solved[:, :, places].astype(np.int8)),
            },
            coords={"time": times},
        )
        for axis in (*initial[name].dims[2:], "trajectory"):
            if axis in initial.coords:
                result = result.assign_coords({axis: initial[axis].values})
        result.attrs |= {"solver_share": float(solved[:, :, seen:].mean())}
        result.attrs |= {f"seconds_{what}": s for what, s in self.clock.seconds.items()}
        return result


def _begun(initial: xr.Dataset, count: int) -> np.ndarray:
    """(trajectory, count, …): the initial snapshots, and NaN where none are known yet."""
    first = initial[variable(initial)].values
    path = np.full((len(first), count, *first.shape[2:]), np.nan, first.dtype)
    path[:, : first.shape[1]] = first
    return path


def _lost(values: np.ndarray, seen: int) -> np.ndarray:
    """Whether a path has been not finite since the initial snapshots: (member, trajectory, time).

    Args:
        values: (member, trajectory, time, …).
        seen: number of initial snapshots, which may have gaps.
    """
    lost = ~np.isfinite(values).all(tuple(range(3, values.ndim)))
    lost[:, :, :seen] = False
    return np.logical_or.accumulate(lost, axis=2)


def data_range(data: xr.Dataset) -> np.ndarray:
    """Range of each channel or component over a dataset, to go with a snapshot.

    (channel, 1, …) of fields, (component,) of particles.
    """
    values = data[variable(data)].copy(data=with_gaps(data))
    label = "channel" if "channel" in values.dims else "component"
    over = [dim for dim in values.dims if dim != label]
    span = (values.max(over) - values.min(over)).values
    axes = values.ndim - 3 if label == "channel" else 0
    return np.maximum(span, 1e-12).reshape(-1, *(1 for _ in range(axes)))
