"""The averaged SDE: likelihood, correction, flow, Fisher scoring, posterior."""

from __future__ import annotations

from itertools import product
from math import comb, erfc, exp, log, pi, sqrt

import numpy as np
import pyro
import pytest
import torch
import xarray as xr
from pyro.infer import TraceMeanField_ELBO
from torch import Tensor

from pyro_msm.config import SlowFastConfig
from pyro_msm.data import systems
from pyro_msm.data.increments import Increments, cells_of
from pyro_msm.forecasting.slow_fast.record import Record
from pyro_msm.forecasting.slow_fast.training import WarmStart
from pyro_msm.guides.subspace import SubspaceGuide
from pyro_msm.inference.fisher import (
    fisher_scoring,
    informed_directions,
    linearise,
    log_evidence,
    objective,
)
from pyro_msm.models.fast_laws import KINDS, LawKind, chosen
from pyro_msm.models.slow_fast import LEAST, AveragedSDE, Averages, PathBatch, log_likelihood
from pyro_msm.nn.flows import InvariantLaw, SplineFlow, base_points
from tests.linear_coupling import SIGMA, bare, linear, path, rotating

ONE, ZERO = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)


def increments(rows: int = 12, d: int = 1, seed: int = 0) -> Increments:
    """Random increments of uneven durations."""
    g = torch.Generator().manual_seed(seed)
    place = torch.randn(rows, d, generator=g, dtype=torch.float64)
    duration = 0.01 + 0.05 * torch.rand(rows, generator=g, dtype=torch.float64)
    moves = duration.sqrt()[:, None] * torch.randn(rows, d, generator=g, dtype=torch.float64)
    spread = moves[:, :, None] * moves[:, None, :] / duration[:, None, None]
    return Increments(place, torch.ones_like(duration), duration, moves, spread)


def averages(drift: Tensor, covariance: Tensor) -> Averages:
    return Averages(drift, covariance, torch.zeros(drift.shape[1], dtype=torch.float64))


def positive(sets: int, rows: int, d: int, seed: int = 1) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    root = torch.randn(sets, rows, d, d, generator=g, dtype=torch.float64)
    return root @ root.mT + torch.eye(d, dtype=torch.float64)


