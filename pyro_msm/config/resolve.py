"""The configuration of a run: its sections, and how presets, files and flags are laid over it."""

from __future__ import annotations

import copy
import difflib
import re
import tomllib
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import Field, ValidationError

from pyro_msm.config.led import HybridConfig, LEDConfig
from pyro_msm.config.sections import (
    MODELS,
    DataConfig,
    ModelConfig,
    RolloutConfig,
    Section,
    TrainingConfig,
)
from pyro_msm.config.slow_fast import SlowFastConfig
from pyro_msm.errors import InputError
from pyro_msm.files import write_text
from pyro_msm.presets import hint, presets

DEFAULT_PRESET = "paper"

#: Sections that only some families of models read: what others set in them is forgotten.
OWN_SECTIONS = {"led": {"led"}, "hybrid": {"led", "multiscale"}, "slow_fast": {"slow-fast"}}

Layer = dict[str, Any]


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
    led: LEDConfig = Field(default_factory=LEDConfig, description="family led")
    hybrid: HybridConfig = Field(default_factory=HybridConfig, description="hybrid forecasts")
    slow_fast: SlowFastConfig = Field(default_factory=SlowFastConfig, description="slow-fast")

    def save(self, path: Path | str) -> None:
        """Writes the configuration as TOML; what is None, or another family's, is left out."""
        other = set(self.foreign())
        write_text(path, tomli_w.dumps(self.model_dump(exclude_none=True, exclude=other)))

    @classmethod
    def load(cls, path: Path | str) -> Config:
        """Reads what ``save`` wrote; ``InputError`` if it is not a configuration."""
        return _validated(read_toml(Path(path)), str(path))

    def foreign(self) -> list[str]:
        """Names of the sections that the model's family does not read."""
        return [name for name, own in OWN_SECTIONS.items() if self.model.family not in own]

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

    Sections that the model's family does not read keep their defaults, whatever a layer sets in
    them: so a configuration is the same when it has been saved and loaded.

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
    defaults = Config()
    return config.model_copy(update={name: getattr(defaults, name) for name in config.foreign()})


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
