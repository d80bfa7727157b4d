"""Hybrid forecasts with latent dynamics that are exact, or wrong in a known way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pytest
import xarray as xr

from pyro_msm.data import systems
from pyro_msm.errors import InputError
from pyro_msm.forecasting import LatentForecaster, initial_window
from pyro_msm.forecasting.calibration import Calibration
from pyro_msm.forecasting.hybrid import Alternation, Hybrid, data_range
from pyro_msm.forecasting.solver_cost import cheapest_setting
from pyro_msm.forecasting.solvers import FunctionSolver, SystemSolver, as_solver
from tests.small_fields import forecaster, travelling_waves
from tests.small_led import small_led, waves

STEP = 0.5
RATE = 0.3


def turned(state: np.ndarray, duration: float) -> np.ndarray:
    """(…, 1, 2) fields that rotate with unit angular frequency."""
    cos, sin = np.cos(duration), np.sin(duration)
    return state @ np.array([[cos, sin], [-sin, cos]])


@dataclass(frozen=True)
class Turning:
    time: float
    values: np.ndarray
    since: float


class Drifting(LatentForecaster):
    """The exact rotation, beside which member m drifts away at ``drift``·(m − mean) since the last
    snapshot that it has seen."""

    name = "drifting"

    def __init__(self, drift: float = 0.0) -> None:
        self.drift = drift

    def encode(self, window: xr.Dataset, members: Any = 1, generator: Any = None) -> Turning:
        time = float(window["time"][-1])
        last = window["field"].values[:, -1].astype(float)
        return Turning(time, np.broadcast_to(last, (members, *last.shape)), time)

    def advance(self, state: Turning, times: np.ndarray, generator: Any = None) -> Any:
        count = len(state.values)
        offset = self.drift * (np.arange(count) - (count - 1) / 2).reshape(-1, 1, 1, 1)
        base = state.values - offset * (state.time - state.since)
        path = [turned(base, t - state.time) + offset * (t - state.since) for t in times]
        latents = np.stack(path).reshape(len(times), count, len(base[0]), 2)
        return replace(state, time=float(times[-1]), values=path[-1]), latents

    def assimilate(self, state: Turning, snapshots: xr.Dataset) -> Turning:
        time = float(snapshots["time"][-1])
        last = snapshots["field"].values[:, -1].astype(float)
        return Turning(time, np.broadcast_to(last, state.values.shape), time)

    def decode(self, latents: np.ndarray) -> xr.Dataset:
        field = np.moveaxis(latents, 0, 2)[..., np.newaxis, :]
        return xr.Dataset({"field": (("member", "trajectory", "time", "channel", "x"), field)})

    def values_per_snapshot(self) -> int:
        return 2

    def fit(self, data: xr.Dataset) -> Self:
        return self

    def state(self) -> Any:
        return {}, {}

    @classmethod
    def restore(cls, arrays: Any, settings: Any) -> Self:
        return cls()


def initial(count: int = 3) -> xr.Dataset:
    phase = np.arange(count) * 1.0
    field = np.stack([np.cos(phase), np.sin(phase)], -1)[:, None, None]
    return xr.Dataset(
        {"field": (("trajectory", "time", "channel", "x"), field)},
        coords={"time": [2.0], "x": [0.0, 1.0], "channel": ["u"]},
    )


def solver(state: np.ndarray, t: float, duration: float) -> np.ndarray:
    return turned(state, duration)


TIMES = 2.0 + STEP * np.arange(1, 41)


@pytest.mark.parametrize("how", [{"ratio": 3.0}, {"ratio": 0.5}, {"error_budget": 0.1}])
def test_exact_latent_dynamics_stay_exact(how: dict[str, float]) -> None:
    hybrid = Hybrid(Drifting(), solver, Alternation(solver_time=1.0, **how), STEP)
    found = hybrid.forecast(initial(), TIMES, members=2)
    truth = np.stack([turned(initial()["field"].values[:, 0], t - 2.0) for t in TIMES], 1)
    assert np.allclose(found["field"].values, truth, atol=1e-6)


def test_a_ratio_divides_the_time() -> None:
    hybrid = Hybrid(Drifting(), solver, Alternation(solver_time=1.0, ratio=3.0), STEP)
    found = hybrid.forecast(initial(), TIMES)
    cycle = [0] * 6 + [1] * 2
    assert found["solver"].values[0, 1].tolist() == cycle * 5
    assert found.attrs["solver_share"] == pytest.approx(0.25)


def test_spread_stays_within_the_budget_and_the_solver_rests_as_long_as_it_does() -> None:
    drift, budget = 0.02, 0.0501
    alternation = Alternation(solver_time=1.0, error_budget=budget)
    hybrid = Hybrid(Drifting(drift), solver, alternation, STEP, scale=2.0)
    found = hybrid.forecast(initial(2), TIMES, members=3)
    spread = found["field"].std("member", ddof=1).max(("channel", "x")) / 2.0
    assert float(spread.max()) <= budget + 1e-9
    # std of (−1, 0, 1)·drift·t is drift·t, in a range of 2: within the budget up to t = 5.
    cycle = [0] * 10 + [1] * 2
    expected = (cycle * 4)[: len(TIMES)]
    assert found["solver"].values[0].tolist() == [expected] * 2
    # Drifts cancel in the mean, which is where the solver starts.
    truth = np.stack([turned(initial(2)["field"].values[:, 0], t - 2.0) for t in TIMES], 1)
    assert np.allclose(found["field"].mean("member"), truth, atol=1e-6)


def test_without_any_trust_the_solver_does_it_all() -> None:
    alternation = Alternation(solver_time=1.0, error_budget=1e-6)
    found = Hybrid(Drifting(1.0), solver, alternation, STEP).forecast(initial(1), TIMES, 2)
    assert found.attrs["solver_share"] == 1.0


class Cubed(Drifting):
    """Latents whose cubes are the field: the mean of fields is not the field of mean latents."""

    def encode(self, window: xr.Dataset, members: Any = 1, generator: Any = None) -> Turning:
        return super().encode(np.cbrt(window), members, generator)

    def assimilate(self, state: Turning, snapshots: xr.Dataset) -> Turning:
        return super().assimilate(state, np.cbrt(snapshots))

    def decode(self, latents: np.ndarray) -> xr.Dataset:
        return super().decode(latents**3)


@pytest.mark.parametrize("solver_time", [STEP, 2.5])
def test_the_solver_starts_from_the_mean_latents(solver_time: float) -> None:
    """Also where the budget is passed at the first step of a phase: all phases may be one step."""

    def cubed(state: np.ndarray, t: float, duration: float) -> np.ndarray:
        return turned(np.cbrt(state), duration) ** 3

    hybrid = Hybrid(Cubed(0.1), cubed, Alternation(solver_time, error_budget=0.5), STEP)
    found = hybrid.forecast(initial() ** 3, TIMES, members=3)
    truth = np.stack([turned(initial()["field"].values[:, 0], t - 2.0) for t in TIMES], 1) ** 3
    by_solver = found["solver"].values[0] == 1
    starts = by_solver[:, 1:] & ~by_solver[:, :-1]
    assert (starts.sum(1) > 2).all()
    for member in found["field"].values:
        assert np.allclose(member[by_solver], truth[by_solver], atol=1e-6)


# --- paths that are lost -------------------------------------------------------------------------


class Losing(Drifting):
    """Loses one path of all in the latent phase that reaches t = 8."""

    def __init__(self, member: int, trajectory: int) -> None:
        super().__init__()
        self.where = member, trajectory

    def advance(self, state: Turning, times: np.ndarray, generator: Any = None) -> Any:
        state, latents = super().advance(state, times)
        if times[0] <= 8.0 <= times[-1]:
            latents[times >= 8.0, *self.where] = np.nan
        return state, latents


def breaking(state: np.ndarray, t: float, duration: float) -> np.ndarray:
    """The rotation, but for an infinite value of the third trajectory at t = 9.5; what starts from
    finite values after that is turned as ever."""
    found = turned(state, duration)
    if t == 9.0:
        found[found[:, 0, 1] < 0.5, 0, 0] = np.inf
    return found


def assert_lost_since(found: xr.Dataset, since: np.ndarray) -> None:
    """NaN from ``since`` (member, trajectory) on, exact before; NaN there: exact at all times."""
    np.testing.assert_array_equal(found["diverged_at"], since)
    truth = np.stack([turned(initial()["field"].values[:, 0], t - 2.0) for t in TIMES], 1)
    lost = since[..., None] <= TIMES
    expected = np.where(lost[..., None, None], np.nan, truth)
    np.testing.assert_allclose(found["field"], expected, atol=1e-6)


def test_a_path_that_the_latent_dynamics_lose_does_not_come_back() -> None:
    alternation = Alternation(solver_time=1.0, ratio=3.0)
    found = Hybrid(Losing(0, 4), solver, alternation, STEP).forecast(initial(), TIMES, members=2)
    assert_lost_since(found, np.array([[np.nan] * 3, [np.nan, 8.0, np.nan]]))
    some = Hybrid(Losing(0, 4), solver, alternation, STEP).forecast(initial(), TIMES[::9], 2)
    assert some["diverged_at"].values[1, 1] == TIMES[18]


def test_a_path_that_the_solver_loses_does_not_come_back() -> None:
    hybrid = Hybrid(Drifting(), breaking, Alternation(solver_time=1.0, ratio=3.0), STEP)
    found = hybrid.forecast(initial(), TIMES, members=2)
    assert_lost_since(found, np.array([[np.nan, np.nan, 9.5]] * 2))


def test_with_a_budget_the_solver_loses_all_members() -> None:
    alternation = Alternation(solver_time=1.0, error_budget=1e-12)
    found = Hybrid(Drifting(1.0), breaking, alternation, STEP).forecast(initial(), TIMES, members=2)
    assert found.attrs["solver_share"] == 1.0
    assert_lost_since(found, np.array([[np.nan, np.nan, 9.5]] * 2))


def test_with_a_budget_the_solver_takes_over_where_the_latent_dynamics_lose_a_member() -> None:
    alternation = Alternation(solver_time=1.0, error_budget=0.1)
    found = Hybrid(Losing(1, 0), solver, alternation, STEP).forecast(initial(), TIMES, members=2)
    assert_lost_since(found, np.full((2, 3), np.nan))
    by_solver = found["solver"].values[0, 0]
    assert by_solver[list(TIMES).index(8.0)] == 1
    assert by_solver.sum() == 2


# --- warm-ups ------------------------------------------------------------------------------------


class Needing(Drifting):
    """Needs three snapshots that follow one another, each the rotation of the one before."""

    warmup = 3

    def assimilate(self, state: Turning, snapshots: xr.Dataset) -> Turning:
        last = snapshots.isel(time=slice(-3, None))
        assert np.allclose(np.diff(last["time"]), STEP)
        field = last["field"].values
        assert field.shape[1] == 3
        assert np.allclose(field[:, 1:], turned(field[:, :-1], STEP), atol=1e-6)
        return super().assimilate(state, snapshots)


@pytest.mark.parametrize("how", [{"ratio": 1.0}, {"ratio": 4.0}, {"error_budget": 0.03}])
@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_a_solver_phase_may_be_shorter_than_the_warm_up(how: dict[str, float], steps: int) -> None:
    before = xr.concat([initial().assign_coords(time=[1.0 + STEP * i]) for i in range(3)], "time")
    for i in range(3):
        before["field"][:, i] = turned(initial()["field"].values[:, 0], STEP * (i - 2))
    alternation = Alternation(solver_time=steps * STEP, **how)
    hybrid = Hybrid(Needing(0.01), solver, alternation, STEP)
    found = hybrid.forecast(before, TIMES, members=3)
    assert 0 < found.attrs["solver_share"] < 1
    truth = np.stack([turned(initial()["field"].values[:, 0], t - 2.0) for t in TIMES], 1)
    assert np.allclose(found["field"].mean("member"), truth, atol=1e-6)


def test_effective_dynamics_are_shown_each_snapshot_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose memory has seen those before a phase: its warm-up is three."""
    data, made = waves(), small_led()
    made.build(data, 0)
    shown, assimilate = [], type(made).assimilate

    def record(self: Any, state: Any, snapshots: xr.Dataset) -> Any:
        shown.append(snapshots.sizes["time"])
        return assimilate(self, state, snapshots)

    monkeypatch.setattr(type(made), "assimilate", record)
    alternation = Alternation(solver_time=made.step, ratio=2.0)
    hybrid = Hybrid(made, lambda state, t, duration: state, alternation, made.step)
    hybrid.forecast(initial_window(data, 3), data["time"].values[3:9])
    assert shown == [1]  # after the second and last solver phase there is nothing to forecast


