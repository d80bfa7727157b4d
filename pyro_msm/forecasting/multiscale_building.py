"""From data to a multiscale model and its guide: what can be trained, and what it starts from."""

from __future__ import annotations

import xarray as xr

from pyro_msm import data as datasets
from pyro_msm.config import ModelConfig, TrainingConfig
from pyro_msm.data.windows import check_length
from pyro_msm.errors import InputError
from pyro_msm.forecasting.bayesian import random_weights, with_random_weights
from pyro_msm.forecasting.known_physics import chosen_physics
from pyro_msm.forecasting.sizes import chosen_macro
from pyro_msm.guides import AmortizedPathGuide, grow
from pyro_msm.guides.grow import check_fields
from pyro_msm.models import MultiscaleSDE
from pyro_msm.models.initialise import check_frame, check_macro, check_order


def check_trainable(
    data: xr.Dataset,
    settings: ModelConfig,
    training: TrainingConfig,
    smaller: AmortizedPathGuide | None = None,
) -> None:
    """Checks that a model can be built and trained on ``data``.

    Args:
        data: with a ``train`` split.
        settings, training: the sections ``model`` and ``training`` of the configuration.
        smaller: guide of the trained model to start from.

    Raises:
        InputError: no field, a coarse size that does not divide the grid, a smaller model that
            cannot grow, physics that do not suit the field, too few snapshots, or gaps in those
            that are to tell rates.
    """
    train = datasets.select(data, "train")
    if "field" not in train:
        raise InputError(
            "the multiscale model learns from a variable `field` (trajectory, time, channel, "
            f"x[, y]); the data hold `{datasets.variable(data)}`: choose another --model"
        )
    grid, boundary = train["field"].shape[3:], data.attrs["boundary"]
    if settings.macro is not None:
        check_macro(settings.macro, grid, boundary)
    if settings.frame == "comoving":
        check_frame(grid, boundary, settings.micro)
    check_order(settings.order, settings.snapshots, settings.frame, settings.physics is not None)
    if settings.order == 2 and "mask" in train:
        raise InputError(
            "model.order = 2 tells rates from whole snapshots, and these have a mask: fill the "
            "gaps, or use model.order = 1"
        )
    if smaller is not None:
        if random_weights(smaller) is not None:
            raise InputError(
                f"{settings.warm_start} has random weights, and only single values can grow: start "
                "from a run with model.bayesian = 'none'"
            )
        check_fields(smaller.model, data)
    chosen_physics(settings.physics, data)
    check_length(train, training.window_length, settings.snapshots)


def new_pair(
    data: xr.Dataset,
    settings: ModelConfig,
    quadrature: int,
    smaller: AmortizedPathGuide | None = None,
) -> tuple[MultiscaleSDE, AmortizedPathGuide]:
    """Model and guide with which a training for ``data`` starts.

    Args:
        data: a validated dataset with a ``field`` and a ``train`` split.
        settings: the ``model`` section of the configuration.
        quadrature: ``training.quadrature``.
        smaller: guide of a trained model from which this one is grown; None starts anew.
    """
    if smaller is None:
        model = _new_model(data, settings, quadrature)
        guide = AmortizedPathGuide(model)
    else:
        model, guide = grow(smaller, data, settings.micro)
        model.quadrature = model.settings["quadrature"] = quadrature
    if settings.bayesian != "none":
        return with_random_weights(model, guide, settings.bayesian, settings.prior_scale)
    return model, guide


def _new_model(data: xr.Dataset, settings: ModelConfig, quadrature: int) -> MultiscaleSDE:
    s = settings
    return MultiscaleSDE.for_data(
        data, s.macro if s.macro is not None else chosen_macro(data), s.micro,
        rank=s.basis, hidden=s.hidden, drift_hidden=s.drift_hidden,
        drift_layers=s.drift_layers, neighbourhood=s.neighbourhood,
        time_input=s.time_input, frame=s.frame, detail=s.detail, snapshots=s.snapshots,
        physics=chosen_physics(s.physics, data), closure=s.closure,
        dispersion=s.dispersion, order=s.order,
        std_floor=s.std_floor, quadrature=quadrature,
    )  # fmt: skip
