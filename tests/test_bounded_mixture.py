"""The mixture on a box against quadrature, the formula by hand and its own draws."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest, multivariate_normal

from pyro_msm.distributions import BoundedMixture

LOW, HIGH = torch.tensor([-0.5, 1.0]).double(), torch.tensor([0.5, 4.0]).double()


def mixture(dimension: int, components: int = 3) -> BoundedMixture:
    generator = torch.Generator().manual_seed(0)
    kind = {"generator": generator, "dtype": torch.float64}
    factor = 0.3 * torch.randn(components, dimension, dimension, **kind).tril(-1)
    factor = factor + torch.diag_embed(0.4 + torch.rand(components, dimension, **kind))
    return BoundedMixture(
        torch.randn(components, **kind),
        torch.randn(components, dimension, **kind),
        factor,
        LOW[:dimension],
        HIGH[:dimension],
    )


def test_density_integrates_to_one_over_an_interval() -> None:
    law = mixture(1)
    cells = 20_000
    middle = -0.5 + (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
    total = law.log_prob(middle[:, None]).exp().sum() / cells
    assert float(total) == pytest.approx(1.0, abs=1e-6)


def test_density_integrates_to_one_over_a_box() -> None:
    law = mixture(2)
    cells = 400
    part = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
    grid = torch.cartesian_prod(part - 0.5, 1 + 3 * part)
    total = law.log_prob(grid).exp().sum() * 3 / cells**2
    assert float(total) == pytest.approx(1.0, abs=1e-4)


def test_density_is_the_published_formula_with_its_jacobian() -> None:
    law = mixture(2)
    x = torch.tensor([[-0.3, 1.2], [0.1, 3.0], [0.4, 3.9]], dtype=torch.float64)
    weights = law.base_dist.mixture_distribution.probs.numpy()
    parts = law.base_dist.component_distribution
    for value, found in zip(x, law.log_prob(x), strict=True):
        share = ((value - LOW) / (HIGH - LOW)).numpy()
        v = np.log(share / (1 - share))
        density = sum(
            weight * multivariate_normal(mean.numpy(), (factor @ factor.T).numpy()).pdf(v)
            for weight, mean, factor in zip(weights, parts.loc, parts.scale_tril, strict=True)
        )
        jacobian = np.prod(share * (1 - share) * (HIGH - LOW).numpy())
        assert float(found) == pytest.approx(math.log(density / jacobian), rel=1e-9)


def test_values_on_the_boundary_have_a_finite_density() -> None:
    law = mixture(1)
    edges = torch.tensor([[-0.5], [0.5]], dtype=torch.float64)
    assert torch.isfinite(law.log_prob(edges)).all()


@pytest.mark.parametrize("low", [-0.5, 3.0, 100.0])
def test_walls_are_alike_wherever_the_box_stands(low: float) -> None:
    box = torch.full((1,), low), torch.full((1,), low + 1.0)
    law = BoundedMixture(torch.zeros(2), torch.zeros(2, 1), torch.ones(2, 1, 1), *box)
    at_walls = [float(law.log_prob(end)) for end in box]
    assert at_walls[0] == pytest.approx(at_walls[1], abs=0.1)
    assert at_walls[0] > -130


def test_transported_numbers_follow_the_law() -> None:
    law = mixture(1)
    generator = torch.Generator().manual_seed(1)
    uniform = torch.rand(4000, generator=generator, dtype=torch.float64)
    normal = torch.randn(4000, 1, generator=generator, dtype=torch.float64)
    drawn = law.transport(uniform, normal)[:, 0]
    assert ((drawn > -0.5) & (drawn < 0.5)).all()
    middle = -0.5 + (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    below = np.cumsum(law.log_prob(middle[:, None]).exp().numpy()) / 4000
    assert kstest(drawn.numpy(), lambda x: np.interp(x, middle.numpy(), below)).pvalue > 1e-5


def test_expansion_keeps_the_density() -> None:
    law = mixture(2)
    many = law.expand([4])
    x = torch.tensor([0.1, 2.0], dtype=torch.float64)
    assert many.batch_shape == (4,)
    assert torch.allclose(many.log_prob(x), law.log_prob(x).expand(4))
