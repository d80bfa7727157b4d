"""Schemes for coarse grids against closed forms, finer grids and what they must conserve."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from pyro_msm import data
from pyro_msm.forecasting.baselines.coarse_schemes import Galerkin, Limited

KINDS = [Galerkin, Limited]
PERIODIC = {"domain": (1.0,), "periodic": (True,)}


def points(count, shift=0.0):
    return {"x": (np.arange(count) + shift) / count}


def burgers_pulse(count):
    return 0.3 * np.exp(-(((points(count)["x"] - 0.5) / 0.1) ** 2)).reshape(1, 1, -1)


@pytest.mark.parametrize("kind", KINDS)
def test_advection_is_a_shift(kind):
    errors = []
    for count in (20, 40, 80):
        x = points(count)["x"]
        wave = np.sin(2 * np.pi * x).reshape(1, 1, -1)
        scheme = kind({"advection": 1.0}, points(count), **PERIODIC)
        after = scheme.observe(scheme.step(scheme.lift(wave), 0.0, 0.25))
        errors.append(np.abs(after + np.cos(2 * np.pi * x)).mean())
    if kind is Galerkin:
        assert max(errors) < 1e-12
    else:
        assert (np.log2(np.divide(errors[:-1], errors[1:])) > 1.7).all()


def test_linear_terms_are_exact_on_every_wave_of_the_grid():
    terms = {"advection": 0.7, "diffusion": 0.01, "dispersion": 2e-3, "hyperviscosity": 1e-5}
    x, k, time = points(21)["x"], 2 * np.pi * 7, 0.3
    scheme = Galerkin(terms, points(21), **PERIODIC)
    after = scheme.step(np.cos(k * x).reshape(1, 1, -1), 0.0, time)
    phase = k * x - 0.7 * k * time + 2e-3 * k**3 * time
    decay = np.exp(-(0.01 * k**2 + 1e-5 * k**4) * time)
    assert_allclose(after[0, 0], decay * np.cos(phase), atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [20, 21])
def test_burgers_on_a_coarse_grid_is_stable_and_conserves(kind, count):
    """Central differences on 20 points blow up on colliding shocks."""
    x = points(count)["x"]
    start = (0.4 * np.sin(2 * np.pi * x) + 0.1).reshape(1, 1, -1)
    terms = {"self_advection": 1.0, "diffusion": 5e-4}
    scheme = kind(terms, points(count), **PERIODIC)
    state, energies = scheme.lift(start), []
    for _ in range(10):
        state = scheme.step(state, 0.0, 0.3)
        energies.append(np.square(scheme.observe(state)).mean())
    after = scheme.observe(state)
    assert_allclose(after.mean(), start.mean(), atol=1e-12)
    assert (np.diff([np.square(start).mean(), *energies]) < 1e-5).all()
    if kind is Limited:
        assert start.min() <= after.min()
        assert after.max() <= start.max()


def test_a_shock_moves_at_the_speed_of_rankine_and_hugoniot():
    grid = points(100, shift=0.5)
    start = np.where(grid["x"] < 0.2, 1.0, 0.0).reshape(1, 1, -1)
    scheme = Limited({"self_advection": 1.0}, grid, domain=(1.0,), periodic=(False,))
    after = scheme.observe(scheme.step(scheme.lift(start), 0.0, 1.0))[0, 0]
    # The shock is at 0.2 + t/2; the edges keep their values.
    assert abs(after.sum() / 100 - 0.7) < 0.01
    assert_allclose(after[:60], 1, atol=1e-3)
    assert_allclose(after[80:], 0, atol=1e-3)


@pytest.mark.parametrize(("kind", "order"), [(Galerkin, 3), (Limited, 1.6)])
def test_burgers_converges_to_the_system(kind, order):
    """Towards a solution of 640 points, before the shock forms; its own error is 1e-5."""
    fine = data.systems.get("burgers-1d", points=640, viscosity=5e-3)
    truth = fine.step(burgers_pulse(640), 0.0, 0.3)[0, 0]
    errors = []
    for count in (20, 40, 80):
        scheme = kind(fine.terms, points(count), **PERIODIC)
        after = scheme.observe(scheme.step(scheme.lift(burgers_pulse(count)), 0.0, 0.3))[0, 0]
        errors.append(np.abs(after - truth[:: 640 // count]).mean())
    found = np.log2(errors[0] / errors[2]) / 2
    assert found > order
    assert errors[2] < 1e-3


def test_kdv_of_few_points_follows_the_system():
    system = data.systems.get("kdv-1d", points=240, scheme="spectral")
    grid = {"x": np.arange(40) / 4}
    start = np.exp(-np.square(system.grid()["x"] - 5)).reshape(1, 1, -1)
    truth = system.step(start, 0.0, 1.0)[0, 0]
    scheme = Galerkin(system.terms, grid, domain=(10.0,), periodic=(True,))
    after = scheme.step(start[..., ::6], 0.0, 1.0)[0, 0]
    assert_allclose(after, truth[::6], atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_in_a_plane_nothing_prefers_an_axis(kind):
    grid = {"x": (np.arange(8) + 0.5) / 8, "y": (np.arange(8) + 0.5) / 8}
    x, y = np.meshgrid(*grid.values(), indexing="ij")
    start = np.exp(-((x - 0.3) ** 2 + (y - 0.4) ** 2) / 0.04)[None, None]
    terms = {"self_advection": 1.0, "diffusion": 5e-3}
    scheme = kind(terms, grid, domain=(1.0, 1.0), periodic=(False, False))
    state = scheme.step(scheme.lift(np.concatenate([start, start.swapaxes(2, 3)])), 0.0, 0.5)
    one, other = scheme.observe(state)
    assert_allclose(one, other.swapaxes(1, 2), atol=1e-12)
    assert not np.allclose(one, start[0], atol=0.1)
    assert np.abs(one).max() <= start.max()


@pytest.mark.parametrize("kind", KINDS)
def test_no_trajectory_depends_on_those_beside_it(kind):
    scheme = kind({"self_advection": 1.0, "diffusion": 5e-4}, points(20), **PERIODIC)
    pulse = burgers_pulse(20)
    broken = np.full_like(pulse, np.nan)
    alone = scheme.step(scheme.lift(pulse), 0.0, 0.5)
    three = scheme.step(scheme.lift(np.concatenate([30 * pulse, pulse, broken])), 0.0, 0.5)
    assert_allclose(three[1], alone[0], rtol=0, atol=0)
    assert np.isfinite(scheme.observe(three)[0]).all()
    assert np.isnan(scheme.observe(three)[2]).all()
