"""The bound: PathELBO equals the stock class, spares the path's density, and is what it says."""

import pyro
import pytest
import torch
from pyro import poutine
from pyro.distributions import Normal
from pyro.infer import SVI, TraceMeanField_ELBO
from torch.distributions import kl_divergence

from pyro_msm.config import TrainingConfig
from pyro_msm.distributions import SDEPath
from pyro_msm.inference import PathELBO, Trainer
from tests.small_fields import model_and_guide, training_windows, travelling_waves, with_mask


def tempered_batch(data, count=4):
    batch = training_windows(data).draw(count, torch.Generator().manual_seed(0))
    return batch.__class__(**(batch.__dict__ | {"path_scale": 3.0, "likelihood_scale": 0.7}))


def loss_and_gradients(elbo, data, micro=2):
    model, guide = model_and_guide(data, micro=micro)
    batch = tempered_batch(data)
    torch.manual_seed(5)
    with pyro.settings.context(module_local_params=True):
        loss = elbo(model, guide)(batch)
    loss.backward()
    return loss.detach(), [p.grad for p in [*model.parameters(), *guide.parameters()]]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("micro", [2, 0])
def test_loss_and_gradients_are_those_of_the_stock_class(micro, masked):
    data = with_mask(travelling_waves()) if masked else travelling_waves()
    loss, gradients = loss_and_gradients(PathELBO(), data, micro)
    stock, expected = loss_and_gradients(TraceMeanField_ELBO(), data, micro)
    torch.testing.assert_close(loss, stock)
    torch.testing.assert_close(gradients, expected, rtol=1e-4, atol=1e-2)


def test_loss_is_the_weighted_likelihood_less_the_divergence():
    data = travelling_waves()
    model, guide = model_and_guide(data)
    batch = tempered_batch(data)
    torch.manual_seed(5)
    loss = PathELBO().loss(model, guide, batch)
    torch.manual_seed(5)
    posterior = guide.posterior(batch)
    state = posterior.rsample()
    likelihood = model.network.experts(state).log_prob(batch.observation).sum()
    divergence = kl_divergence(posterior, model.path(batch, model.network)).sum()
    expected = (3.0 * divergence - 0.7 * likelihood).detach()
    assert loss == pytest.approx(float(expected), rel=1e-5)


def test_the_density_of_the_path_is_not_evaluated(monkeypatch):
    data = travelling_waves()
    model, guide = model_and_guide(data)
    batch = tempered_batch(data)

    def refuse(self, value):
        raise AssertionError("scored")

    monkeypatch.setattr(SDEPath, "log_prob", refuse)
    PathELBO().loss(model, guide, batch)
    with pytest.raises(AssertionError, match="scored"):
        TraceMeanField_ELBO().loss(model, guide, batch)


def test_it_serves_plain_svi_and_several_particles():
    data = travelling_waves()
    model, guide = model_and_guide(data)
    windows = training_windows(data)
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 5e-3}), loss=PathELBO(num_particles=2))
    losses = [svi.step(windows.draw(4)) for _ in range(30)]
    assert sum(losses[-5:]) < sum(losses[:5])


def test_other_latent_sites_are_handled_as_in_the_stock_class():
    """A model with a global Gaussian site beside the path."""
    data = travelling_waves()
    inner, inner_guide = model_and_guide(data)
    batch = tempered_batch(data)
    location = torch.tensor(0.3, requires_grad=True)

    def model(batch):
        pyro.sample("scale", Normal(0.0, 1.0))
        return inner(batch)

    def guide(batch):
        pyro.sample("scale", Normal(location, 0.5))
        return inner_guide(batch)

    results = []
    for elbo in (PathELBO(), TraceMeanField_ELBO()):
        torch.manual_seed(5)
        loss = elbo.differentiable_loss(model, guide, batch)
        results.append((loss, torch.autograd.grad(loss, location)[0]))
    torch.testing.assert_close(results[0], results[1])


def test_trainer_divides_by_the_numbers_and_tempers_the_path():
    """The loss per observed number, with the path's weight grown over the ramp."""
    data = travelling_waves()
    windows = training_windows(data)
    settings = TrainingConfig(windows=4, path_weight=5.0, ramp_steps=10)
    trainer = Trainer(*model_and_guide(data), windows, settings)
    plain = windows.draw(4, torch.Generator().manual_seed(0))
    numbers = 2 * 41 * 40
    for step, grown in ((0, 0.1), (4, 0.5), (30, 1.0)):
        trainer.state.step = step
        trainer.draws.manual_seed(0)
        batch = trainer.batch()
        torch.testing.assert_close(batch.field, plain.field)
        assert batch.path_scale == pytest.approx(plain.path_scale * 5.0 * grown / numbers)
        assert batch.likelihood_scale == pytest.approx(plain.likelihood_scale / numbers)
        # The initial term is part of the path term, importance weight and all.
        torch.testing.assert_close(batch.initial_weight, plain.initial_weight)


def test_traces_of_the_caller_are_left_alone():
    data = travelling_waves()
    model, guide = model_and_guide(data)
    batch = tempered_batch(data)
    elbo = PathELBO()
    traces = elbo._get_trace(model, guide, (batch,), {})
    names = [set(trace.nodes) for trace in traces]
    elbo._differentiable_loss_particle(*traces)
    assert [set(trace.nodes) for trace in traces] == names
    assert poutine.trace(model).get_trace(batch).nodes.keys() >= {"state", "field"}
