"""The steps of a rollout: from the pace of what is integrated, and from what validation shows."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from pyro_msm.forecasting.calibration import without_noise
from pyro_msm.forecasting.known_physics import known_rate
from pyro_msm.forecasting.validation import FreeRun
from pyro_msm.models import MultiscaleSDE

if TYPE_CHECKING:
    from pyro_msm.forecasting.multiscale import MultiscaleForecaster

logger = logging.getLogger("pyro_msm")

#: Ways from node to node of ordinary accuracy, in units of the state's fastest time scale.
USUAL = 0.05
#: The coarsest and the finest that ``resolve`` tries.
COARSEST, FINEST = 0.1, 0.00625
#: Steps of known physics, in units of its own fastest time scale, over those of the state.
KNOWN = 4.0
#: Share of the forecast's error that a step may add.
SHARE = 0.05


def resolving(
    model: MultiscaleSDE,
    data: xr.Dataset,
    step: float = 0.0,
    *,
    learned: float = USUAL,
    known: float = USUAL,
) -> tuple[float, int]:
    """A step that resolves data and dynamics, and how many of them the learned drift may be apart.

    Known physics is evaluated at every step, what is learned only at nodes: see ``Integrator``,
    whose scheme is stable up to .55 (decay) or .72 (waves) of the fastest time scale.

    Args:
        model: with the measured rates of its state.
        data: with the times of the snapshots.
        step: one that is given; 0 takes the data's, or a fraction of it where the state is faster.
        learned: longest way from node to node, in units of the state's fastest time scale.
        known: a ``KNOWN``-th of the longest step, in units of the known physics' fastest one.
    """
    network, times = model.network, data["time"].values
    fastest = float((network.state_rate / network.state_scale).max()) / learned
    if not step:
        step = float(times[-1] - times[0]) / (len(times) - 1)
        step /= math.ceil(step * max(fastest, known_rate(model) / (KNOWN * known)))
    return step, max(1, int(1 / (step * fastest)))


def resolve(forecaster: MultiscaleForecaster, validation: xr.Dataset) -> None:
    """Gives a forecaster the longest steps that leave its forecasts of validation data as they are.

    Steps of known physics, and then ways between the nodes of what is learned, are halved until
    that changes the noise-free forecast by less than ``SHARE`` of its error: how far either is from
    its linear time scales, no formula tells.

    Args:
        forecaster: trained; a step that its user has set stays, only nodes move.
        validation: trajectories that training has not seen.
    """
    run = FreeRun(validation, forecaster.warmup)
    model, given = forecaster.model, forecaster.given_step

    def choose(paces: dict[str, float]) -> None:
        steps = resolving(model, validation, given, **paces)
        forecaster.rollout_step, forecaster.rollout_every = steps

    def forecast(paces: dict[str, float]) -> np.ndarray:
        choose(paces)
        return run.mean(forecaster, 1)

    paces = {"known": COARSEST, "learned": COARSEST}
    names = ["learned"] if model.network.known_drift is None else ["known", "learned"]
    with without_noise(forecaster):
        coarse = forecast(paces)
        for name in names:
            while paces[name] > FINEST:
                finer = paces | {name: paces[name] / 2}
                fine = forecast(finer)
                if run.relative(fine - coarse) <= SHARE * run.relative(fine - run.truth):
                    break
                paces, coarse = finer, fine
        if not np.isfinite(run.relative(coarse)):  # no step helps: none shall be dear
            paces = {"known": COARSEST, "learned": COARSEST}
        choose(paces)
    logger.info("steps of a rollout: %.3g, learned drift every %d",
                forecaster.rollout_step, forecaster.rollout_every)  # fmt: skip
