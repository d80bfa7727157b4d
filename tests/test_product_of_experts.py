"""The multiscale likelihood against numerical integration and the published expanded formula."""

import math

import numpy as np
import pyro
import pytest
import torch
from pyro.distributions import Normal

from pyro_msm.distributions import ProductOfExperts
from tests.statistical import assert_moments

SETTINGS = [(0.3, -1.2, 0.5, 2.0), (-2.0, 0.7, 4.0, 0.01), (1.0, 1.0, 1e-3, 1e-2)]


def experts(shape=(), dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    means = torch.randn(2, *shape, dtype=dtype, generator=generator)
    variances = torch.rand(2, *shape, dtype=dtype, generator=generator) * 2 + 0.05
    return (*means, *variances)


def fine_grid(law):
    """Points around the law's mean, ten standard deviations to either side, and their spacing."""
    half = 10 * float(law.variance.sqrt())
    points = float(law.mean) + torch.linspace(-half, half, 4001, dtype=torch.float64)
    return points, float(points[1] - points[0])


@pytest.mark.parametrize("setting", SETTINGS)
def test_density_is_the_product_divided_by_its_numerical_integral(setting):
    macro_mean, micro_mean, macro_var, micro_var = torch.tensor(setting, dtype=torch.float64)
    law = ProductOfExperts(macro_mean, micro_mean, macro_var, micro_var)
    points, spacing = fine_grid(law)
    product = Normal(macro_mean, macro_var.sqrt()).log_prob(points)
    product = product + Normal(micro_mean, micro_var.sqrt()).log_prob(points - macro_mean)
    normaliser = product.exp().sum() * spacing
    assert law.log_prob(points).exp().sum() * spacing == pytest.approx(1, abs=1e-12)
    torch.testing.assert_close(law.log_prob(points), product - normaliser.log())


@pytest.mark.parametrize("setting", SETTINGS)
def test_moments_and_entropy_are_those_of_the_density(setting):
    law = ProductOfExperts(*torch.tensor(setting, dtype=torch.float64))
    points, spacing = fine_grid(law)
    density = law.log_prob(points).exp() * spacing
    mean = (density * points).sum()
    torch.testing.assert_close(law.mean, mean)
    torch.testing.assert_close(law.mode, mean)
    torch.testing.assert_close(law.variance, (density * (points - mean) ** 2).sum())
    torch.testing.assert_close(law.entropy(), -(density * law.log_prob(points)).sum())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-5)])
def test_log_density_is_the_expanded_formula_of_the_talk(dtype, tolerance):
    macro_mean, micro_mean, macro_var, micro_var = experts((200,), dtype)
    field = macro_mean + torch.linspace(-3, 3, 200, dtype=dtype)
    rest = field - macro_mean
    precision = 1 / macro_var + 1 / micro_var
    norm = micro_mean**2 / (micro_var * precision * micro_var)
    expanded = (
        -0.5 * (rest**2 * precision).sum()
        + (rest * micro_mean / micro_var).sum()
        - 0.5 * norm.sum()
        + 0.5 * precision.log().sum()
        - 100 * math.log(2 * math.pi)
    )
    law = ProductOfExperts(macro_mean, micro_mean, macro_var, micro_var).to_event(1)
    torch.testing.assert_close(law.log_prob(field), expanded, rtol=tolerance, atol=0)


def test_arguments_broadcast_and_small_ones_stay_small():
    macro_mean, _, _, _ = experts((4, 3, 5))
    law = ProductOfExperts(
        macro_mean, torch.zeros(5), torch.full((3, 1), 2.0), torch.tensor(0.5), validate_args=True
    ).expand((2, 4, 3, 5))
    assert law.batch_shape == (2, 4, 3, 5)
    assert law.event_shape == ()
    for value in (law.mean, law.variance, law.entropy(), law.rsample(), law.log_prob(law.mean)):
        assert value.shape == (2, 4, 3, 5)
    assert law.rsample((7,)).shape == (7, 2, 4, 3, 5)
    assert law._precision.shape == (3, 1)
    torch.testing.assert_close(law.mean, macro_mean.expand(2, 4, 3, 5))
    torch.testing.assert_close(law.variance, torch.full((2, 4, 3, 5), 0.4))


def test_event_dimensions_sum_and_the_mask_leaves_out():
    law = ProductOfExperts(*experts((3, 5)))
    value = law.rsample()
    observed = torch.tensor([True, False, True, True, False]).expand(3, 5)
    single = law.log_prob(value)
    torch.testing.assert_close(law.to_event(2).log_prob(value), single.sum())
    torch.testing.assert_close(
        law.mask(observed).to_event(1).log_prob(value), (single * observed).sum(1)
    )


def test_mask_works_in_a_pyro_program():
    macro_mean, micro_mean, macro_var, micro_var = experts((3, 5))
    value = torch.zeros(3, 5, dtype=torch.float64)
    observed = torch.ones(3, 5, dtype=torch.bool)
    observed[:, 2] = False

    def program():
        law = ProductOfExperts(macro_mean, micro_mean, macro_var, micro_var)
        with pyro.plate("rows", 3):
            return pyro.sample("field", law.mask(observed).to_event(1), obs=value)

    trace = pyro.poutine.trace(program).get_trace()
    law = ProductOfExperts(macro_mean, micro_mean, macro_var, micro_var)
    expected = (law.log_prob(value) * observed).sum()
    torch.testing.assert_close(trace.log_prob_sum(), expected)


def test_samples_have_the_moments():
    torch.manual_seed(0)
    law = ProductOfExperts(*experts((6,)))
    samples = law.expand((2, 6)).rsample((100_000,)).numpy()
    assert_moments(samples, law.mean.numpy(), law.variance.numpy())


def test_gradients_of_density_sample_and_entropy():
    arguments = [a.requires_grad_() for a in experts((3,))]
    value = torch.randn(3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def quantities(*given):
        law = ProductOfExperts(*given)
        torch.manual_seed(2)
        return law.log_prob(value), law.rsample(), law.entropy(), law.mean, law.variance

    assert torch.autograd.gradcheck(quantities, arguments)


def test_infinite_micro_variance_leaves_the_macro_expert_with_finite_gradients():
    macro_mean, micro_mean, macro_var, _ = (a.requires_grad_() for a in experts((4,)))
    law = ProductOfExperts(macro_mean, micro_mean, macro_var, torch.tensor(torch.inf))
    value = torch.linspace(-1, 1, 4, dtype=torch.float64)
    normal = Normal(macro_mean, macro_var.sqrt())
    torch.testing.assert_close(law.log_prob(value), normal.log_prob(value))
    torch.testing.assert_close(law.entropy(), normal.entropy())
    arguments = (macro_mean, macro_var)
    ours = torch.autograd.grad(law.log_prob(value).sum(), (*arguments, micro_mean))
    theirs = torch.autograd.grad(normal.log_prob(value).sum(), arguments)
    torch.testing.assert_close(ours, (*theirs, torch.zeros(4, dtype=torch.float64)))


@pytest.mark.parametrize("wrong", [(0, 0, -1.0, 1), (0, 0, 1, 0.0), (float("nan"), 0, 1, 1)])
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(ValueError, match="constraint"):
        ProductOfExperts(*torch.tensor(wrong, dtype=torch.float64), validate_args=True)


def test_wrong_values_are_refused():
    law = ProductOfExperts(*experts((3,)), validate_args=True)
    with pytest.raises(ValueError, match="support"):
        law.log_prob(torch.tensor([0.0, np.nan, 1.0], dtype=torch.float64))
