"""The sections of the configuration that every family of models shares."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

#: What ``--model NAME`` sets. A new family of models adds its entry here.
MODELS: dict[str, dict[str, Any]] = {
    "multiscale": {"family": "multiscale"},
    "macro-only": {"family": "multiscale", "micro": 0, "frame": "fixed"},
    "led": {"family": "led"},
    "slow-fast": {"family": "slow-fast"},
    "persistence": {"family": "persistence"},
    "mean-trajectory": {"family": "mean-trajectory"},
    "regression": {"family": "regression"},
}

#: Families that are trained step by step; the others are fitted at once.
TRAINED_FAMILIES = frozenset({"multiscale", "led", "slow-fast"})

Size = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A table of the configuration: unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class DataConfig(Section):
    """Where the data come from, and how much is simulated."""

    source: str = Field("", description="a system's name or the absolute path of a data file")
    fingerprint: str | None = Field(None, description="size and time of change of the data file")
    train: int = Field(10, ge=1, description="simulated training trajectories")
    validation: int = Field(5, ge=0, description="simulated validation trajectories")
    test: int = Field(5, ge=0, description="simulated test trajectories")
    extrapolation: int = Field(
        0, ge=0, description="simulated trajectories from outside the training range"
    )
    seed: int | None = Field(
        None, ge=0, description="root of the simulation's random streams (none: the run's seed)"
    )
    noise_std: float | None = Field(
        None, ge=0, description="standard deviation of the observation noise (none: as published)"
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="further options of the system"
    )


class ModelConfig(Section):
    """The model and the sizes of its parts."""

    family: str = Field("multiscale", description="kind of model")
    macro: Size | list[Size] | None = Field(
        None, description="coarse points per axis (none: chosen from the data)"
    )
    micro: int = Field(5, ge=0, description="size of the microscale state; 0 is macro-only")
    warm_start: str | None = Field(
        None, description="folder of a run whose best weights this one starts from, grown to micro"
    )
    snapshots: int = Field(1, ge=1, description="consecutive snapshots that the encoder sees")
    hidden: int = Field(128, ge=1, description="width of the microscale encoder and decoder")
    drift_hidden: int = Field(64, ge=1, description="width of the drift networks")
    drift_layers: int = Field(2, ge=1, description="hidden layers of the drift networks")
    neighbourhood: int = Field(
        5, ge=1, description="coarse points (odd) that the macroscale drift sees on each axis"
    )
    basis: int = Field(32, ge=1, description="largest rank of the microscale basis")
    frame: Literal["fixed", "comoving"] = Field(
        "fixed", description="frame of the microscale parts: at rest, or moving with the field"
    )
    detail: int = Field(
        0, ge=0, description="width of the perceptron that tells detail from ζ (0: none)"
    )
    physics: str | dict[str, float] | None = Field(
        None,
        description="known physics of the macroscale: 'system', a table of an equation's terms, or "
        "a function as 'package.module:name' (none: all is learned)",
    )
    closure: float = Field(
        0.5, gt=0, le=1, description="share of ζ's waves, the longest, that a closure of known "
        "physics sees and changes"
    )  # fmt: skip
    dispersion: Literal["constant", "state"] = Field(
        "constant", description="whether the dispersion of each scale depends on the other scale"
    )
    order: Literal[1, 2] = Field(
        1, description="order in time of the macroscale: 2 keeps the rates of ζ too (snapshots ≥ 2)"
    )
    time_input: bool = Field(False, description="give the drift the time (it may memorise it)")
    std_floor: float = Field(
        0.01, gt=0, description="smallest posterior standard deviation of the latent path"
    )
    bayesian: Literal["none", "normal", "lowrank"] = Field(
        "none",
        description="posterior over the weights of drift and dispersion: none (one value each), "
        "normal (independent) or lowrank (joined by a covariance of rank 10)",
    )
    prior_scale: float = Field(
        1.0, gt=0, description="their prior's standard deviation, for matrices over √inputs"
    )

    @field_validator("family")
    @classmethod
    def _known_family(cls, value: str) -> str:
        families = sorted({model["family"] for model in MODELS.values()})
        if value not in families:
            raise ValueError(f"one of {', '.join(families)}")
        return value

    @field_validator("physics", mode="before")
    @classmethod
    def _none(cls, value: Any) -> Any:
        return None if value == "none" else value

    @field_validator("warm_start")
    @classmethod
    def _found_from_anywhere(cls, value: str | None) -> str | None:
        return None if value is None else str(Path(value).resolve())

    @field_validator("neighbourhood")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("odd, so that it has a middle")
        return value


class TrainingConfig(Section):
    """The optimisation: schedules follow steps, the budget is a hard stop only."""

    steps: int = Field(30_000, ge=1, description="optimisation steps")
    budget_seconds: float | None = Field(None, gt=0, description="stop after this long")
    learning_rate: float = Field(2e-3, gt=0, description="initial step size of Adam")
    decay: float = Field(0.9, gt=0, le=1, description="factor on the step size per decay_steps")
    decay_steps: int = Field(1000, ge=1, description="steps over which the step size decays once")
    scale_rate: float = Field(
        5.0, gt=0, description="factor on the step size of variances, dispersion and length scale"
    )
    windows: int = Field(16, ge=1, description="windows in a batch")
    window_length: int = Field(8, ge=2, description="snapshots in a window")
    stride: int = Field(16, ge=1, description="frames between two snapshots of a window")
    points: Size | None = Field(
        None, description="random grid points at which a step's likelihood is taken (none: all)"
    )
    quadrature: int = Field(4, ge=1, description="random times at which the path term is taken")
    path_weight: float = Field(
        16.0, ge=0, description="tempering of the path term: 1 is the evidence lower bound"
    )
    ramp_steps: int = Field(1000, ge=0, description="steps over which the path term grows in")
    clip: float = Field(10.0, gt=0, description="largest norm of the gradient")
    ema: float = Field(0.999, ge=0, lt=1, description="decay of the average over weights")
    weight_decay: float = Field(0.0, ge=0, description="pull of the weights towards zero")
    validate_every: int = Field(1000, ge=1, description="steps between two validation rollouts")
    patience: int | None = Field(
        None, ge=1, description="stop after so many validations without a better one (none: never)"
    )
    validation_members: int = Field(
        8, ge=1, description="members of a validation rollout where weights or steps are random"
    )
    calibrate: bool = Field(
        True, description="fit the ensemble's spread on the validation split after training"
    )
    checkpoint_every: int = Field(1000, ge=1, description="steps between two checkpoints")
    log_every: int = Field(50, ge=1, description="steps between two lines of metrics.jsonl")


class RolloutConfig(Section):
    """The ensemble that is drawn after training."""

    members: int = Field(79, ge=1, description="ensemble members per chain")
    times: int = Field(101, ge=2, description="times at which the field is stored, at most")
    step: float | None = Field(
        None, gt=0, description="model time per integration step (none: as the data)"
    )
