"""Reservoir, recurrent network and coarse-scale PDEs on data whose future is known."""

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal

from pyro_msm import data
from pyro_msm.errors import InputError
from pyro_msm.forecasting.baselines import (
    CoarsePdeGp,
    CoarsePdeNeural,
    PodRnn,
    Reservoir,
    coarse_pde_gp,
    coarse_pde_neural,
    pod_rnn,
    reservoir,
    tuning,
)

WARMUP = 10


def dataset(values, split, times, x, boundary, length, **attrs):
    """``values`` (trajectory, time, channel, x) as a validated dataset."""
    return data.validate(
        xr.Dataset(
            {"field": (("trajectory", "time", "channel", "x"), values)},
            {"time": times, "x": x, "split": ("trajectory", split)},
            {"boundary": [boundary], "domain": [length], **attrs},
        )
    )


def turning(frames=121, **attrs):
    """Waves sin(x - t) and sin(2x - 2t) of random phase, which go round for ever."""
    x, times = 2 * np.pi * np.arange(16) / 16, 0.2 * np.arange(frames)
    phase = np.random.default_rng(0).uniform(0, 2 * np.pi, (7, 1, 1, 1))
    angle = x - times[:, None, None] - phase
    values = np.sin(angle) + 0.3 * np.sin(2 * angle)
    split = ["train"] * 4 + ["validation"] * 2 + ["test"]
    return dataset(values, split, times, x, "periodic", 2 * np.pi, **attrs)


def diffusing(boundary):
    """Of u_t = D (u_xx + u_x²), the heat equation for exp(u), with D = 0.2 and 0.1."""
    length, times = np.pi, 0.1 * np.arange(31)
    x = np.linspace(0, length, 33)[: 33 if boundary == "wall" else 32]
    rng, values = np.random.default_rng(1), 2.0
    for wave in (1, 2) if boundary == "wall" else (2, 4):
        decay = np.exp(-(wave**2) * np.multiply.outer(times, [0.2, 0.1]))
        amplitude, phase = rng.uniform(-0.8, 0.8, (8, 1, 2, 1)), rng.uniform(0, 6, (8, 1, 1, 1))
        shape = np.cos(wave * x - (0 if boundary == "wall" else phase))
        values = values + amplitude * decay[..., None] * shape
    split = ["train"] * 5 + ["validation"] * 2 + ["test"]
    return dataset(np.log(values), split, times, x, boundary, length)


def forecast_of(fitted, record, warmup, last=None):
    test = data.select(record, "test")
    initial, later = test.isel(time=slice(0, warmup)), test["time"].values[warmup:last]
    return fitted.forecast(initial, later)["field"][0].values, test["field"].values[:, warmup:last]


@pytest.mark.parametrize(
    ("baseline", "reached"),
    [(Reservoir(WARMUP, units=100), 0.02), (PodRnn(WARMUP, steps=150), 0.1)],
)
def test_what_turns_goes_on_turning(baseline, reached, tmp_path, monkeypatch):
    monkeypatch.setattr(pod_rnn, "RANKS", (4,))
    monkeypatch.setattr(reservoir, "RANKS", (4,))
    record = turning(frames=71)
    forecast, truth = forecast_of(baseline.fit(record), record, WARMUP)
    assert np.abs(forecast - truth).max() < reached * np.abs(truth).max()
    baseline.save(tmp_path)
    again, _ = forecast_of(type(baseline).load(tmp_path), record, WARMUP)
    assert_array_equal(again, forecast)
    # Half a time step later the wave is half a step further.
    test = data.select(record, "test")
    start, times = test.isel(time=slice(0, WARMUP)), test["time"].values[WARMUP:]
    between = baseline.forecast(start, times + 0.1)["field"][0].values
    assert_allclose(between[:, :-1], (forecast[:, :-1] + forecast[:, 1:]) / 2, atol=0.02)


def test_the_same_seed_gives_the_same_numbers(monkeypatch):
    monkeypatch.setattr(pod_rnn, "RANKS", (4,))
    monkeypatch.setattr(reservoir, "RANKS", (4,))
    record = turning(frames=41)
    for kind, options in ((Reservoir, {"units": 40}), (PodRnn, {"steps": 5})):
        one, same, other = (
            forecast_of(kind(seed=seed, **options).fit(record), record, 1)[0] for seed in (0, 0, 1)
        )
        assert_array_equal(one, same)
        assert not np.array_equal(one, other)


def test_a_budget_ends_the_training(monkeypatch):
    monkeypatch.setattr(pod_rnn, "RANKS", (4,))
    baseline = PodRnn(steps=10**6, budget_seconds=0.1).fit(turning(frames=41))
    assert baseline.choice["steps"] < 1000


