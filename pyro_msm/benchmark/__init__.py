"""The benchmark: our models, every baseline and the published numbers in one table.

Every system is simulated once (``data.seed``, 0 unless it is set), so that all rows of its table
forecast the same trajectories; seeds tell models apart that were trained anew. Each forecaster is
rolled out from the first snapshots of the splits ``test`` and ``extrapolation`` and scored by
``pyro_msm.analysis.evaluate``, so a number means what it means in ``scores.json``.
"""

from pyro_msm.benchmark.plan import Job, Plan, jobs, load_plan
from pyro_msm.benchmark.published import Published, published
from pyro_msm.benchmark.records import KEYS, Results
from pyro_msm.benchmark.runner import run

__all__ = ["KEYS", "Job", "Plan", "Published", "Results", "jobs", "load_plan", "published", "run"]
