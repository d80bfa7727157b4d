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


@pytest.mark.parametrize("how", [{"ratio": 1.0}, {"error_budget": 0.02}])
def test_the_multiscale_model_takes_turns_with_a_solver(how: dict[str, float]) -> None:
    """Its states go out to the solver and come back: both know the advection exactly."""
    data = travelling_waves(noise=0.0)
    made = forecaster(data, macro=40, physics={"advection": 1.0})
    made.calibration = Calibration(dispersion=10.0)
    start, times = initial_window(data, 1), data["time"].values[1:]
    step = float(times[1] - times[0])

    def advection(state: np.ndarray, t: float, duration: float) -> np.ndarray:
        waves = np.fft.rfft(state, axis=-1)
        turn = np.exp(-2j * np.pi * np.arange(waves.shape[-1]) * duration)
        return np.fft.irfft(waves * turn, state.shape[-1], axis=-1)

    alternation = Alternation(solver_time=4 * step, **how)
    hybrid = Hybrid(made, advection, alternation, step, scale=data_range(data))
    found = hybrid.forecast(start, times, members=8, generator=0)
    truth = data["field"].values[:, 1:]
    assert 0.1 < found.attrs["solver_share"] < 0.9
    gap = found["field"].mean("member") - truth
    assert float(np.sqrt((gap**2).mean())) < 0.06
    again = hybrid.forecast(start, times, members=8, generator=0)
    np.testing.assert_array_equal(again["field"], found["field"])
