"""The polynomial part of a propagator: regression, its box, the choice of its penalty."""

from __future__ import annotations

from unittest.mock import Mock

import numpy as np
import pytest
import torch

from pyro_msm import data as datasets
from pyro_msm.forecasting.led import regression
from pyro_msm.forecasting.led.regression import fit_polynomial
from pyro_msm.nn.polynomial import Polynomial, monomial_count
from pyro_msm.nn.propagator import Propagator
from tests.small_led import small_led, waves


def brusselator(count: int, noise: float = 0.0) -> torch.Tensor:
    """Paths (path, time, 2) of a cubic map onto a limit cycle, from several states."""
    rng = np.random.default_rng(0)
    x, y = 1 + rng.uniform(-0.8, 0.8, (2, 6))
    path = []
    for _ in range(count):
        path.append(np.stack([x, y], -1))
        x, y = x + 0.02 * (1 - 4 * x + x**2 * y), y + 0.02 * (3 * x - x**2 * y)
    seen = np.stack(path, 1)
    return torch.tensor(seen + noise * rng.normal(size=seen.shape), dtype=torch.float32)


def measured(latents: torch.Tensor, degree: int) -> Propagator:
    """A propagator with the scales of the latents."""
    found = Propagator(latents.shape[-1], cell="none", hidden=4, polynomial=degree)
    found.centre.copy_(latents.mean((0, 1)))
    found.spread.copy_(latents.std((0, 1)))
    found.rate.copy_(latents.diff(dim=1).std((0, 1)))
    return found


def free_run(propagator: Propagator, latents: torch.Tensor) -> torch.Tensor:
    """Predictions (path, time − 1, latent) from the first states alone."""
    none = latents[:, 1:, :0]
    with torch.no_grad():
        return propagator.free(latents[:, 0], none, propagator.start(len(latents)))[0]


def test_monomials_are_all_products_up_to_the_degree() -> None:
    polynomial = Polynomial(2, 1, 3)
    a, b = 2.0, 5.0
    found = polynomial.monomials(torch.tensor([a, b])).tolist()
    expected = [a**i * b**j for i in range(4) for j in range(4 - i)]
    assert sorted(found) == sorted(expected)
    assert len(found) == monomial_count(2, 3) == len(polynomial.weight)


def test_regression_finds_the_map_and_its_free_runs() -> None:
    latents = brusselator(1500)
    propagator = measured(latents, 3)
    fit_polynomial(propagator, latents)
    path = free_run(propagator, latents)
    assert float((path - latents[:, 1:]).abs().mean()) < 0.01
    scaled = (latents - propagator.centre) / propagator.spread
    left = latents.diff(dim=1) / propagator.rate - propagator.polynomial(scaled[:, :-1])
    typical = propagator.typical_log_std.exp().detach()
    assert torch.allclose(typical, left.square().mean((0, 1)).sqrt())
    blunt = measured(latents, 2)
    fit_polynomial(blunt, latents)
    path = free_run(blunt, latents)
    assert float((path - latents[:, 1:]).abs().mean()) > 0.1  # the map is no quadratic one


def test_outside_its_box_it_is_that_of_the_nearest_point() -> None:
    polynomial = Polynomial(1, 1, 3)
    x = torch.linspace(-1, 1, 50)[:, None]
    polynomial.fit(polynomial.moments(x, x**3), 1e-10, x.abs().amax(0))
    shown = polynomial(torch.tensor([[0.5], [1.1], [100.0]])).flatten().tolist()
    assert shown == pytest.approx([0.125, 1.1**3, 1.1**3], rel=1e-3)


def test_the_penalty_is_chosen_by_free_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of noisy paths the best of one step is not that of many."""
    latents = brusselator(400, noise=0.005)
    propagator = measured(latents, 5)
    fit_polynomial(propagator, latents)
    path = free_run(propagator, latents)
    assert torch.isfinite(path).all()
    assert float((path - latents[:, 1:]).abs().mean()) < 0.5
    # Of many penalties that which is best in free runs is taken, wherever it stands among them.
    for best in (1, 4):
        errors = [abs(place - best) + 1.0 for place in range(len(regression.RIDGES))]
        monkeypatch.setattr(regression, "_free_running_error", Mock(side_effect=errors))
        fit_polynomial(propagator, latents)
        chosen = propagator.polynomial.weight.clone()
        monkeypatch.setattr(regression, "RIDGES", (regression.RIDGES[best],))
        monkeypatch.setattr(regression, "_free_running_error", Mock(return_value=0.0))
        fit_polynomial(propagator, latents)
        assert torch.equal(chosen, propagator.polynomial.weight)
        monkeypatch.undo()


def test_training_starts_from_what_regression_found() -> None:
    data = waves()
    forecaster = small_led({"steps": 7}, polynomial=1, propagator="none", autoencoder="pod")
    forecaster.fit(data, device="cpu")
    train = datasets.select(data, "train")
    encoded = torch.tensor(forecaster.encoded(train))
    none = encoded[:, :-1, :0]
    propagator = forecaster.model.propagator
    with torch.no_grad():
        law, _ = propagator(encoded[:, :-1], none, propagator.start(len(encoded)))
    missed = (law.expected() - encoded[:, 1:]).norm() / encoded.diff(dim=1).norm()
    assert float(missed) < 0.1  # waves turn: their step is linear