@pytest.mark.parametrize("d", [1, 2])
def test_the_likelihood_is_that_of_euler_maruyama(d):
    seen = increments(d=d)
    drift = torch.randn(1, 12, d, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    covariance = positive(1, 12, d)
    found = log_likelihood(seen, averages(drift, covariance))
    law = torch.distributions.MultivariateNormal(
        drift[0] * seen.duration[:, None], covariance[0] * seen.duration[:, None, None]
    )
    constant = -0.5 * d * torch.log(2 * torch.pi * seen.duration).sum()
    torch.testing.assert_close(found + constant, law.log_prob(seen.displacement).sum())


def test_sums_over_cells_are_the_sums_of_their_rows():
    seen = increments(200)
    cell = torch.as_tensor(cells_of(seen.place.numpy(), 16))
    cells = seen.summed(cell, 16)
    assert sorted(set(cell.tolist())) == list(range(16))
    for name in ("count", "duration", "displacement", "spread"):
        torch.testing.assert_close(getattr(cells, name).sum(0), getattr(seen, name).sum(0))
    gap = seen.place[:, 0] - cells.place[cell, 0]
    assert float(gap.square().sum()) < 0.05 * float(seen.place.square().sum())


def test_cells_stop_where_places_are_the_same():
    assert cells_of(np.zeros((5, 2)), 4).tolist() == [0] * 5


def test_the_two_sets_free_the_likelihood_of_its_bias_where_the_noise_is_known():
    """All pairs of draws of a fast variable with three equally likely values."""
    seen, values = increments(), torch.tensor([-1.0, 0.2, 1.4], dtype=torch.float64)
    known = torch.full((2, 12, 1, 1), 0.7, dtype=torch.float64)

    def drift(*draws: float) -> Tensor:
        return torch.stack([draw * seen.place + draw**2 for draw in draws])

    corrected = [
        log_likelihood(seen, averages(drift(*pair), known)) for pair in product(values, repeat=2)
    ]
    plain = [log_likelihood(seen, averages(drift(v), known[:1])) for v in values]
    exact = log_likelihood(seen, averages(drift(*values).mean(0, keepdim=True), known[:1]))
    torch.testing.assert_close(torch.stack(corrected).mean(), exact)
    assert float(exact - torch.stack(plain).mean()) > 0.1


def test_the_two_sets_leave_a_bias_of_second_order_where_the_noise_is_estimated():
    """L draws of a variable with two values: every number of ones that they can hold."""
    seen = increments()

    def at(shares: list[float]) -> Averages:
        share = torch.tensor(shares, dtype=torch.float64)[:, None, None]
        drift = share * seen.place
        covariance = (1 + share)[..., None].expand(len(shares), 12, 1, 1)
        return averages(drift, covariance)

    exact = float(log_likelihood(seen, at([0.5])))

    def bias(count: int) -> float:
        weights = [comb(count, k) / 2**count for k in range(count + 1)]
        mean = sum(
            weights[i] * weights[j] * float(log_likelihood(seen, at([i / count, j / count])))
            for i, j in product(range(count + 1), repeat=2)
        )
        return mean - exact

    assert bias(8) / bias(16) == pytest.approx(4, rel=0.15)


def test_a_batch_has_the_likelihood_of_the_record_on_average():
    """Every row once, as the one increment that counts at its own place."""
    record = Record.of(increments(60), 5, 8, 1)
    model = AveragedSDE(linear(), ZERO, ONE)
    weights = model.weights(model.start(torch.Generator().manual_seed(0)))
    base = base_points(8, 1)

    def likelihood(seen: Increments) -> Tensor:
        return log_likelihood(seen, model.averages(weights, seen.place, base))

    each = [record.batch(torch.tensor([row]), base).increments for row in range(60)]
    mean = torch.stack([likelihood(seen) for seen in each]).mean()
    torch.testing.assert_close(mean, likelihood(record.increments))
    assert abs(float(mean - likelihood(record.cells))) > 1e-6


@pytest.mark.parametrize("states", [1, 3])
@pytest.mark.parametrize("context", [0, 1])
def test_the_density_of_the_law_integrates_to_one(context, states):
    torch.manual_seed(0)
    law = InvariantLaw(1, context, states).double()
    with torch.no_grad():
        for parameter in law.parameters():
            parameter.mul_(0.5).add_(0.2 * torch.randn_like(parameter))
        grid = torch.linspace(-25, 25, 25_001, dtype=torch.float64)[:, None]
        density = law.at(torch.full((25_001, context), 0.4).double()).log_prob(grid).exp()
        z, mass = base_points(400, 1, sets=1)
        y, occupancy = law(z[0], torch.full((1, context), 0.4).double())
    mean = torch.einsum("l,nlkf,nk->", mass[0], y, occupancy)
    torch.testing.assert_close(density.sum() * 0.002, ONE[0], rtol=0, atol=1e-3)
    torch.testing.assert_close((density * grid[:, 0]).sum() * 0.002, mean, rtol=0, atol=5e-3)


def test_drawing_inverts_the_density_of_several_components():
    flow = SplineFlow(3, 2).double()
    x = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    z = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    back = flow.at(x).transform(flow(z, x))
    torch.testing.assert_close(back, z, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("fast", [3, 10])
@pytest.mark.parametrize("count", [32, 64, 4096])
def test_fixed_base_points_have_no_outliers(fast, count):
    """A coordinate on the edge of Sobol's cube would be eight standard deviations away."""
    z, mass = base_points(count, fast, sets=1)
    assert float(z.abs().max()) < 4
    assert (mass @ z[0]).abs().max() < 1e-12
    assert (mass @ z[0].square() - 1).abs().max() < 0.05


@pytest.mark.parametrize("fast", [1, 3])
def test_base_points_are_unbiased(fast):
    g = torch.Generator().manual_seed(0)
    values = []
    for _ in range(400):
        z, mass = base_points(8, fast, g)
        values.append((mass * torch.where(z[..., 0] > 0.3, z[..., 0] ** 2, 0.0)).sum(-1))
    found = torch.stack(values)
    tail = 0.5 * erfc(0.3 / sqrt(2))
    exact = 0.3 * exp(-0.045) / sqrt(2 * pi) + tail
    error = float(found.std() / found.numel() ** 0.5)
    assert abs(float(found.mean()) - exact) < 5 * error
    halves = np.corrcoef(found.numpy().T)[0, 1]
    assert abs(halves) < 5 / 400**0.5


@pytest.mark.parametrize("coupling", [linear(), rotating()], ids=["linear", "rotating"])
@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("kind", ["spline", "three-states"])
def test_the_linearisation_has_the_gradient_of_the_objective(coupling, conditional, kind):
    d = coupling.slow
    centre, width = torch.zeros(d).double(), torch.ones(d).double()
    model = AveragedSDE(
        coupling, centre, width, conditional=conditional, kind=KINDS[kind], bins=4, hidden=3,
        penalty=2.0,
    )  # fmt: skip
    seen, base = increments(9, d), base_points(16, coupling.fast, sets=1)
    u = model.start(torch.Generator().manual_seed(0)).requires_grad_()
    (gradient,) = torch.autograd.grad(objective(model, seen, base, u), u)
    there = linearise(model, seen, base, u.detach())
    torch.testing.assert_close(u.detach() - there.jacobian.mT @ there.residual, gradient)


def test_a_linear_diffusion_stays_positive_far_from_the_origin():
    centre, width = torch.zeros(2).double(), torch.ones(2).double()
    model = AveragedSDE(rotating(), centre, width, bins=4, hidden=3, linear=True)
    generator = torch.Generator().manual_seed(0)
    model.restrict(model.start(generator), *model_directions(len(model.scale)))
    x, base = 3 * increments(40, 2).place, base_points(16, 3, sets=1)
    at_origin = model.averages_at(torch.zeros(4).double(), x, base).covariance
    least = LEAST * torch.linalg.eigvalsh(at_origin).min()
    smallest, plain = [], []
    for _ in range(20):
        c = 20 * torch.randn(4, generator=generator, dtype=torch.float64)
        found = model.averages_at(c, x, base)
        smallest.append(torch.linalg.eigvalsh(found.covariance).min())
        assert torch.isfinite(log_likelihood(increments(40, 2), found))
        near = model.averages_at(1e-3 * c, x, base).covariance  # by far too small to be changed
        plain.append(torch.linalg.eigvalsh(at_origin + 1e3 * (near - at_origin)).min())
    assert min(plain) < 0
    assert min(smallest) >= 0.999 * least


def model_directions(weights: int) -> tuple[Tensor, Tensor]:
    """Four random orthonormal directions, and their units."""
    g = torch.Generator().manual_seed(1)
    basis = torch.linalg.qr(torch.randn(weights, 4, generator=g, dtype=torch.float64))[0]
    return basis, torch.ones(4, dtype=torch.float64)


def test_every_weight_of_a_conditional_law_matters():
    everything = LawKind("all", "", states=2, widths=1.0, shapes=0.5)
    model = AveragedSDE(linear(), ZERO, ONE, kind=everything, bins=4, hidden=3)
    u = model.start(torch.Generator().manual_seed(0))
    jacobian = linearise(model, increments(9), base_points(16, 1, sets=1), u).jacobian
    assert bool((jacobian.abs().sum(0) > 0).all())


def moments(kind: str) -> tuple[Tensor, Tensor]:
    """Mean and variance of Y, whatever the weights, at three places at equal distances."""
    model = AveragedSDE(linear(), ZERO, ONE, kind=KINDS[kind])
    u = torch.randn(model.scale.shape, generator=torch.Generator().manual_seed(0)).double()
    x = torch.tensor([[-1.0], [0.0], [1.0]], dtype=torch.float64)
    y, mass = model.fast_values(model.weights(u), x, base_points(128, 1, sets=1))
    y, mass = y[:, 0, :, 0], mass[:, 0]
    mean = (mass * y).sum(1)
    return mean, (mass * y.square()).sum(1) - mean.square()


def test_a_kind_of_law_lets_depend_on_x_what_it_says():
    """Place linear in x and a constant width; both; the shape; without x nothing."""
    mean, variance = moments("gaussian")
    assert abs(float(mean[2] - mean[0])) > 0.1
    assert float(mean[2] - mean[1]) == pytest.approx(float(mean[1] - mean[0]))
    assert float(variance.std()) < 1e-9
    mean, variance = moments("affine")
    assert float(mean[2] - mean[1]) == pytest.approx(float(mean[1] - mean[0]))
    assert float(variance.std()) > 0.01
    mean, variance = moments("spline")
    assert abs(float(mean[2] - 2 * mean[1] + mean[0])) > 0.01
    for kind in KINDS.values():
        model = AveragedSDE(linear(), ZERO, ONE, kind=kind, conditional=False)
        x = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
        y, mass = model.fast_values(model.scale, x, base_points(8, 1, sets=1))
        assert len(y) == len(mass) == 1  # for all places


def test_states_keep_their_places_and_x_decides_which():
    model = AveragedSDE(linear(), ZERO, ONE, kind=KINDS["states"])
    u = torch.randn(model.scale.shape, generator=torch.Generator().manual_seed(0)).double()
    x = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    y, mass = model.fast_values(model.weights(u), x, base_points(16, 1, sets=1))
    torch.testing.assert_close(y[0], y[1])
    first = mass.reshape(2, 16, 2).sum(1)[:, 0]
    assert abs(float(first[0] - first[1])) > 0.05


def test_every_kind_of_law_can_be_asked_for():
    assert SlowFastConfig().laws == list(KINDS)


@pytest.mark.parametrize(("system", "kind"), [("b", "gaussian"), ("c", "states")])
def test_the_evidence_finds_the_kind_of_the_fast_law(system, kind):
    """From paths of the exact averaged equation."""
    found = systems.get(f"slow-fast-{system}")
    times, start = 0.01 * np.arange(5001), found.effective.stationary_points(20)
    values = found.effective.paths(start, times, np.random.default_rng(0))
    seen = Increments.of(
        xr.Dataset({"path": (("trajectory", "time", "component"), values)}, {"time": times})
    )
    record = Record.of(seen, 64, 48, 1)
    centre, width = seen.place.mean(0), seen.place.std(0)
    models = {
        name: AveragedSDE(found.coupling(), centre, width, kind=KINDS[name]) for name in KINDS
    }
    by_law = WarmStart(record, SlowFastConfig(), 0, lambda *_: None).by_law(models)
    assert chosen({name: evidence for name, (evidence, _) in by_law.items()}) == kind


def test_fisher_scoring_and_laplace_are_exact_in_the_linear_case():
    """Y ~ N(m, s²): b̄ = m - x, so the posterior of m is Gaussian in closed form."""
    seen = Increments.of(path(mean=0.8).isel(trajectory=slice(0, 2)))
    model = AveragedSDE(linear(), ZERO, ONE, conditional=False, kind=KINDS["affine"])
    base = base_points(32, 1, sets=1)
    u = fisher_scoring(model, seen, base, model.start(torch.Generator().manual_seed(0)), 20, 1e-10)
    duration = float(seen.duration.sum())
    drift = float((seen.displacement[:, 0] + seen.place[:, 0] * seen.duration).sum())
    precision = 1 + duration / SIGMA**2
    at = torch.zeros(1, 1, dtype=torch.float64)
    mean = model.averages(model.weights(u), at, base).drift
    assert float(mean) == pytest.approx(drift / SIGMA**2 / precision, rel=1e-6)
    basis, information = informed_directions(linearise(model, seen, base, u), 5, 0.01)
    assert information.tolist() == pytest.approx([duration / SIGMA**2], rel=1e-6)
    model.restrict(u, basis, (1 + information).rsqrt())
    drawn = [model.averages(model.weights(c * ONE), at, base).drift for c in (-1, 1)]
    assert abs(float(drawn[1] - drawn[0])) / 2 == pytest.approx(precision**-0.5, rel=1e-6)


def test_the_evidence_is_the_integral_of_the_linear_case():
    """Over the mean of Y, the one number that the path tells, on a grid."""
    seen = Increments.of(path(mean=0.8).isel(trajectory=slice(0, 2)))
    model = AveragedSDE(linear(), ZERO, ONE, conditional=False, bins=2, kind=KINDS["affine"])
    base = base_points(32, 1, sets=1)
    u = fisher_scoring(model, seen, base, 0 * model.scale, 20, 1e-10)
    (direction,) = informed_directions(linearise(model, seen, base, u), 5, 0.01)[0].mT
    steps = torch.linspace(-3, 3, 2001, dtype=torch.float64)
    values = torch.stack([-objective(model, seen, base, u + t * direction) for t in steps])
    integral = float(values.logsumexp(0)) + log(0.003) - 0.5 * log(2 * pi)
    assert log_evidence(model, seen, base, u) == pytest.approx(integral, abs=1e-4)


def test_the_prior_of_the_coordinates_is_that_of_the_weights():
    model = AveragedSDE(linear(), ZERO, ONE, bins=4, hidden=3)
    g = torch.Generator().manual_seed(0)
    origin = torch.randn(len(model.scale), generator=g, dtype=torch.float64)
    basis, _ = torch.linalg.qr(torch.randn(len(origin), 2, generator=g, dtype=torch.float64))
    unit = torch.tensor([0.5, 0.2], dtype=torch.float64)
    model.restrict(origin, basis, unit)

    def full(c: Tensor) -> Tensor:
        return -0.5 * (model.weights(c) / model.scale).square().sum()

    one, other = torch.tensor([[0.3, -1.0], [2.0, 0.5]], dtype=torch.float64)
    prior = model.prior()
    torch.testing.assert_close(prior.log_prob(one) - prior.log_prob(other), full(one) - full(other))


def test_a_learned_noise_finds_the_quadratic_variation():
    seen = Increments.of(path(frames=2001))
    noise = torch.full((1, 1), 0.8, dtype=torch.float64)
    model = AveragedSDE(bare(), ZERO, ONE, conditional=False, kind=KINDS["affine"], noise=noise)
    base = base_points(32, 1, sets=1)
    u = fisher_scoring(model, seen, base, model.start(torch.Generator().manual_seed(0)))
    found = model.averages(model.weights(u), torch.zeros(1, 1).double(), base).covariance
    rest = seen.displacement[:, 0] - seen.duration * (0.3 - seen.place[:, 0])
    assert float(found) == pytest.approx(float((rest**2 / seen.duration).mean()), rel=1e-2)


@pytest.mark.parametrize(("kind", "draws"), [("map", 1), ("lowrank", 1), ("flow", 500)])
def test_the_bound_reaches_every_parameter_of_the_posterior(kind, draws):
    """One draw falls into a bin of each spline: many are needed to reach the outermost knots."""
    model = AveragedSDE(linear(), ZERO, ONE, bins=4, hidden=3)
    g = torch.Generator().manual_seed(0)
    origin = model.start(g)
    basis = torch.linalg.qr(torch.randn(len(origin), 3, dtype=torch.float64, generator=g)).Q
    model.restrict(origin, basis, torch.full((3,), 0.3, dtype=torch.float64))
    guide = SubspaceGuide(3, kind)
    batch = PathBatch(increments(3), base_points(4, 1))
    pyro.set_rng_seed(0)
    with pyro.settings.context(module_local_params=True):
        bound = TraceMeanField_ELBO()(model, guide)
        for _ in range(draws):
            bound(batch).backward()
    # Autoregressive networks have weights that a mask leaves out.
    masks = {f"{name}.weight": m.mask for name, m in guide.named_modules() if hasattr(m, "mask")}
    masks["mixing"] = torch.ones(3, 3).tril(-1)
    for name, parameter in guide.named_parameters():
        assert parameter.grad is not None, name
        reached = masks.get(name, torch.ones_like(parameter)) != 0
        assert torch.equal(parameter.grad != 0, reached), name


@pytest.mark.parametrize("kind", ["lowrank", "flow"])
def test_a_posterior_pushes_noise_to_its_own_law(kind):
    torch.manual_seed(0)
    guide = SubspaceGuide(2, kind)
    with torch.no_grad():
        for parameter in guide.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        noise = torch.randn(5, 2, dtype=torch.float64)
        jacobian = torch.func.vmap(torch.func.jacrev(guide.push))(noise)
        normal = torch.distributions.Normal(0.0, 1.0).log_prob(noise).sum(-1)
        density = guide.law().log_prob(guide.push(noise))
    torch.testing.assert_close(density, normal - torch.linalg.det(jacobian).abs().log())
