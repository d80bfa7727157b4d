"""The prior over paths: Euler–Maruyama moments, density, convergence order, randomness."""

import math

import numpy as np
import torch
from pyro.distributions import Normal

from pyro_msm.distributions import SDEPath
from tests.statistical import assert_mean, assert_moments

RATE, DISPERSION = 1.5, 0.7
IRREGULAR = torch.tensor([0.0, 0.1, 0.4, 0.5, 1.2], dtype=torch.float64)


def start(batch=(), mean=2.0, std=0.3, state=1):
    law = Normal(torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64))
    return law.expand((*batch, state)).to_event(1)


def ornstein_uhlenbeck(times, **options):
    dispersion = torch.tensor([DISPERSION], dtype=torch.float64)
    return SDEPath(lambda t, z: -RATE * z, dispersion, start(), times, **options)


def discrete_moments(times):
    """Mean and variance of Euler's scheme for the Ornstein–Uhlenbeck process, exactly."""
    mean, var = [2.0], [0.09]
    for step in np.diff(times):
        factor = 1 - RATE * step
        mean.append(factor * mean[-1])
        var.append(factor**2 * var[-1] + DISPERSION**2 * step)
    return np.array(mean)[:, None], np.array(var)[:, None]


def test_samples_have_the_moments_of_the_scheme_on_uniform_and_irregular_times():
    torch.manual_seed(0)
    for times in (torch.linspace(0, 1.2, 9, dtype=torch.float64), IRREGULAR):
        samples = ornstein_uhlenbeck(times).rsample((30_000,)).numpy()
        assert_moments(samples, *discrete_moments(times.numpy()))


def test_fine_samples_have_the_moments_of_the_process():
    torch.manual_seed(1)
    times = torch.linspace(0, 1, 101, dtype=torch.float64)
    last = ornstein_uhlenbeck(times).rsample((20_000,))[:, -1, 0].numpy()
    stationary = DISPERSION**2 / (2 * RATE)
    mean = 2 * math.exp(-RATE)
    var = stationary + (0.09 - stationary) * math.exp(-2 * RATE)
    # Euler's bias: half a step times the rate, relative.
    assert_mean(last, mean, bias=0.01 * mean)
    assert_mean((last - mean) ** 2, var, bias=0.02 * var)


def euler_maruyama_density(path, drift, dispersion, first_law):
    """Of one path (N, state) with absolute times, in plain words."""
    times, values = path
    total = first_law.log_prob(values[0])
    for i in range(len(times) - 1):
        step = times[i + 1] - times[i]
        mean = values[i] + step * drift(times[i], values[i])
        std = dispersion(times[i]) * step**0.5
        total = total + Normal(mean, std).log_prob(values[i + 1]).sum()
    return total


def test_log_prob_is_the_hand_written_density():
    begin = torch.tensor([0.0, 3.0], dtype=torch.float64)

    def drift(t, z):
        return torch.sin(t)[..., None] - z**3

    def dispersion(t):
        return torch.stack([1 + 0.5 * torch.cos(t), 0.3 + 0 * t], -1)

    law = SDEPath(
        drift, dispersion, start((2,), state=2), IRREGULAR, start=begin, validate_args=True,
    )  # fmt: skip
    torch.manual_seed(0)
    values = law.rsample((3,))
    assert values.shape == (3, 2, 5, 2)
    expected = [
        [
            euler_maruyama_density(
                (begin[b] + IRREGULAR, values[s, b]), drift, dispersion, start(state=2)
            )
            for b in range(2)
        ]
        for s in range(3)
    ]
    torch.testing.assert_close(law.log_prob(values), torch.tensor(expected, dtype=torch.float64))