def test_times_may_be_some_of_the_grid() -> None:
    hybrid = Hybrid(Drifting(), solver, Alternation(1.0, ratio=1.0), STEP)
    whole = hybrid.forecast(initial(), np.concatenate([[2.0], TIMES]))
    some = hybrid.forecast(initial(), TIMES[4::7])
    assert np.allclose(some["field"], whole["field"].sel(time=TIMES[4::7]), atol=1e-7)
    assert np.allclose(whole["field"][:, :, 0], initial()["field"][:, 0], atol=1e-7)


def test_systems_run_at_the_absolute_times_of_their_trajectories() -> None:
    system = systems.get("advection-diffusion-1d", time_step=0.01, frames=3, end_time=1.0, points=5)
    data = system.simulate({"test": 2}, seed=0)
    whole = SystemSolver.for_data(system, data, copies=2, seed=3)
    start = np.zeros((4, 5, 1))
    found = whole.step(start, 0.5, 0.1)
    alone = SystemSolver.for_data(system, data, copies=2, seed=3).part(3).step(start[:1], 0.5, 0.1)
    assert np.allclose(found[3], alone[0])
    assert not np.allclose(found[1], found[3])  # another copy, other random numbers


def test_cheapest_setting_is_accurate_enough() -> None:
    system = systems.get("fitzhugh-nagumo", time_step=0.02)
    start = system.observe(system.initial_condition(np.random.default_rng(0)))
    best, own = cheapest_setting(system, start, np.arange(4.0), error=0.02)
    assert best.error <= 0.02
    assert best.seconds < own.seconds
    strict, _ = cheapest_setting(system, start, np.arange(3.0), error=0.0)
    assert strict.error == 0.0


