"""Figures of an ensemble and its scores, one function each, as matplotlib figures.

Each returns a ``matplotlib.figure.Figure`` whose caption is ``figure.get_label()``; what cannot be
drawn raises ``InputError`` with the reason in one line.
"""

from pyro_msm.analysis.plots.attribution import drift_attribution, part_scores
from pyro_msm.analysis.plots.calibration import calibration
from pyro_msm.analysis.plots.comparison import comparison
from pyro_msm.analysis.plots.error_growth import error_growth
from pyro_msm.analysis.plots.fields import fields
from pyro_msm.analysis.plots.latents import latents
from pyro_msm.analysis.plots.maps import maps
from pyro_msm.analysis.plots.particles import particle_errors, particles
from pyro_msm.analysis.plots.paths import paths
from pyro_msm.analysis.plots.pieces import channel_name
from pyro_msm.analysis.plots.probability import probability
from pyro_msm.analysis.plots.recalibration import recalibration
from pyro_msm.analysis.plots.space_time import space_time
from pyro_msm.analysis.plots.spectra import scales, spectra
from pyro_msm.analysis.plots.training import training
from pyro_msm.analysis.plots.variance import variance_parts

__all__ = [
    "calibration",
    "channel_name",
    "comparison",
    "drift_attribution",
    "error_growth",
    "fields",
    "latents",
    "maps",
    "part_scores",
    "particle_errors",
    "particles",
    "paths",
    "probability",
    "recalibration",
    "scales",
    "space_time",
    "spectra",
    "training",
    "variance_parts",
]
