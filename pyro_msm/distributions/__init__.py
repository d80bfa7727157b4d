"""Distributions of the stochastic multiscale model, as Pyro sees them."""

from pyro_msm.distributions.bounded_mixture import BoundedMixture
from pyro_msm.distributions.gaussian_path import GaussianPath, Interpolation, Marginals
from pyro_msm.distributions.path_kl import drift_residual, stratified_times
from pyro_msm.distributions.product_of_experts import ProductOfExperts
from pyro_msm.distributions.sde_path import SDEPath

__all__ = [
    "BoundedMixture",
    "GaussianPath",
    "Interpolation",
    "Marginals",
    "ProductOfExperts",
    "SDEPath",
    "drift_residual",
    "stratified_times",
]
