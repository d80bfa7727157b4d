"""The variational family of the model with random weights: an autoguide beside the path guide."""

from __future__ import annotations

from typing import Any, Literal

import pyro
import torch
from pyro import poutine
from pyro.distributions import LowRankMultivariateNormal
from pyro.infer.autoguide import (
    AutoContinuous,
    AutoDiagonalNormal,
    AutoLowRankMultivariateNormal,
    init_to_value,
)
from pyro.nn import PyroParam
from torch import Tensor

from pyro_msm.data.windows import WindowBatch
from pyro_msm.guides.amortized_path import AmortizedPathGuide
from pyro_msm.models.bayesian import BayesianMultiscaleSDE

#: Posterior standard deviation of a weight at the start, relative to the prior's: training widens
#: it where the data allow.
START = 0.02

#: Rank of the part of the covariance that joins weights.
RANK = 10


class BayesianPathGuide(AmortizedPathGuide):
    """``AmortizedPathGuide``, and one of Pyro's autoguides as posterior over the weights.

    Args:
        model: the model whose posterior this is.
        posterior: "normal", independent weights (``AutoDiagonalNormal``), or "lowrank", joined by a
            covariance of rank 10 (``AutoLowRankMultivariateNormal``).
    """

    weights: AutoContinuous

    def __init__(
        self, model: BayesianMultiscaleSDE, posterior: Literal["normal", "lowrank"] = "normal"
    ) -> None:
        super().__init__(model)
        self.posterior_family = posterior
        start = init_to_value(values={"weights": model.prior.flatten(model.network)})
        with (
            pyro.settings.context(module_local_params=True),
            poutine.block(),
            torch.random.fork_rng(devices=[]),
        ):
            if posterior == "normal":
                self.weights = AutoDiagonalNormal(model.prior, start)
            else:
                self.weights = AutoLowRankMultivariateNormal(model.prior, start, rank=RANK)
            # The first call makes its parameters.
            self.weights()
            scale = START * model.prior.scale.clone()
            self.weights.scale = PyroParam(scale, self.weights.scale_constraint)

    @property
    def model(self) -> BayesianMultiscaleSDE:
        """The model whose posterior this is."""
        model: BayesianMultiscaleSDE = self._model
        return model

    @property
    def noise_size(self) -> int:
        """Standard normal numbers that ``transformed`` needs for one draw."""
        law: Any = self.weights.get_posterior()
        rank = law.cov_factor.shape[-1] if isinstance(law, LowRankMultivariateNormal) else 0
        return int(law.event_shape[0]) + rank

    def transformed(self, noise: Tensor) -> Tensor:
        """Standard normal numbers (…, noise_size) → draws of the posterior (…, weights)."""
        law: Any = self.weights.get_posterior()
        if not isinstance(law, LowRankMultivariateNormal):
            return law.base_dist.loc + law.base_dist.scale * noise
        own, joint = noise.split(law.cov_factor.shape, -1)
        return law.loc + law.cov_diag.sqrt() * own + joint @ law.cov_factor.T

    def settle(self) -> None:
        """Writes the posterior's mean into the network, for whoever asks it for *the* drift."""
        mean = self.model.prior.unflatten(self.weights.loc.detach())
        self.model.network.load_state_dict(mean, strict=False)

    def forward(self, batch: WindowBatch, observed: bool = True) -> Tensor:
        """Samples the sites ``weights`` and ``state`` from the posterior."""
        with poutine.scale(scale=batch.weights_scale):
            self.weights()
        return super().forward(batch, observed)
