"""A small multiscale SDE with known parameters is recovered by plain SVI from noisy snapshots."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, TraceMeanField_ELBO

from pyro_msm.distributions import GaussianPath, ProductOfExperts, SDEPath

# Slow ζ driven by fast η: dζ = (−a ζ + b η) dt + σ dβ₁, dη = −c η dt + τ dβ₂.
TRUTH = {"a": 0.5, "b": 1.0, "c": 2.0, "sigma": 0.15, "tau": 0.3}
STEP, LENGTH, TRAJECTORIES, NOISE = 0.05, 31, 200, 0.2
PATTERN = torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, -1.0, 0.5, -0.5]])


def simulate():
    """Fields (trajectory, time, 4) = ζ P₁ + η P₂ + noise, from a fine Euler–Maruyama path."""
    generator = torch.Generator().manual_seed(0)
    fine = 20
    state = torch.randn(TRAJECTORIES, 2, generator=generator)
    scale = torch.tensor([TRUTH["sigma"], TRUTH["tau"]]) * math.sqrt(STEP / fine)
    kept = [state]
    for i in range((LENGTH - 1) * fine):
        macro, micro = state[:, 0], state[:, 1]
        rate = torch.stack([-TRUTH["a"] * macro + TRUTH["b"] * micro, -TRUTH["c"] * micro], -1)
        noise = torch.randn(state.shape, generator=generator)
        state = state + STEP / fine * rate + scale * noise
        if (i + 1) % fine == 0:
            kept.append(state)
    states = torch.stack(kept, 1)
    field = states @ PATTERN
    return field + NOISE * torch.randn(field.shape, generator=generator)


def positive(name, start):
    return pyro.param(name, torch.tensor(start), constraint=dist.constraints.positive)


def model(field, times):
    a, b, c = (pyro.param(name, torch.tensor(0.1)) for name in "abc")
    dispersion = torch.stack([positive("sigma", 0.5), positive("tau", 0.5)])
    variances = positive("macro_var", 0.1), positive("micro_var", 0.1)

    def drift(t, z):
        macro, micro = z[..., 0], z[..., 1]
        return torch.stack([-a * macro + b * micro, -c * micro], -1)

    first = dist.Normal(torch.zeros(2), torch.ones(2)).to_event(1)
    with pyro.plate("trajectories", len(field)):
        path = SDEPath(drift, dispersion, first.expand([len(field)]), times, quadrature=16)
        state = pyro.sample("state", path)
        macro, micro = state[..., :1] * PATTERN[0], state[..., 1:] * PATTERN[1]
        # The share of the microscale mean is known here: both experts are scaled back by it.
        weight = variances[0] / (variances[0] + variances[1])
        law = ProductOfExperts(macro, micro / weight, *variances)
        pyro.sample("field", law.to_event(2), obs=field)


def guide(field, times):
    mean = pyro.param("mean", (field @ torch.linalg.pinv(PATTERN)).clone())
    log_var = pyro.param("log_var", torch.full((2,), -4.0))
    length, nugget = positive("length", 0.15), positive("nugget", 0.01)
    with pyro.plate("trajectories", len(field)):
        pyro.sample("state", GaussianPath(times, mean, log_var, length, nugget))


def test_drift_dispersion_and_noise_are_recovered():
    torch.manual_seed(1)
    field, times = simulate(), torch.arange(LENGTH) * STEP
    optimiser = pyro.optim.ClippedAdam({"lr": 0.03, "lrd": 0.998})
    svi = SVI(model, guide, optimiser, TraceMeanField_ELBO())
    losses = [svi.step(field, times) for _ in range(400)]
    assert losses[-1] < losses[0]
    found = {name: float(value.detach()) for name, value in pyro.get_param_store().items()
             if value.dim() == 0}  # fmt: skip
    # Sampling errors of the drift are 2–3 %, bounds at more than five of them.
    for name in "abc":
        assert found[name] == pytest.approx(TRUTH[name], rel=0.15)
    # The posterior's mean is smoother than the path, so that the bound favours a dispersion that
    # is somewhat too small.
    for name in ("sigma", "tau"):
        assert 0.65 * TRUTH[name] < found[name] < 1.1 * TRUTH[name]
    noise = 1 / math.sqrt(1 / found["macro_var"] + 1 / found["micro_var"])
    assert noise == pytest.approx(NOISE, rel=0.1)