def test_connections_have_the_spectral_radius():
    connected = Reservoir(units=60)._connected()
    matrix = reservoir._matrix(connected["sources"], connected["links"]).toarray()
    assert_allclose(np.abs(np.linalg.eigvals(matrix)).max(), reservoir.RADIUS)
    assert ((matrix != 0).sum(1) == 9).all()


@pytest.mark.parametrize("boundary", ["wall", "periodic"])
@pytest.mark.parametrize("kind", [CoarsePdeNeural, CoarsePdeGp])
def test_an_equation_is_found(kind, boundary, monkeypatch, tmp_path):
    if kind is CoarsePdeGp:
        pytest.importorskip("sklearn")
    monkeypatch.setattr(coarse_pde_neural, "WIDTHS", (8,))
    monkeypatch.setattr(coarse_pde_neural, "DECAYS", (0.0,))
    monkeypatch.setattr(coarse_pde_gp, "COUNTS", (120,))
    record = diffusing(boundary)
    fitted = (kind(steps=150) if kind is CoarsePdeNeural else kind()).fit(record)
    forecast, truth = forecast_of(fitted, record, 1)
    assert np.abs(forecast - truth).mean() < 3e-3 * np.ptp(truth)
    assert fitted.validation_error < 0.015
    # What is linear alone does not do.
    whole, fitted._model["rates"] = fitted._model["rates"], np.zeros(2)
    linear, _ = forecast_of(fitted, record, 1)
    assert np.abs(linear - truth).mean() > 3 * np.abs(forecast - truth).mean()
    fitted._model["rates"] = whole
    fitted.save(tmp_path)
    again, _ = forecast_of(kind.load(tmp_path), record, 1)
    assert_array_equal(again, forecast)


def test_an_equation_that_blows_up_has_diverged(monkeypatch):
    monkeypatch.setattr(coarse_pde_neural, "WIDTHS", (4,))
    monkeypatch.setattr(coarse_pde_neural, "DECAYS", (0.0,))
    record = diffusing("wall")
    fitted = CoarsePdeNeural(steps=10).fit(record)
    fitted._model["linear"][-1] = 1e4  # a constant source
    test = data.select(record, "test")
    made = fitted.forecast(test.isel(time=[0]), test["time"].values[1:])
    assert np.isfinite(made["diverged_at"]).all()
    assert np.isnan(made["field"].values[0, 0, -1]).all()


def test_a_spent_budget_leaves_the_first_equation(monkeypatch):
    trained = []
    given = CoarsePdeNeural._trained

    def counted(self, *arguments):
        trained.append(arguments[2:])
        return given(self, *arguments)

    monkeypatch.setattr(CoarsePdeNeural, "_trained", counted)
    fitted = CoarsePdeNeural(steps=3, budget_seconds=1e-6).fit(diffusing("wall"))
    # The second was trained when the time was found to be over; none of the others was.
    assert len(trained) == 2
    assert fitted.choice == {"width": trained[0][0], "decay": trained[0][1]}
    assert fitted.validation_error == np.inf


@pytest.mark.parametrize("kind", [CoarsePdeNeural, CoarsePdeGp])
def test_equations_are_for_one_closed_axis(kind):
    record = turning(frames=21)
    with pytest.raises(InputError, match="on one axis, periodic or between walls: it does not"):
        kind().fit(record.assign_attrs(boundary=["open"]))
    plane = data.systems.get("burgers-2d", points=16, frames=6).simulate({"train": 1, "test": 1})
    with pytest.raises(InputError, match="it does not apply"):
        kind().fit(data.validate(plane))
    particles = data.systems.get("advection-diffusion-1d", points=5, frames=8, end_time=0.1)
    with pytest.raises(InputError, match="does not apply"):
        kind().fit(data.validate(particles.simulate({"train": 2, "validation": 1})))


def test_chaos_is_judged_over_two_lyapunov_times():
    plain, chaotic = turning(), turning(lyapunov_time=2.0)
    whole = tuning.gathered(plain, "any", WARMUP).held_out
    windows = tuning.gathered(chaotic, "any", WARMUP).held_out
    assert whole.shape[:2] == (2, 121)
    assert windows.shape[:2] == (8, 30)  # 20 frames of 0.2 after the warm-up, four in 121
    assert_array_equal(windows[5], whole[1, 30:60])
    made = data.systems.get("kuramoto-sivashinsky").simulate({"test": 1}, frames=2, end_time=0.25)
    assert_allclose(made.attrs["lyapunov_time"], 20.83, atol=0.01)
