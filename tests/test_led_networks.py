"""Networks and Pyro programs of learned effective dynamics."""

import math

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO
from pyro.optim import Adam

from pyro_msm.forecasting.led.basis import fill, measured, rolled
from pyro_msm.guides.amortized_snapshot import AmortizedSnapshotGuide
from pyro_msm.models.led import LED, PathBatch, SnapshotBatch, step_law
from pyro_msm.nn.autoencoder import ConvolutionalDecoder, ConvolutionalEncoder, FieldBasis
from pyro_msm.nn.latent_dynamics import Step
from pyro_msm.nn.particle_sets import MixtureHead, SetEncoder
from pyro_msm.nn.propagator import Propagator
from pyro_msm.nn.quick_propagator import QuickPropagator


def test_basis_gives_back_what_lies_in_it() -> None:
    rng = np.random.default_rng(0)
    fields = rng.normal(size=(50, 3)) @ rng.normal(size=(3, 2 * 5)) + 4
    fields = fields.reshape(50, 2, 5)
    found = measured(fields, rank=8, latent=2, shifts=[])
    assert len(found.modes) == 3  # what is beyond is rounding
    basis = FieldBasis((2, 5), 3)
    fill(basis, found)
    seen = torch.tensor(fields, dtype=torch.float32)
    coordinates = basis.coordinates(seen)
    assert torch.allclose(basis.field(coordinates), seen, atol=1e-4)
    assert torch.allclose(coordinates.var(0, correction=0), torch.ones(3), atol=1e-3)


def test_shifted_basis_does_not_know_places() -> None:
    x = np.arange(16) / 16
    fields = np.sin(2 * np.pi * x)[None, None].repeat(5, 0)
    found = measured(fields, rank=4, latent=2, shifts=[0])
    shares = found.amplitude**2
    assert shares[0] == pytest.approx(shares[1], rel=1e-6)  # sine and cosine alike


def test_rolled_fields_are_shifts_of_whole_stretches() -> None:
    values = torch.arange(2 * 3 * 1 * 5.0).reshape(2, 3, 1, 5)
    generator = torch.Generator().manual_seed(3)
    moved = rolled(values, [0], generator)
    for before, after in zip(values, moved, strict=True):
        shifts = [torch.equal(torch.roll(before, by, -1), after) for by in range(5)]
        assert sum(shifts) == 1


@pytest.mark.parametrize(("points", "periodic"), [(16, True), (21, False)])
def test_convolutions_return_to_the_grid(points: int, periodic: bool) -> None:
    encoder = ConvolutionalEncoder((2, points), 3, 4, 2, periodic)
    decoder = ConvolutionalDecoder((2, points), 3, 4, 2, periodic)
    fields = torch.randn(5, 6, 2, points)
    assert encoder(fields).shape == (5, 6, 3)
    assert decoder(encoder(fields)).shape == fields.shape


def test_encoder_of_sets_ignores_order_and_sees_shape() -> None:
    torch.manual_seed(0)
    encoder = SetEncoder(-torch.ones(2), torch.ones(2), 3, hidden=8, layers=2)
    cloud = 2 * torch.rand(4, 30, 2) - 1
    shuffled = cloud[:, torch.randperm(30)]
    assert torch.allclose(encoder(cloud)[0], encoder(shuffled)[0], atol=1e-6)
    assert not torch.allclose(encoder(cloud)[0], encoder(cloud / 2)[0], atol=1e-3)


def test_mixture_head_gives_cholesky_factors() -> None:
    logits, location, factor = MixtureHead(3, 2, 4, hidden=8, layers=2)(torch.randn(5, 3))
    assert logits.shape == (5, 4)
    assert location.shape == (5, 4, 2)
    assert (factor.diagonal(dim1=-2, dim2=-1) > 0).all()
    assert (factor[..., 0, 1] == 0).all()


@pytest.mark.parametrize("cell", ["gru", "lstm", "none"])
def test_passes_with_a_carried_state_are_one_long_pass(cell: str) -> None:
    torch.manual_seed(0)
    propagator = Propagator(3, 2, cell=cell, memory=4, hidden=8)
    latents, inputs = torch.randn(2, 12, 3), torch.randn(2, 12, 2)
    whole, end = propagator(latents, inputs, propagator.start(2))
    state, parts = propagator.start(2), []
    for first in (0, 5, 10):
        piece = slice(first, min(first + 5, 12))
        law, state = propagator(latents[:, piece], inputs[:, piece], state)
        parts.append(law.mean)
    assert torch.allclose(torch.cat(parts, 1), whole.mean, atol=1e-6)
    assert torch.allclose(state, end, atol=1e-6)


