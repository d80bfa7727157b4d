"""Scores of ensembles of fields, on NumPy arrays only.

``Block`` holds members and truth of some trajectories and times; a ``Metric`` turns it into sums
per sample; ``ScoreTable`` collects those block by block and reads scores out of it over all
samples, by time, by trajectory or by bootstrap resample.
"""

from pyro_msm.scores.block import Block, Statistic
from pyro_msm.scores.bootstrap import percentile_interval, trajectory_counts
from pyro_msm.scores.brier import Brier
from pyro_msm.scores.coverage import Coverage, order_statistic_level
from pyro_msm.scores.crps import FairCRPS, fair_crps
from pyro_msm.scores.distribution_distance import (
    histogram_distance,
    histogram_self_distance,
    rice_bins,
    self_similar_error,
    wasserstein,
)
from pyro_msm.scores.effective_dynamics import effective_field_scores, effective_particle_scores
from pyro_msm.scores.energy import FairEnergyScore, fair_energy_score
from pyro_msm.scores.ensemble_mean import (
    DebiasedMeanSquaredError,
    RootMeanSquareError,
    Spread,
    SpreadSkill,
)
from pyro_msm.scores.joint_density import (
    derivative_density,
    derivative_density_distance,
    spectral_derivatives,
)
from pyro_msm.scores.metric import Metric, Sums, add_up
from pyro_msm.scores.normalised_difference import normalised_absolute_difference
from pyro_msm.scores.particle_moments import moment_distances, particle_moments
from pyro_msm.scores.particles import MomentErrors, ParticleWasserstein
from pyro_msm.scores.rank import RankHistogram, pit, rank_bins, ranks
from pyro_msm.scores.relative_error import (
    RelativeError,
    RelativeErrorStd,
    ZeroTruth,
    relative_error,
)
from pyro_msm.scores.reliability import Reliability
from pyro_msm.scores.spectrum import Spectra, Spectrum
from pyro_msm.scores.table import ScoreTable
from pyro_msm.scores.uniformity import (
    PitCurve,
    PitMoments,
    effective_samples,
    simultaneous_band,
)
from pyro_msm.scores.valid_time import valid_prediction_time
from pyro_msm.scores.variance import TotalVariance, VarianceParts, variance_parts

__all__ = [
    "Block",
    "Brier",
    "Coverage",
    "DebiasedMeanSquaredError",
    "FairCRPS",
    "FairEnergyScore",
    "Metric",
    "MomentErrors",
    "ParticleWasserstein",
    "PitCurve",
    "PitMoments",
    "RankHistogram",
    "RelativeError",
    "RelativeErrorStd",
    "Reliability",
    "RootMeanSquareError",
    "ScoreTable",
    "Spectra",
    "Spectrum",
    "Spread",
    "SpreadSkill",
    "Statistic",
    "Sums",
    "TotalVariance",
    "VarianceParts",
    "ZeroTruth",
    "add_up",
    "derivative_density",
    "derivative_density_distance",
    "effective_field_scores",
    "effective_particle_scores",
    "effective_samples",
    "fair_crps",
    "fair_energy_score",
    "histogram_distance",
    "histogram_self_distance",
    "moment_distances",
    "normalised_absolute_difference",
    "order_statistic_level",
    "particle_moments",
    "percentile_interval",
    "pit",
    "rank_bins",
    "ranks",
    "relative_error",
    "rice_bins",
    "self_similar_error",
    "simultaneous_band",
    "spectral_derivatives",
    "trajectory_counts",
    "valid_prediction_time",
    "variance_parts",
    "wasserstein",
]
