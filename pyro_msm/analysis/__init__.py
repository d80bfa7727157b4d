"""Ensembles scored, drawn and reported."""

from pyro_msm.analysis import plots
from pyro_msm.analysis.arviz_bridge import summary, to_inference_data
from pyro_msm.analysis.ensemble_file import Ensemble
from pyro_msm.analysis.evaluate import evaluate, write_scores
from pyro_msm.analysis.report import report
from pyro_msm.analysis.score_rows import table
from pyro_msm.forecasting.ensemble import open_ensemble

__all__ = [
    "Ensemble",
    "evaluate",
    "open_ensemble",
    "plots",
    "report",
    "summary",
    "table",
    "to_inference_data",
    "write_scores",
]