@pytest.mark.parametrize("cell", ["gru", "lstm", "none"])
@pytest.mark.parametrize("polynomial", [0, 2])
def test_quick_steps_are_those_of_the_network(cell: str, polynomial: int) -> None:
    torch.manual_seed(0)
    propagator = Propagator(3, 2, cell=cell, memory=4, hidden=8, layers=3, polynomial=polynomial)
    for name, buffer in propagator.named_buffers():
        if not buffer.is_floating_point():
            continue
        buffer.copy_(0.5 + torch.rand(buffer.shape) if "centre" not in name else buffer - 0.3)
    latents, inputs = torch.randn(5, 6, 3), torch.randn(5, 6, 2)
    laws, state = propagator(latents, inputs, propagator.start(5))
    quick, kept = QuickPropagator(propagator), np.zeros((5, propagator.state_size), np.float32)
    for n in range(6):
        mean, kept = quick(latents[:, n].numpy(), inputs[:, n].numpy(), kept)
        assert np.allclose(mean, laws.mean[:, n, 0].detach().numpy(), atol=1e-5)
    assert np.allclose(kept, state.detach().numpy(), atol=1e-5)
    assert np.allclose(quick.std, laws.log_std.exp().detach().numpy())


def test_free_run_feeds_on_its_own_predictions() -> None:
    torch.manual_seed(0)
    propagator = Propagator(3, 0, memory=4, hidden=8)
    latent, none = torch.randn(2, 3), torch.zeros(2, 4, 0)
    path, _ = propagator.free(latent, none, propagator.start(2))
    seen = torch.cat([latent[:, None], path[:, :-1]], 1)
    forced = propagator(seen, none, propagator.start(2))[0].expected()
    assert torch.allclose(path, forced, atol=1e-6)


def test_draws_of_a_step_have_its_moments() -> None:
    law = Step(
        torch.tensor([math.log(0.3), math.log(0.7)]),
        torch.tensor([[-1.0], [2.0]]),
        torch.tensor([[math.log(0.5)], [math.log(0.2)]]),
    )
    normal = torch.randn(200_000, 2, generator=torch.Generator().manual_seed(0))
    wide = Step(*(part.expand(200_000, *part.shape) for part in law))
    drawn = wide.draw(normal)
    mean, variance = 0.3 * -1 + 0.7 * 2, 0.3 * (0.25 + 1) + 0.7 * (0.04 + 4)
    assert float(drawn.mean()) == pytest.approx(mean, abs=0.02)
    assert float(drawn.var()) == pytest.approx(variance - mean**2, rel=0.02)
    assert float(wide.draw(normal, 2.0).var()) == pytest.approx(4 * float(drawn.var()), rel=1e-3)
    assert float(wide.draw(normal, 0.0).std()) == pytest.approx(0.0, abs=1e-6)


def test_log_density_of_a_path_is_the_sum_over_its_steps() -> None:
    torch.manual_seed(0)
    model = LED((1, 8), 3, rank=4, hidden=8, cell="gru", memory=4, components=2)
    latents = torch.randn(2, 6, 3)
    batch = PathBatch(
        latents[:, :-1], latents[:, 1:], torch.zeros(2, 5, 0), model.propagator.start(2), 5
    )
    found = poutine.trace(model.paths).get_trace(batch).log_prob_sum()
    state, total = model.propagator.start(2), torch.zeros(())
    for n in range(5):
        law, state = model.propagator(latents[:, n : n + 1], torch.zeros(2, 1, 0), state)
        parts = torch.distributions.Normal(law.mean, law.log_std.exp())
        each = parts.log_prob(latents[:, n + 1, None, None]).sum(-1)
        total = total + (law.logits.log_softmax(-1) + each).logsumexp(-1).sum()
    assert found.item() == pytest.approx(total.item(), rel=1e-5)


def test_a_normal_step_has_one_component() -> None:
    step = Step(torch.zeros(4, 1), torch.zeros(4, 1, 3), torch.zeros(3))
    assert step_law(step).batch_shape == (4,)


@pytest.mark.parametrize("particles", [False, True])
def test_plain_svi_trains_the_autoencoder(particles: bool) -> None:
    torch.manual_seed(0)
    pyro.set_rng_seed(0)
    if particles:
        model = LED((1,), 2, low=[-1.0], high=[1.0], hidden=16, layers=2, variational=True)
        centres = torch.linspace(-0.5, 0.5, 8)[:, None, None]
        values = centres + 0.1 * torch.randn(8, 50, 1)
    else:
        model = LED((1, 8), 2, rank=2, hidden=16, layers=2, variational=True)
        values = torch.sin(torch.linspace(0, 3, 8)[:, None, None] + torch.arange(8.0))
        fill(model.basis, measured(values.numpy(), 2, 2, []))
    guide = AmortizedSnapshotGuide(model)
    svi = SVI(model.snapshots, guide, Adam({"lr": 5e-3}), Trace_ELBO())
    batch = SnapshotBatch(values, 1.0)
    losses = [svi.step(batch) for _ in range(100)]
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.1 * values.numel()
