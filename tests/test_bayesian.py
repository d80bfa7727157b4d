"""Random weights: prior, posterior, members, likelihood, predictive checks, files."""

import math

import numpy as np
import pyro
import pytest
import torch
import xarray as xr
from pyro.distributions import Normal
from pyro.infer import SVI, TraceMeanField_ELBO
from pyro.infer.autoguide import AutoDiagonalNormal
from torch.distributions import kl_divergence

from pyro_msm import analysis
from pyro_msm import data as datasets
from pyro_msm.config import Config, TrainingConfig
from pyro_msm.data.windows import Windows
from pyro_msm.distributions import GaussianPath, SDEPath
from pyro_msm.errors import InputError
from pyro_msm.forecasting import MultiscaleForecaster, prior_predictive, rollout
from pyro_msm.guides import BayesianPathGuide
from pyro_msm.inference import PathELBO, Trainer
from pyro_msm.models import BayesianMultiscaleSDE
from pyro_msm.models.bayesian import DISPERSION_SCALE, DrawnDynamics, WeightPrior
from pyro_msm.runs import RunDirectory
from tests.small_fields import (
    SIZES,
    forecaster,
    model_and_guide,
    tiny_configuration,
    training_windows,
    travelling_waves,
    with_drivers,
    with_mask,
)
from tests.small_paths import Walk, random_walks
from tests.synthetic_ensemble import synthetic_ensemble

DATA = travelling_waves()
FAMILIES = ("normal", "lowrank")


def random_pair(posterior="normal", data=DATA, micro=2, **settings):
    torch.manual_seed(0)
    model = BayesianMultiscaleSDE.for_data(data, 10, micro, **(SIZES | settings))
    return model, BayesianPathGuide(model, posterior)


def random_forecaster(posterior="normal", data=DATA, **training):
    model, settings = tiny_configuration(**training)
    model = model.model_copy(update={"bayesian": posterior})
    return MultiscaleForecaster(model, settings)


@pytest.fixture(scope="module")
def trained():
    return random_forecaster(steps=30).fit(DATA)


@pytest.fixture(scope="module")
def ensemble(trained):
    return rollout(trained, DATA, members=30, generator=4)


# --- prior and posterior -------------------------------------------------------------------------


def test_posterior_of_a_linear_drift_is_the_conjugate_one():
    """dz = a z dt + ℓ dβ with a ~ N(0, τ²) and a known q(z): q(a) is Gaussian in closed form.

    E_q KL(q(z) ‖ p(z|a)) = const + ∫ (a² E z² − 2a E[z (B(m−z) + dm/dt)]) / (2ℓ²) dt.
    """
    torch.manual_seed(0)
    tau, dispersion = 0.8, 0.7
    times = torch.linspace(0, 3, 13)
    mean = (1.5 * torch.exp(-0.6 * times) + 0.1 * torch.sin(3 * times))[:, None]
    path = GaussianPath(
        times, mean, torch.full((13, 1), math.log(0.02)), torch.tensor(0.6), torch.tensor(1e-4)
    )
    linear = torch.nn.Linear(1, 1, bias=False)
    prior = WeightPrior(linear, ["weight"], tau)
    initial = Normal(torch.zeros(1), torch.ones(1)).to_event(1)

    def model():
        weight = prior()
        law = SDEPath(
            lambda t, z: weight * z, torch.tensor([dispersion]), initial, times, quadrature=60
        )
        pyro.sample("state", law)

    posterior = AutoDiagonalNormal(prior, init_scale=0.1)

    def guide():
        posterior()
        pyro.sample("state", path)

    optimiser = pyro.optim.ClippedAdam({"lr": 0.05, "lrd": 0.99})
    svi = SVI(model, guide, optimiser, loss=PathELBO())
    found = []
    for step in range(400):
        svi.step()
        if step >= 200:
            found.append([float(posterior.loc.detach()), float(posterior.scale.detach())])

    fine = torch.linspace(0, 3, 3001)
    m, s, m_rate, log_s_rate = (part[:, 0].detach() for part in path.marginals(fine))
    pull = 0.5 * (dispersion**2 / s - log_s_rate)
    precision = 1 / tau**2 + torch.trapezoid((m**2 + s) / dispersion**2, fine)
    centre = torch.trapezoid((m * m_rate - pull * s) / dispersion**2, fine) / precision
    location, scale = np.mean(found, 0)
    assert scale == pytest.approx(float(precision**-0.5), rel=0.05)
    assert location == pytest.approx(float(centre), abs=0.1 * float(precision**-0.5))
    # The data say something: the posterior is neither the prior nor far narrower than it.
    assert 0.2 * tau < scale < 0.8 * tau


