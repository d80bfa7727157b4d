"""The configuration of a run: its sections, and how presets, files and flags are laid over it."""

from __future__ import annotations

import copy
import difflib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pyro_msm.errors import InputError
from pyro_msm.files import write_text
from pyro_msm.presets import hint, presets

#: What ``--model NAME`` sets. A new family of models adds its entry here.
MODELS: dict[str, dict[str, Any]] = {
    "multiscale": {"family": "multiscale"},
    "macro-only": {"family": "multiscale", "micro": 0, "frame": "fixed"},
    "persistence": {"family": "persistence"},
    "mean-trajectory": {"family": "mean-trajectory"},
    "regression": {"family": "regression"},
}

DEFAULT_PRESET = "paper"

#: Families that are trained step by step; the others are fitted at once.
TRAINED_FAMILIES = frozenset({"multiscale"})

Layer = dict[str, Any]
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
    physics: str | dict[str, float] | None = Field(
        None,
        description="known physics of the macroscale: 'system', a table of an equation's terms, or "
        "a function as 'package.module:name' (none: all is learned)",
    )
    time_input: bool = Field(False, description="give the drift the time (it may memorise it)")
    std_floor: float = Field(
        0.01, gt=0, description="smallest posterior standard deviation of the latent path"
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
    validation_members: int = Field(8, ge=1, description="ensemble members of a validation rollout")
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


class Config(Section):
    """The whole configuration, as it stands in ``RUN/config.toml``.

    Example:
        >>> config = resolve("kdv-1d", preset="demo", overrides=["model.micro=3"])
        >>> config.model.micro, config.seed
        (3, 0)
    """

    seed: int = Field(0, ge=0, description="root of all random streams")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where to compute")
    chains: int = Field(
        1, ge=1, description="independently trained models, from seeds seed, seed+1, …"
    )
    data: DataConfig = Field(default_factory=DataConfig, description="the data")
    model: ModelConfig = Field(default_factory=ModelConfig, description="the model")
    training: TrainingConfig = Field(default_factory=TrainingConfig, description="the training")
    rollout: RolloutConfig = Field(default_factory=RolloutConfig, description="the ensemble")

    def save(self, path: Path | str) -> None:
        """Writes the configuration as TOML; what is None is left out."""
        write_text(path, tomli_w.dumps(self.model_dump(exclude_none=True)))

    @classmethod
    def load(cls, path: Path | str) -> Config:
        """Reads what ``save`` wrote; ``InputError`` if it is not a configuration."""
        return _validated(read_toml(Path(path)), str(path))

    def flat(self) -> dict[str, Any]:
        """Every key, dotted, with its value: ``{"seed": 0, …, "rollout.step": None}``."""
        flat: dict[str, Any] = {}
        for name, value in self:
            if isinstance(value, Section):
                flat |= {f"{name}.{key}": each for key, each in value}
            else:
                flat[name] = value
        return flat


def resolve(
    source: str,
    *,
    preset: str | None = None,
    model: str | None = None,
    overrides: list[str] | None = None,
    file: Path | str | None = None,
    flags: dict[str, Any] | None = None,
    base: Config | None = None,
) -> Config:
    """The configuration of a run, laid over one another in the order of the arguments.

    Args:
        source: a system's name, which has presets of its own, or the path of a data file.
        preset: its name; by default "paper", or none where there is a ``base``.
        model: a name of ``MODELS``.
        overrides: texts "section.key=value", the value as in TOML (else taken as a text).
        file: a TOML file with the sections of ``Config``.
        flags: dotted keys of the command line's own options; those that are None do not count.
        base: the configuration to start from in place of the defaults: that of a resumed run.

    Raises:
        InputError: an unknown source, preset, model or key, or a value of the wrong type.
    """
    layers: list[tuple[str, Layer]] = []
    if preset is not None or base is None:
        name = preset or DEFAULT_PRESET
        layers.append((f"preset {name}", _known("preset", name, presets(source))))
    if file is not None:
        layers.append((str(file), read_toml(Path(file))))
    if model is not None:
        layers.append((f"--model {model}", {"model": _known("model", model, MODELS)}))
    layers += [(f"--set {text}", _parse_override(text)) for text in overrides or []]
    for key, value in (flags or {}).items():
        if value is not None:
            layers.append((f"--{key.rpartition('.')[2]} {value}", _nested(key, value)))
    layers.append((source, _nested("data.source", source)))

    config = base or Config()
    for label, layer in layers:
        config = _validated(_merge(config.model_dump(), layer), label)
    return config


def describe() -> list[tuple[str, Any, str]]:
    """Every key with its default and its meaning, in order."""
    meanings: dict[str, str | None] = {}
    for name, field in Config.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Section):
            fields = annotation.model_fields.items()
            meanings |= {f"{name}.{key}": each.description for key, each in fields}
        else:
            meanings[name] = field.description
    return [(key, value, meanings[key] or "") for key, value in Config().flat().items()]


def read_toml(path: Path) -> Layer:
    """The tables of a TOML file; ``InputError`` if it cannot be read."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise InputError(f"{path} is not a TOML file: {error}") from error


def _known(kind: str, name: str, table: dict[str, Layer]) -> Layer:
    if name not in table:
        raise InputError(f"unknown {kind} {name!r}{hint(name, table)}; known: {', '.join(table)}")
    return table[name]


def _parse_override(text: str) -> Layer:
    key, equals, value = (part.strip() for part in text.partition("="))
    if not (key and equals):
        raise InputError(f"--set {text}: expected section.key=value, as in training.steps=2000")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    return _nested(key, parsed)


def _nested(key: str, value: Any) -> Layer:
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


def _merge(below: Layer, above: Layer) -> Layer:
    merged = copy.copy(below)
    for key, value in above.items():
        tables = isinstance(value, dict) and isinstance(below.get(key), dict)
        merged[key] = _merge(below[key], value) if tables else value
    return merged


def _validated(tables: Layer, label: str) -> Config:
    try:
        return Config.model_validate(tables)
    except ValidationError as error:
        raise InputError(f"{label}: {_explain(error)}") from error


def _explain(error: ValidationError) -> str:
    """The first wrong key of pydantic's report, told in one line."""
    reports = [(tuple(map(str, report["loc"])), report) for report in error.errors()]
    known = list(Config().flat())
    # Within a section a place has two parts; what follows them are members of a list or a union.
    section = [key for key in known if key.startswith(f"{reports[0][0][0]}.")]
    place = reports[0][0][: 2 if section else 1]
    key = ".".join(place)
    if reports[0][1]["type"] == "extra_forbidden":
        words = {name: name for name in Config.model_fields}
        words |= {name.rpartition(".")[2]: name for name in known}
        near = difflib.get_close_matches(place[-1], words, n=1)
        if near:
            return f"unknown key {key!r}, did you mean {words[near[0]]!r}?"
        return f"unknown key {key!r}; known: {', '.join(section or Config.model_fields)}"
    same = [report["msg"] for loc, report in reports if loc[: len(place)] == place]
    wanted = dict.fromkeys(re.sub("Input should be |Value error, ", "", msg) for msg in same)
    return f"{key} must be {' or '.join(wanted)}; got {reports[0][1]['input']!r}"
