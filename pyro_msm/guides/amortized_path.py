"""The amortized variational family over latent paths."""

from __future__ import annotations

import itertools

import pyro
from pyro import poutine
from pyro.nn import PyroModule
from torch import Tensor

from pyro_msm.data.windows import WindowBatch
from pyro_msm.distributions import GaussianPath
from pyro_msm.models.multiscale import MultiscaleSDE, announced
from pyro_msm.nn.multiscale import PathEncoder

#: Two guides of one model keep their parameters apart in Pyro's global store.
_instances = itertools.count()


class AmortizedPathGuide(PyroModule):
    """Probabilistic encoder whose outputs are the nodes of a ``GaussianPath``.

    q(z(t)) over a window depends on the window's snapshots alone, through one encoder for all
    windows (``PathEncoder``) and kernel interpolation between its outputs, whose length scale and
    nugget are learned too. The encoder's restriction is the generative model's own.

    Args:
        model: the model whose posterior this is.
    """

    encoder: PathEncoder

    def __init__(self, model: MultiscaleSDE) -> None:
        with pyro.settings.context(module_local_params=True):
            super().__init__(name=f"{model._pyro_name}_guide{next(_instances)}")
        # Held outside the module tree: the model's parameters are the model's to register.
        object.__setattr__(self, "_model", model)
        self.encoder = PathEncoder(
            model.network, model.encoder_basis, model.encoder_offset,
            snapshots=model.settings["snapshots"], hidden=model.settings["hidden"],
            std_floor=model.settings["std_floor"],
        )  # fmt: skip

    @property
    def model(self) -> MultiscaleSDE:
        """The model whose posterior this is."""
        model: MultiscaleSDE = self._model
        return model

    def encode(self, field: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior at single times from the snapshots up to each.

        Args:
            field: (…, snapshots, channel, *grid).

        Returns:
            Mean and log variance of the state, (…, state).
        """
        mean, log_var = self.encoder(field, self.model.network)
        return mean, log_var

    def posterior(self, batch: WindowBatch) -> GaussianPath:
        """q(z(t)) over a batch of windows."""
        encoder: PathEncoder = announced(self, "encoder")
        mean, log_var = encoder(batch.field, self.model.network)
        spacing = batch.times[1] - batch.times[0]
        return GaussianPath(
            batch.times, mean, log_var, spacing * encoder.log_length.exp(),
            encoder.log_nugget.exp(), validate_args=False,
        )  # fmt: skip

    def forward(self, batch: WindowBatch, observed: bool = True) -> Tensor:
        """Samples the site ``state`` from the posterior."""
        with pyro.plate("windows", len(batch)), poutine.scale(scale=batch.path_scale):
            result: Tensor = pyro.sample("state", self.posterior(batch))
        return result