def test_prior_of_each_weight():
    model, _ = random_pair(prior_scale=0.5)
    spread = model.prior.unflatten(model.prior.scale)
    centre = model.prior.unflatten(model.prior.centre)
    inputs = spread["macro_drift.first.weight"].shape[1]
    assert spread["macro_drift.first.weight"].unique().item() == pytest.approx(0.5 / inputs**0.5)
    assert spread["macro_drift.first.bias"].unique().item() == 0.5
    assert spread["log_dispersion"].unique().item() == DISPERSION_SCALE
    assert torch.equal(centre["log_dispersion"], model.network.log_dispersion)
    assert not centre["macro_drift.first.weight"].any()
    torch.manual_seed(1)
    draws = torch.stack([model.prior() for _ in range(400)])
    scores = (draws - model.prior.centre) / model.prior.scale
    assert float(scores.std()) == pytest.approx(1, abs=0.01)
    assert abs(float(scores.mean())) < 0.01


@pytest.mark.parametrize("posterior", FAMILIES)
def test_the_posterior_starts_at_the_plain_model(posterior):
    plain, _ = model_and_guide(DATA)
    model = BayesianMultiscaleSDE.of(plain)
    guide = BayesianPathGuide(model, posterior)
    weights = model.prior.unflatten(guide.weights.loc.detach())
    assert weights.keys() == {
        name
        for name, _ in plain.network.named_parameters()
        if name.startswith(("macro_drift", "micro_drift", "log_dispersion"))
    }
    for name, value in weights.items():
        assert torch.equal(value, plain.network.get_parameter(name))
        assert name not in dict(model.network.named_parameters())
    torch.testing.assert_close(guide.weights.scale, 0.02 * model.prior.scale)


@pytest.mark.parametrize("posterior", FAMILIES)
def test_every_parameter_gets_a_gradient(posterior):
    model, guide = random_pair(posterior)
    windows = training_windows(DATA)
    trainer = Trainer(model, guide, windows, TrainingConfig(steps=2, windows=16, ramp_steps=0))
    trainer.run()
    for name, parameter in trainer.loss.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_plain_svi_trains_it():
    model, guide = random_pair()
    windows = training_windows(DATA)
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 5e-3}), loss=TraceMeanField_ELBO())
    losses = [svi.step(windows.draw(4, torch.Generator().manual_seed(0))) for _ in range(12)]
    assert sum(losses[-3:]) < sum(losses[:3])
    assert any("scale" in name for name in pyro.get_param_store())


def test_the_loss_is_that_of_the_drawn_weights_and_their_divergence_once():
    model, guide = random_pair()
    batch = training_windows(DATA).draw(4, torch.Generator().manual_seed(0))
    batch = batch.__class__(**(batch.__dict__ | {"path_scale": 3.0, "weights_scale": 0.25}))
    torch.manual_seed(5)
    with pyro.settings.context(module_local_params=True):
        loss = PathELBO()(model, guide)(batch)
    torch.manual_seed(5)
    law = guide.weights.get_posterior()
    drawn = law.rsample()
    divergence = (law.log_prob(drawn) - Normal(model.prior.centre, model.prior.scale)
                  .log_prob(drawn).sum())  # fmt: skip
    path = guide.posterior(batch)
    state = path.rsample()
    dynamics = DrawnDynamics(model.network, model.prior.unflatten(drawn))
    likelihood = model.network.experts(state).log_prob(batch.observation).sum()
    expected = 3.0 * kl_divergence(path, model.path(batch, dynamics)).sum()
    expected = expected + 0.25 * divergence - batch.likelihood_scale * likelihood
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-2)