def test_samples_follow_their_own_density():
    """Standardised increments are white, with time-dependent drift and dispersion."""
    torch.manual_seed(2)
    begin = torch.tensor([0.0, 3.0], dtype=torch.float64)

    def drift(t, z):
        return torch.sin(4 * t)[..., None] - z

    def dispersion(t):
        return torch.stack([1 + 0.5 * torch.cos(t), 0.3 + t], -1)

    law = SDEPath(drift, dispersion, start((2,), state=2), IRREGULAR, start=begin)
    values = law.rsample((20_000,))
    now, step = begin[:, None] + IRREGULAR[:-1], IRREGULAR.diff()[:, None]
    mean = values[..., :-1, :] + step * drift(now, values[..., :-1, :])
    scores = (values[..., 1:, :] - mean) / (dispersion(now) * step.sqrt())
    assert_moments(scores.numpy(), 0.0, 1.0)
    assert_mean((scores[:, 0] * scores[:, 1]).numpy(), 0.0)
    assert_mean((scores[:, :, 1:] * scores[:, :, :-1]).numpy(), 0.0)
    assert_mean((scores[..., 0] * scores[..., 1]).numpy(), 0.0)


def held(drift, every):
    """The drift as a scheme with ``every`` times longer steps sees it, on the same noise."""
    kept, calls = {}, [0]

    def drift_of_long_step(t, z):
        if calls[0] % every == 0:
            kept["rate"] = drift(t, z)
        calls[0] += 1
        return kept["rate"]

    return drift_of_long_step


def test_strong_and_weak_order_are_one_for_additive_noise():
    times = torch.linspace(0, 1, 257, dtype=torch.float64)
    dispersion = torch.tensor([0.5], dtype=torch.float64)

    def at_the_end(every):
        torch.manual_seed(3)
        law = SDEPath(held(lambda t, z: torch.cos(z) - z, every), dispersion, start(), times)
        return law.rsample((400,))[:, -1, 0]

    fine = at_the_end(1)
    strong, weak = [], []
    for every in (8, 16, 32):
        gap = at_the_end(every) - fine
        strong.append(float(gap.abs().mean()))
        weak.append(float(gap.mean().abs()))
    for errors in (strong, weak):
        # The reference's own error takes 1/7 from the first gap.
        orders = np.log2(np.array(errors[1:]) / errors[:-1])
        np.testing.assert_allclose(orders, 1.0, atol=0.35)


def test_initial_weight_weighs_the_initial_density_only():
    times = torch.linspace(0, 1, 4, dtype=torch.float64)
    value = ornstein_uhlenbeck(times).rsample()
    weights = torch.tensor([0.0, 1.0, 2.5], dtype=torch.float64)
    scored = ornstein_uhlenbeck(times, initial_weight=weights).log_prob(value)
    first = start().log_prob(value[0])
    torch.testing.assert_close(scored - scored[0], weights * first)


def test_expansion_and_shapes():
    times = torch.linspace(0, 1, 4, dtype=torch.float64)
    law = ornstein_uhlenbeck(times, start=torch.zeros(3, dtype=torch.float64))
    assert (law.batch_shape, law.event_shape) == ((3,), (4, 1))
    wide = law.expand((5, 3))
    assert wide.batch_shape == (5, 3)
    samples = wide.rsample((2,))
    assert samples.shape == (2, 5, 3, 4, 1)
    assert wide.log_prob(samples).shape == (2, 5, 3)
    torch.testing.assert_close(wide.log_prob(samples)[1, 2], law.log_prob(samples[1, 2]))


def test_gradients_flow_through_samples():
    rate = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    dispersion = torch.tensor([0.4], dtype=torch.float64, requires_grad=True)
    times = torch.linspace(0, 1, 5, dtype=torch.float64)

    def sample(rate, dispersion):
        torch.manual_seed(0)
        return SDEPath(lambda t, z: -rate * z, dispersion, start(), times).rsample()

    assert torch.autograd.gradcheck(sample, (rate, dispersion))


def test_randomness_is_torchs_alone():
    times = torch.linspace(0, 1, 5)

    def sample(seed, numpy_seed):
        np.random.seed(numpy_seed)  # noqa: NPY002 (the global generator is the point)
        torch.manual_seed(seed)
        return ornstein_uhlenbeck(times).rsample((2,))

    torch.testing.assert_close(sample(0, 0), sample(0, 1), rtol=0, atol=0)
    assert (sample(0, 0) != sample(1, 0)).all()
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    sample_again = ornstein_uhlenbeck(times).rsample()
    assert torch.isfinite(sample_again).all()
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