def test_ranges_are_those_of_each_channel() -> None:
    values = np.zeros((1, 2, 2, 3))
    values[0, :, 0] = [[0, 1, 2], [-1, 0, 0]]
    values[0, :, 1, 0] = [4, 4.5]
    data = xr.Dataset({"field": (("trajectory", "time", "channel", "x"), values)})
    assert data_range(data).tolist() == [[3.0], [4.5]]


def test_what_does_not_go_together_is_told() -> None:
    with pytest.raises(InputError, match="give one of them"):
        Alternation(1.0)
    with pytest.raises(InputError, match="not 2"):
        Alternation(1.0, ratio=1.0, error_budget=0.1)
    with pytest.raises(InputError, match="above 0"):
        Alternation(1.0, ratio=-1.0)
    with pytest.raises(InputError, match="needs a solver"):
        as_solver(3)  # type: ignore[arg-type]
    budget = Hybrid(Drifting(), solver, Alternation(1.0, error_budget=0.1), STEP)
    with pytest.raises(InputError, match="2 members or more"):
        budget.forecast(initial(), TIMES, 1)
    with pytest.raises(InputError, match="must be among those"):
        budget.forecast(initial(), TIMES + 0.2, 2)
    assert isinstance(as_solver(solver), FunctionSolver)