def test_training_divides_the_divergence_of_the_weights_by_the_numbers():
    windows = training_windows(DATA)
    trainer = Trainer(*random_pair(), windows, TrainingConfig(windows=4))
    assert trainer.batch().weights_scale == pytest.approx(1 / windows.observed_numbers)


@pytest.mark.parametrize("posterior", FAMILIES)
def test_draws_from_given_noise_have_the_posteriors_mean_and_covariance(posterior):
    _, guide = random_pair(posterior, micro=0, drift_hidden=3, neighbourhood=1)
    law = guide.weights.get_posterior()
    origin = guide.transformed(torch.zeros(guide.noise_size))
    torch.testing.assert_close(origin, guide.weights.loc)
    linear = guide.transformed(torch.eye(guide.noise_size)) - origin
    if posterior == "normal":
        covariance = law.base_dist.scale.square().diag()
    else:
        covariance = law.covariance_matrix
    torch.testing.assert_close(linear.T @ linear, covariance)


# --- members -------------------------------------------------------------------------------------


def test_members_have_the_drift_and_dispersion_of_their_own_weights():
    data = with_drivers(travelling_waves())
    model, guide = random_pair(data=data, physics={"advection": 1.0})
    weights = guide.transformed(torch.randn(3, guide.noise_size))
    together = DrawnDynamics(model.network, model.prior.unflatten(weights), members=True)
    state, context = torch.randn(3, 4, model.network.state_size), torch.randn(4, 3)
    parameters, times = torch.randn(4, 2), torch.rand(4)
    rates, dispersion = together.drift(times, state, context, parameters), together.dispersion
    assert dispersion.shape == (3, 1, model.network.state_size)
    for member in range(3):
        model.network.load_state_dict(model.prior.unflatten(weights[member]), strict=False)
        alone = model.network.drift(times, state[member], context, parameters)
        torch.testing.assert_close(rates[member], alone, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(dispersion[member, 0], model.network.dispersion)


def test_a_member_does_not_depend_on_the_others(trained):
    initial = DATA.isel(trajectory=[2, 3], time=slice(0, 1))
    times = DATA["time"].values

    def paths(data, members):
        return trained.advance(trained.encode(data, members, 7), times)[1]

    whole = paths(initial, 5)
    np.testing.assert_allclose(paths(initial, range(3, 5)), whole[:, 3:], atol=1e-5)
    first = paths(initial.isel(trajectory=[0]), 5)
    np.testing.assert_allclose(first, whole[:, :, :1], atol=1e-5)


def test_members_differ_by_their_weights_also_without_noise(trained):
    """And are the same from every initial state: a member is one model."""
    initial = DATA.isel(trajectory=[3], time=slice(0, 1))
    state = trained.encode(initial, 4, 0)
    drift = trained._drift(0.0, torch.zeros(4, 1, 12), state)
    assert drift.std(0).min() > 0


@pytest.mark.parametrize("posterior", FAMILIES)
def test_forecasts_survive_the_files(tmp_path, posterior):
    run = RunDirectory(tmp_path)
    run.checkpoints.mkdir()
    forecaster = random_forecaster(posterior)
    forecaster.fit(DATA, run=run)
    initial = datasets.select(DATA, "test").isel(time=slice(0, 1))
    times = DATA["time"].values[:5]
    expected = forecaster.forecast(initial, times, 3, 1)
    forecaster.save(tmp_path / "saved")
    for loaded in (
        MultiscaleForecaster.from_run(run),
        MultiscaleForecaster.load(tmp_path / "saved"),
    ):
        assert isinstance(loaded.guide, BayesianPathGuide)
        xr.testing.assert_equal(loaded.forecast(initial, times, 3, 1), expected)
        mean = loaded.model.prior.unflatten(loaded.guide.weights.loc)
        assert torch.equal(loaded.model.network.log_dispersion, mean["log_dispersion"])


def test_steps_and_a_resumption_are_the_steps_of_one_run(tmp_path):
    def run(folder, steps, resume=False):
        settings = TrainingConfig(steps=steps, windows=2, window_length=6, checkpoint_every=3)
        made = Trainer(*random_pair(), training_windows(DATA), settings, folder=folder)
        made.run(resume)
        return made

    whole = run(tmp_path / "whole", 8)
    run(tmp_path / "parts", 5)
    resumed = run(tmp_path / "parts", 8, resume=True)
    for one, other in zip(whole.state.parameters, resumed.state.parameters, strict=True):
        assert torch.equal(one, other)


def test_random_weights_start_from_a_plain_run_but_do_not_grow(tmp_path):
    plain, settings = tiny_configuration(steps=2)
    runs = {}
    for name, chosen in (
        ("plain", plain),
        ("random", plain.model_copy(update={"bayesian": "normal"})),
    ):
        runs[name] = RunDirectory.create(tmp_path / name, Config(model=chosen, training=settings))
        MultiscaleForecaster(chosen, settings).fit(DATA, run=runs[name])

    def started(name):
        update = {"bayesian": "normal", "warm_start": str(tmp_path / name)}
        made = MultiscaleForecaster(plain.model_copy(update=update), settings)
        made.check(DATA)
        made.build(DATA)
        return made

    before = MultiscaleForecaster.from_run(runs["plain"])
    made = started("plain")
    start = made.model.prior.unflatten(made.guide.weights.loc)["micro_drift.network.0.weight"]
    assert torch.equal(start, before.model.network.micro_drift.network[0].weight)
    encoder = before.guide.encoder.state_dict()
    for name, value in made.guide.encoder.state_dict().items():
        assert torch.equal(value, encoder[name])
    with pytest.raises(InputError, match="has random weights, and only single values can grow"):
        started("random")


# --- likelihood and checks -----------------------------------------------------------------------


@pytest.mark.parametrize("masked", [False, True])
def test_log_likelihood_is_the_bound_of_each_window(masked):
    """Against many draws, at weights without spread; windows lie end to end."""
    data = with_mask(travelling_waves()) if masked else DATA
    forecaster = random_forecaster()
    forecaster.build(data)
    forecaster.guide.weights.scale = torch.full_like(forecaster.guide.weights.scale, 1e-9)
    group = rollout(forecaster, data, members=2)["log_likelihood"]
    found = group["field"]
    assert found.dims == ("chain", "draw", "trajectory", "window")
    np.testing.assert_allclose(group["window"].values, [0, 0.375])
    np.testing.assert_allclose(found[:, 0], found[:, 1], rtol=1e-6)

    train, model, guide = datasets.select(data, "train"), forecaster.model, forecaster.guide
    batch = Windows(train, 6, 3).cut(torch.tensor([1, 1]), torch.tensor([0, 15]))
    torch.manual_seed(0)
    with torch.no_grad():
        path, weights = guide.posterior(batch), model.prior.unflatten(guide.weights.loc)
        prior = model.path(batch, DrawnDynamics(model.network, weights))
        prior.quadrature = 500
        score = [
            model.network.experts(path.rsample()).log_prob(batch.observation) for _ in range(50)
        ]
        score = torch.stack(score).mean(0)
        if masked:
            score = score * batch.mask
        score[1, 0] = 0  # the window before it has this snapshot
        expected = score.flatten(1).sum(1) - kl_divergence(path, prior)
    np.testing.assert_allclose(found[0, 0, 1], expected, rtol=0.1)


def test_plain_models_have_no_log_likelihood():
    forecaster = MultiscaleForecaster(*tiny_configuration())
    forecaster.build(DATA)
    tree = rollout(forecaster, DATA, members=2)
    assert "log_likelihood" not in tree.children
    with pytest.raises(InputError, match="the ensemble has no log_likelihood"):
        analysis.loo(tree)
    with pytest.raises(InputError, match="the weights of this model have no prior"):
        prior_predictive(forecaster, DATA)


@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto:UserWarning")
def test_arviz_loo_runs(ensemble):
    found = analysis.loo(ensemble, pointwise=True)
    values = ensemble["log_likelihood"]["field"]
    assert found.n_data_points == values.sizes["trajectory"] * values.sizes["window"]
    assert math.isfinite(found.elpd if hasattr(found, "elpd") else found.elpd_loo)
    assert not np.isnan(found.pareto_k).any()
    likelihood = ensemble["log_likelihood"].to_dataset().isel(draw=slice(29))
    with pytest.raises(InputError, match=r"at least 30 members' likelihoods, and .* has 29: roll"):
        analysis.loo(xr.DataTree.from_dict({"log_likelihood": likelihood}))


def test_the_prior_predictive_is_wider_than_the_posterior(trained, ensemble):
    prior = prior_predictive(trained, DATA, members=30, generator=4)
    assert set(prior.children) == {"prior", "prior_predictive", "observed_data", "constant_data"}
    last = [tree["macro"].isel(time_full=-1) for tree in (prior["prior"], ensemble["posterior"])]
    spread = [float(macro.std("draw").median()) for macro in last]
    assert spread[0] > 3 * spread[1]
    # The initial states are the posterior's own.
    first = [
        tree["macro"].isel(time_full=0).values for tree in (prior["prior"], ensemble["posterior"])
    ]
    np.testing.assert_array_equal(*first)


def test_predictive_checks_count_members_beyond_the_truth():
    tree = synthetic_ensemble(members=19)
    checks = analysis.predictive_checks(tree)
    field = tree["posterior_predictive"]["field"]
    largest = field.max(("time", "channel", "x")).stack(member=("chain", "draw"))
    truth = tree["observed_data"]["field"].max(("time", "channel", "x"))
    expected = (1 + (largest >= truth).sum("member")) / 20
    np.testing.assert_allclose(checks["p_value"].sel(statistic="largest value"), expected)
    change = np.sqrt(np.square(np.diff(field[0, 3, 1], axis=0)).mean())
    drawn = checks["drawn"].sel(statistic="change in time")
    assert float(drawn[3, 1]) == pytest.approx(float(change))


def test_predictive_checks_tell_a_truth_that_the_model_would_not_draw():
    tree = synthetic_ensemble(members=19)
    tree["observed_data"]["field"] = tree["observed_data"]["field"] * 3
    p = analysis.predictive_checks(tree)["p_value"]
    assert (p.sel(statistic=["standard deviation", "largest value"]) == 1 / 20).all()


def test_predictive_checks_see_both_axes_of_a_plane_and_no_space_of_a_path():
    waves = travelling_waves(grid=(20, 20))
    plane = rollout(forecaster(waves), waves, 4)
    flat = plane.copy()
    for group in ("posterior_predictive", "observed_data"):
        flat[group] = flat[group].to_dataset()[["field"]].transpose(..., "y", "x")
    rough, turned = (
        analysis.predictive_checks(each)["observed"].sel(statistic="change in space")
        for each in (plane, flat)
    )
    np.testing.assert_allclose(rough, turned, rtol=1e-5)
    walks = random_walks(splits=("train", "test", "test"))
    checks = analysis.predictive_checks(rollout(Walk(), walks, members=4))
    assert "change in space" not in checks["statistic"]
    nothing = {"nothing": lambda path: np.nan}
    checks = analysis.predictive_checks(rollout(Walk(), walks, members=4), statistics=nothing)
    assert np.isnan(checks["p_value"]).all()


def test_predictive_checks_leave_out_gaps_and_lost_members():
    tree = synthetic_ensemble(members=19)
    plain = analysis.predictive_checks(tree)
    members = tree["posterior_predictive"]["field"].copy()
    members[0, 2, 1, -1] = np.nan
    tree["posterior_predictive"]["field"] = members
    checks = analysis.predictive_checks(tree)
    assert np.isnan(checks["drawn"][:, 2, 1]).all()
    assert int(np.isnan(checks["drawn"]).sum()) == len(checks["statistic"])
    np.testing.assert_array_equal(checks["p_value"][:, 0], plain["p_value"][:, 0])
    mask = xr.ones_like(tree["observed_data"]["field"], bool)
    mask[:, :, :, 7] = False
    tree["constant_data"]["mask"] = mask
    masked = analysis.predictive_checks(tree, statistics={"count": lambda f: np.isfinite(f).sum()})
    assert (masked["drawn"] == masked["observed"]).where(masked["drawn"].notnull(), True).all()
    with pytest.raises(InputError, match="has no group prior_predictive, but"):
        analysis.predictive_checks(tree, "prior_predictive")
