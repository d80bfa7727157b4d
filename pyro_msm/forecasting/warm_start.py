"""The run whose weights another one starts from."""

from __future__ import annotations

from pyro_msm.config import TRAINED_FAMILIES, ModelConfig
from pyro_msm.errors import InputError
from pyro_msm.runs import RunDirectory

#: Keys of the model that growth may change.
FREE = frozenset({"bayesian", "micro", "prior_scale", "warm_start"})


def warm_start_of(model: ModelConfig) -> RunDirectory | None:
    """The run that ``model.warm_start`` names, if the model can be grown from its own.

    Raises:
        InputError: no trained run, or one whose model differs by more than a smaller microscale.
    """
    if model.warm_start is None:
        return None
    where = f"model.warm_start = {model.warm_start}"
    try:
        run = RunDirectory.open(model.warm_start)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    theirs = run.config.model
    if theirs.family not in TRAINED_FAMILIES:
        raise InputError(f"{where} is a run of {theirs.family}, which has no weights to start from")
    if theirs.frame != model.frame:
        raise InputError(
            f"{where} is in the {theirs.frame} frame, and what has been learned there says nothing "
            f"in the {model.frame} one: train this model from its own initial weights"
        )
    for key, value in theirs:
        if key not in FREE and getattr(model, key) != value:
            raise InputError(
                f"{where} has model.{key} = {value!r}, and this model {getattr(model, key)!r}: "
                "growth changes the size of the microscale only"
            )
    if theirs.micro > model.micro:
        raise InputError(
            f"{where} has {theirs.micro} microscale components, more than model.micro = "
            f"{model.micro}: a model cannot shrink"
        )
    return run
