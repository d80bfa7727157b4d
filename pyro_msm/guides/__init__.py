"""The variational families."""

from pyro_msm.guides.amortized_path import AmortizedPathGuide
from pyro_msm.guides.bayesian import BayesianPathGuide
from pyro_msm.guides.grow import grow

__all__ = ["AmortizedPathGuide", "BayesianPathGuide", "grow"]
