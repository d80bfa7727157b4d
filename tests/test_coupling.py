"""A coupling is tried when it is made, and says what is wrong in one line."""

from __future__ import annotations

import pytest
import torch

from pyro_msm.data import systems
from pyro_msm.errors import InputError
from pyro_msm.nn.coupling import Coupling


def drift(x, y):
    return -x + y[..., :1]


def diffusion(x, y):
    return (0.5 + 0 * (x + y[..., :1]))[..., None]


def coupling(**changed):
    given = {"drift": drift, "diffusion": diffusion, "slow": 1, "fast": 2, "noise": 1}
    return Coupling(**(given | changed))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", [f"slow-fast-{letter}" for letter in "abcd"])
def test_couplings_of_the_systems_broadcast_in_any_precision(name, dtype):
    made = systems.get(name).coupling()
    x = torch.randn(4, 1, made.slow, dtype=dtype, requires_grad=True)
    y = torch.randn(3, 1, 6, made.fast, dtype=dtype, requires_grad=True)
    found, sigma = made.drift(x, y), made.diffusion(x, y)
    assert found.dtype == sigma.dtype == dtype
    assert found.shape == (3, 4, 6, made.slow)
    assert sigma.shape == (3, 4, 6, made.slow, made.noise)
    gradients = torch.autograd.grad(found.sum(), (x, y))
    assert all(part.abs().sum() > 0 for part in gradients)
    one = made.drift(x[2, 0], y[1, 0, 5])
    torch.testing.assert_close(found[1, 2, 5], one)


def test_a_noise_that_is_to_be_learned_has_no_size():
    assert coupling(diffusion=None, noise=None).diffusion is None


def fails(x, y):
    raise RuntimeError("no such thing")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fast": 0}, "size fast is 0: expected a whole number from 1"),
        ({"noise": None}, "size noise is None: expected a whole number from 1"),
        ({"drift": lambda x, y: y}, r"drift returns \(64, 2\) for x .*: expected .* \(3, 64, 1\)"),
        ({"drift": lambda x, y: 0.0}, "drift returns float for x of shape"),
        ({"drift": fails}, "drift fails for x of shape .*no such thing"),
        ({"drift": lambda x, y: drift(x, y) / 0}, "drift is not finite"),
        ({"diffusion": drift}, r"diffusion returns \(3, 64, 1\) for x .* \(3, 64, 1, 1\)"),
        (
            {"diffusion": lambda x, y: 0 * diffusion(x, y)},
            "diffusion σ is not positive definite: .* eigenvalue 0",
        ),
    ],
)
def test_what_is_wrong_is_told(changed, message):
    with pytest.raises(InputError, match=message) as found:
        coupling(**changed)
    assert "\n" not in str(found.value)
