"""A stochastic differential equation in place of the recurrent propagator."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pyro_msm import data as datasets
from pyro_msm.errors import InputError
from pyro_msm.forecasting import initial_window
from pyro_msm.models.led import step_law
from pyro_msm.nn.latent_sde import LatentSDE
from tests.small_led import small_led, waves

TURN = torch.tensor([[-0.1, -1.5], [1.5, -0.1]])


class Linear(nn.Module):
    """The drift A z + f of scaled latents."""

    def forward(self, scaled: Tensor, macro: Tensor, inputs: Tensor) -> Tensor:
        assert macro.shape[-1] == 0
        return scaled @ TURN.T + inputs


def test_mean_of_a_step_is_the_flow_of_the_drift() -> None:
    sde = LatentSDE(2, 2, substeps=32)
    sde.drift = Linear()  # type: ignore[assignment]
    latents, inputs = torch.randn(5, 3, 2), torch.randn(5, 3, 2)
    law, state = sde(latents, inputs, sde.start(5))
    flow = torch.matrix_exp(TURN)
    held = torch.linalg.solve(TURN, flow - torch.eye(2))
    assert torch.allclose(law.expected(), latents @ flow.T + inputs @ held.T, atol=2e-5)
    assert state.shape == (5, 0)


def simulated(z: np.ndarray, steps: int, seed: int) -> np.ndarray:
    """States (steps, …) of dz = (z − z³) dt + (.3 + .2 z²) dβ, at intervals of .1."""
    rng, dt, path = np.random.default_rng(seed), 0.005, []
    for step in range(20 * steps):
        noise = dt**0.5 * rng.standard_normal(z.shape)
        z = z + dt * (z - z**3) + (0.3 + 0.2 * z**2) * noise
        if step % 20 == 19:
            path.append(z)
    return np.array(path)


def test_drift_and_noise_of_a_path_are_found() -> None:
    path = simulated(np.zeros(400), 200, 0)[20:]
    seen = torch.tensor(path.T[..., None], dtype=torch.float32)
    torch.manual_seed(0)
    sde = LatentSDE(1, hidden=16)
    sde.centre.copy_(seen.mean((0, 1)))
    sde.spread.copy_(seen.std((0, 1)))
    sde.rate.copy_(seen.diff(dim=1).std((0, 1)))
    optimiser = torch.optim.Adam(sde.parameters(), 1e-2)
    none, start = torch.zeros(20, seen.shape[1] - 1, 0), sde.start(20)
    for _ in range(1000):
        some = seen[torch.randint(400, (20,))]
        law = step_law(sde(some[:, :-1], none, start)[0])
        optimiser.zero_grad()
        (-law.log_prob(some[:, 1:]).mean()).backward()
        optimiser.step()

    places = np.array([-1.2, -0.8, 0.0, 0.8, 1.2])
    after = simulated(places[:, None].repeat(40_000, 1), 1, 1)[0]
    now = torch.tensor(places, dtype=torch.float32).reshape(1, -1, 1)
    with torch.no_grad():
        found = sde(now, none[:1, :5], start[:1])[0]
    np.testing.assert_allclose(found.expected().flatten(), after.mean(1), atol=0.02)
    np.testing.assert_allclose(found.log_std.exp().flatten(), after.std(1), rtol=0.1)


def test_a_forecaster_with_it_trains_and_draws() -> None:
    data, forecaster = waves(), small_led(propagator="sde", substeps=2)
    forecaster.build(data, 0)
    propagator = forecaster.model.propagator
    assert isinstance(propagator, LatentSDE)
    before = {name: value.clone() for name, value in propagator.named_parameters()}
    forecaster.train(data, device="cpu")
    moved = {
        name: not torch.equal(before[name], value) for name, value in propagator.named_parameters()
    }
    assert all(moved.values()), moved
    initial = initial_window(datasets.select(data, "test"), 3)
    state = forecaster.encode(initial, 4, 0)
    times = float(initial["time"][-1]) + forecaster.step * np.arange(1, 9)
    found = forecaster.advance(state, times)[1]
    assert np.isfinite(found).all()
    assert found[1:].std(1).min() > 0
    law = propagator(
        torch.tensor(found[:-1, 0]), torch.zeros(7, found.shape[2], 0), torch.zeros(7, 0)
    )[0]
    away = (torch.tensor(found[1:, 0]) - law.expected()) / law.log_std.squeeze(-2).exp()
    assert 0.3 < float(away.detach().std()) < 3


@pytest.mark.parametrize("other", [{"components": 2}, {"polynomial": 2}])
def test_what_it_cannot_be_joined_with_is_told(other: dict[str, int]) -> None:
    with pytest.raises(InputError, match="leave them at 1 and 0"):
        small_led(propagator="sde", **other).check(waves())
