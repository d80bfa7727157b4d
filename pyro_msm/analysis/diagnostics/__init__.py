"""What lies behind the scores: sources of uncertainty, calibration of probabilities, scales."""

from pyro_msm.analysis.diagnostics.exceedance import Exceedance
from pyro_msm.analysis.diagnostics.maps import score_maps
from pyro_msm.analysis.diagnostics.ranks import Uniformity
from pyro_msm.analysis.diagnostics.scales import scales
from pyro_msm.analysis.diagnostics.spectra import MemberSpectra
from pyro_msm.analysis.diagnostics.trust import band_holds
from pyro_msm.analysis.diagnostics.variance import VarianceSplit, variance_fields

__all__ = [
    "Exceedance",
    "MemberSpectra",
    "Uniformity",
    "VarianceSplit",
    "band_holds",
    "scales",
    "score_maps",
    "variance_fields",
]
