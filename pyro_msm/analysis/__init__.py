"""Ensembles scored, drawn and reported."""

from pyro_msm.analysis import plots
from pyro_msm.analysis.animate import animate
from pyro_msm.analysis.arviz_bridge import loo, summary, to_inference_data
from pyro_msm.analysis.comparison import comparison_page
from pyro_msm.analysis.diagnostics import score_maps, variance_fields
from pyro_msm.analysis.ensemble_file import Ensemble
from pyro_msm.analysis.evaluate import evaluate, write_scores
from pyro_msm.analysis.predictive_checks import predictive_checks
from pyro_msm.analysis.recalibration import (
    conformal_band,
    conformal_factors,
    rescale_spread,
    spread_factors,
)
from pyro_msm.analysis.report import report
from pyro_msm.analysis.report_page import typical
from pyro_msm.analysis.report_pdf import report_pdf
from pyro_msm.analysis.score_rows import table
from pyro_msm.forecasting.ensemble import open_ensemble

__all__ = [
    "Ensemble",
    "animate",
    "comparison_page",
    "conformal_band",
    "conformal_factors",
    "evaluate",
    "loo",
    "open_ensemble",
    "plots",
    "predictive_checks",
    "report",
    "report_pdf",
    "rescale_spread",
    "score_maps",
    "spread_factors",
    "summary",
    "table",
    "to_inference_data",
    "typical",
    "variance_fields",
    "write_scores",
]
