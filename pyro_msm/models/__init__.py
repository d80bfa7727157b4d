"""The generative models, as Pyro programs."""

from pyro_msm.models.bayesian import BayesianMultiscaleSDE
from pyro_msm.models.multiscale import MultiscaleSDE

__all__ = ["BayesianMultiscaleSDE", "MultiscaleSDE"]
