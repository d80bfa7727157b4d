"""Forecasts with random weights: a draw for each member, the likelihood of each draw, the prior."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.distributions import kl_divergence

from pyro_msm import data as datasets
from pyro_msm.data.windows import WindowBatch, Windows
from pyro_msm.errors import InputError
from pyro_msm.forecasting.contract import Forecaster, Randomness
from pyro_msm.forecasting.streams import weights_noise
from pyro_msm.guides import AmortizedPathGuide, BayesianPathGuide
from pyro_msm.models import BayesianMultiscaleSDE, MultiscaleSDE
from pyro_msm.models.bayesian import DrawnDynamics

if TYPE_CHECKING:
    from pyro_msm.forecasting.multiscale import MultiscaleForecaster

#: Draws of the weights whose likelihood is computed, at most.
SCORED = 1000

#: Random times of a window, and samples of its states, that its likelihood is averaged over.
QUADRATURE, SAMPLES = 32, 8


def with_random_weights(
    model: MultiscaleSDE, guide: AmortizedPathGuide, posterior: Any, prior_scale: float
) -> tuple[BayesianMultiscaleSDE, BayesianPathGuide]:
    """A plain model and its guide, the drift and dispersion weights made random.

    Args:
        model: where the posterior starts.
        guide: its encoder is kept.
        posterior: "normal" or "lowrank", see ``BayesianPathGuide``.
        prior_scale: see ``WeightPrior``.
    """
    random = BayesianMultiscaleSDE.of(model, prior_scale)
    new = BayesianPathGuide(random, posterior)
    new.encoder.load_state_dict(guide.encoder.state_dict())
    return random, new


def random_weights(guide: AmortizedPathGuide) -> dict[str, Any] | None:
    """What ``with_random_weights`` was given beside model and guide; None for a plain guide."""
    if not isinstance(guide, BayesianPathGuide):
        return None
    return {"posterior": guide.posterior_family, "prior_scale": guide.model.prior_scale}


def member_dynamics(
    guide: AmortizedPathGuide, members: range, root: int, from_prior: bool = False
) -> Any:
    """Drift and dispersion of the members of an ensemble.

    The weights of a member depend on the root and its own index alone: it has the same ones in all
    trajectories, and however the ensemble is cut into blocks.

    Args:
        guide: of a model with random weights or without; these have one network for all.
        members: indices of the members.
        root: root of the random streams.
        from_prior: draw the weights from the prior, not the posterior.
    """
    if not isinstance(guide, BayesianPathGuide):
        return guide.model.network
    prior = guide.model.prior
    device = prior.centre.device
    size = len(prior.centre) if from_prior else guide.noise_size
    noise = torch.tensor(weights_noise(root, members, size), device=device)
    with torch.inference_mode():
        drawn = prior.centre + prior.scale * noise if from_prior else guide.transformed(noise)
        return DrawnDynamics(guide.model.network, prior.unflatten(drawn), members=True)


def prior_predictive(
    forecaster: MultiscaleForecaster,
    data: xr.Dataset,
    members: int = 79,
    generator: Randomness = None,
    **how: Any,
) -> xr.DataTree:
    """The ensemble that the model draws before it has learned drift and dispersion.

    It starts from the same initial states as ``rollout``, whose group ``posterior_predictive`` is
    called ``prior_predictive`` here, and ``posterior`` ``prior``.

    Args:
        forecaster: of a model with random weights.
        data: as for ``rollout``.
        members: draws of the weights.
        generator: as for ``rollout``.
        **how: further arguments of ``rollout``.

    Raises:
        InputError: the weights are not random.
    """
    from pyro_msm.forecasting.rollout import rollout

    if random_weights(forecaster.guide) is None:
        raise InputError(
            "the weights of this model have no prior: train it with --set model.bayesian=normal"
        )
    before = copy.copy(forecaster)
    before.from_prior = True
    tree = rollout(before, data, members, generator, **how)
    names = {"posterior": "prior", "posterior_predictive": "prior_predictive"}
    groups = {names.get(name, name): group.to_dataset() for name, group in tree.children.items()}
    groups.pop("log_likelihood")
    return xr.DataTree.from_dict({f"/{name}": group for name, group in groups.items()})


def log_likelihood(
    chains: Sequence[Forecaster], data: xr.Dataset, members: int, root: int
) -> dict[str, xr.Dataset]:
    """The group ``log_likelihood`` of an ensemble: ln p(y | θ) of the training data.

    A point is one window of a training trajectory: what a leave-one-out estimate leaves out. The
    windows lie end to end; each counts its observations but the first, which the window before it
    has, and the path between them. The integral over paths has no closed form; in its place stands
    its evidence lower bound, E_q ln p(y|z) − KL(q(z) ‖ p(z|θ)), in nats, for which all draws see
    the same random numbers. Draw ``i`` has the weights of member ``i``.

    Args:
        chains: of the ensemble.
        data: with the ``train`` split.
        members: draws per chain.
        root: root of the random streams.

    Returns:
        ``{"log_likelihood": …}`` with ``field`` (chain, draw, trajectory, window), or nothing
        unless the weights of all chains are random.
    """
    guides = [getattr(forecaster, "guide", None) for forecaster in chains]
    if not all(isinstance(guide, BayesianPathGuide) for guide in guides):
        return {}
    train = datasets.select(data, "train")
    found = []
    for index, forecaster in enumerate(chains):
        draws = range(min(members, SCORED))
        starts, values = _chain_log_likelihood(forecaster, train, draws, root + index)
        found.append(values)
    coords: dict[str, Any] = {
        "chain": np.arange(len(found)), "draw": np.arange(len(draws)), "window": starts
    }  # fmt: skip
    if "trajectory" in train.coords:
        coords["trajectory"] = train["trajectory"].values
    points = ("chain", "draw", "trajectory", "window"), np.stack(found)
    group = xr.Dataset({"field": points}, coords)
    group["field"].attrs = {
        "long_name": "evidence lower bound of ln p(window | weights)", "units": "nat"
    }  # fmt: skip
    group["window"].attrs = {"long_name": "time of the window's first snapshot"}
    return {"log_likelihood": group}


def _chain_log_likelihood(
    forecaster: Any, train: xr.Dataset, draws: range, root: int
) -> tuple[np.ndarray, np.ndarray]:
    """Starting times (window,) and ln p (draw, trajectory, window)."""
    settings, device = forecaster.training, forecaster.device
    windows = Windows(train, settings.window_length, settings.stride, forecaster.warmup, device)
    reach = windows.stride * (windows.length - 1)
    starts = torch.arange(0, train.sizes["time"] - forecaster.warmup + 1 - reach, reach)
    guide: BayesianPathGuide = forecaster.guide
    model = guide.model
    noise = torch.tensor(weights_noise(root, draws, guide.noise_size), device=device)
    values = np.empty((len(draws), train.sizes["trajectory"], len(starts)))
    with torch.inference_mode(), torch.random.fork_rng([device] * (device.type == "cuda")):
        weights = guide.transformed(noise)
        for trajectory in range(values.shape[1]):
            torch.manual_seed(root + trajectory)
            batch = windows.cut(torch.full_like(starts, trajectory), starts)
            values[:, trajectory] = _windows_log_likelihood(model, guide, batch, weights)
    times = train["time"].values[starts.numpy() + forecaster.warmup - 1]
    return times, values


def _windows_log_likelihood(
    model: BayesianMultiscaleSDE, guide: BayesianPathGuide, batch: WindowBatch, weights: Tensor
) -> np.ndarray:
    """(draw, window)."""
    posterior = guide.posterior(batch)
    likelihood = torch.stack(
        [_expected_likelihood(model, batch, posterior.rsample()) for _ in range(SAMPLES)]
    ).mean(0)
    state = torch.get_rng_state()
    values = np.empty((len(weights), len(batch)))
    for index, own in enumerate(weights):
        torch.set_rng_state(state)
        dynamics: Any = DrawnDynamics(model.network, model.prior.unflatten(own))
        prior = model.path(batch, dynamics)
        prior.quadrature = QUADRATURE
        values[index] = (likelihood - kl_divergence(posterior, prior)).cpu().numpy()
    return values


def _expected_likelihood(model: BayesianMultiscaleSDE, batch: WindowBatch, state: Tensor) -> Tensor:
    """ln p of the observations of each window but the first, unless it starts a trajectory."""
    score = model.network.experts(state).log_prob(batch.observation)
    if batch.mask is not None:
        score = torch.where(batch.mask, score, 0)
    each = score.flatten(2).sum(-1)
    first = batch.initial_weight * each[:, 0]
    return first + each[:, 1:].sum(1)
