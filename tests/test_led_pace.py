"""The pace of a forecast, corrected by what is seen of the truth."""

from __future__ import annotations

import numpy as np
import pytest

from pyro_msm.forecasting.led.pace import UNKNOWN, Pace


def circle(times: np.ndarray, fast: float = 0.0, ahead: float = 0.0) -> np.ndarray:
    """(time, 1, 1, 2) of a state that turns once in 60 units."""
    angle = 2 * np.pi / 60 * (ahead + (1 + fast) * times)
    return np.stack([np.cos(angle), np.sin(angle)], -1)[:, None, None]


TIMES = np.arange(1.0, 101.0)


@pytest.mark.parametrize("fast", [-4e-3, 0.0, 2e-3])
def test_a_fast_clock_is_slowed_and_a_slow_one_hastened(fast: float) -> None:
    """Whatever the lag was at the start."""
    rng = np.random.default_rng(0)
    seen = circle(TIMES)
    predicted = circle(TIMES, fast, ahead=0.3) + 1e-4 * rng.normal(size=seen.shape)
    found = Pace.unknown(1, 1).corrected(predicted, seen)
    assert float(found.factor[0, 0]) == pytest.approx(1 / (1 + fast), abs=2e-4)
    assert found.variance[0, 0] < UNKNOWN**2 / 10


def test_corrections_are_averaged() -> None:
    """Of an estimate that is wrong by chance each time, by a thousandth."""
    rng = np.random.default_rng(0)
    pace, seen, errors = Pace.unknown(1, 1), circle(TIMES), []
    for _ in range(40):
        errors.append(1.002 * float(pace.factor[0, 0]) - 1)
        by_chance = 1e-3 * rng.normal()
        predicted = circle(TIMES, errors[-1] + by_chance) + 1e-3 * rng.normal(size=seen.shape)
        pace = pace.corrected(predicted, seen)
    assert np.std(errors[10:]) < 7e-4
    assert abs(np.mean(errors[10:])) < 6e-4


def test_what_cannot_be_compared_corrects_nothing() -> None:
    start = Pace.unknown(1, 1)
    still = np.zeros((50, 1, 1, 2))
    lost = circle(TIMES, 0.01)
    lost[5] = np.nan
    short = circle(TIMES[:2])
    pairs = [(still + 0.1, still), (lost, circle(TIMES)), (circle(TIMES[:2], 0.01), short)]
    for predicted, seen in pairs:
        assert start.corrected(predicted, seen).factor[0, 0] == 1


def test_chaos_hardly_moves_it() -> None:
    """Two unrelated paths tell nothing of a clock."""
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=(2, 40, 1, 1, 6)).cumsum(1)
    found = Pace.unknown(1, 1).corrected(one, other)
    assert abs(float(found.factor[0, 0]) - 1) < 1e-2