# --- the multiscale model ------------------------------------------------------------------------


@pytest.mark.parametrize(("snapshots", "steps"), [(1, 4), (3, 2)])
@pytest.mark.parametrize("how", [{"ratio": 1.0}, {"error_budget": 0.02}])
def test_the_multiscale_model_takes_turns_with_a_solver(
    how: dict[str, float], snapshots: int, steps: int
) -> None:
    """Its states go out to the solver and come back: both know the advection exactly."""
    data = travelling_waves(noise=0.0)
    made = forecaster(data, macro=40, snapshots=snapshots, physics={"advection": 1.0})
    made.calibration = Calibration(dispersion=10.0)
    start, times = initial_window(data, snapshots), data["time"].values[snapshots:]
    step = float(times[1] - times[0])

    def advection(state: np.ndarray, t: float, duration: float) -> np.ndarray:
        waves = np.fft.rfft(state, axis=-1)
        turn = np.exp(-2j * np.pi * np.arange(waves.shape[-1]) * duration)
        return np.fft.irfft(waves * turn, state.shape[-1], axis=-1)

    alternation = Alternation(solver_time=steps * step, **how)
    hybrid = Hybrid(made, advection, alternation, step, scale=data_range(data))
    found = hybrid.forecast(start, times, members=8, generator=0)
    truth = data["field"].values[:, snapshots:]
    assert 0.1 < found.attrs["solver_share"] < 0.9
    gap = found["field"].mean("member") - truth
    assert float(np.sqrt((gap**2).mean())) < 0.06
    again = hybrid.forecast(start, times, members=8, generator=0)
    np.testing.assert_array_equal(again["field"], found["field"])
