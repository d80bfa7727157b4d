"""The configuration: order of its layers, and every message about a wrong one."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from pyro_msm.config import MODELS, Config, describe, resolve
from pyro_msm.errors import InputError
from pyro_msm.presets import presets, systems


def message(**arguments: object) -> str:
    source = str(arguments.pop("source", "kdv-1d"))
    with pytest.raises(InputError) as caught:
        resolve(source, **arguments)  # type: ignore[arg-type]
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_later_layers_win(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("seed = 1\n[model]\nmicro = 1\nhidden = 7\n[training]\nsteps = 11\n")
    only_file = resolve("kdv-1d", preset="demo", file=file)
    assert (only_file.model.micro, only_file.training.steps, only_file.model.macro) == (1, 11, 20)
    assert resolve("kdv-1d", file=file, model="macro-only").model.micro == 0
    overridden = resolve("kdv-1d", file=file, model="macro-only", overrides=["model.micro=2"])
    assert overridden.model.micro == 2
    flagged = resolve("kdv-1d", file=file, overrides=["seed=2"], flags={"seed": 3, "device": None})
    assert (flagged.seed, flagged.device, flagged.model.hidden) == (3, "auto", 7)


def test_base_is_kept_unless_a_preset_is_asked_for() -> None:
    saved = resolve("kdv-1d", preset="demo", overrides=["training.clip=3"])
    assert resolve("kdv-1d", base=saved) == saved
    paper = resolve("kdv-1d", base=saved, preset="paper").training
    assert paper.clip == 3
    assert paper.steps == presets("kdv-1d")["paper"]["training"]["steps"]


def test_values_are_toml_or_else_text() -> None:
    config = resolve(
        "kdv-1d",
        overrides=[
            "model.macro=[8, 4]",
            "training.learning_rate = 1e-3",
            "model.time_input=true",
            "data.options.variant=first-readme",
            "data.options.frames=11",
        ],
    )
    assert config.model.macro == [8, 4]
    assert config.training.learning_rate == 1e-3
    assert config.model.time_input is True
    assert config.data.options == {"variant": "first-readme", "frames": 11}


def test_a_file_has_the_default_presets() -> None:
    config = resolve("some/where.nc", preset="demo")
    assert config.model.macro is None
    assert config.data.source == "some/where.nc"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training.stpes=3", "unknown key 'training.stpes', did you mean 'training.steps'?"),
        ("steps=3", "unknown key 'steps', did you mean 'training.steps'?"),
        ("trainng.steps=3", "unknown key 'trainng', did you mean 'training'?"),
        ("rollout.qqqq=1", "known: rollout.members, rollout.times, rollout.step"),
        ("qqqq=1", "known: seed, device, chains, data, model, training, rollout"),
        ("training.steps=many", "training.steps must be a valid integer; got 'many'"),
        ("training.steps=2.5", "training.steps must be a valid integer; got 2.5"),
        ("training.steps=0", "training.steps must be greater than or equal to 1; got 0"),
        ("training.clip=inf", "training.clip must be a finite number; got inf"),
        ("training=3", "training must be a valid dictionary"),
        ("model.macro=x", "model.macro must be a valid integer or a valid list; got 'x'"),
        (
            "model.neighbourhood=4",
            "model.neighbourhood must be odd, so that it has a middle; got 4",
        ),
        ("model.family=x", "model.family must be one of led, mean-trajectory, multiscale"),
        ("device=tpu", "device must be 'auto', 'cpu' or 'cuda'; got 'tpu'"),
        ("training.steps", "expected section.key=value, as in training.steps=2000"),
    ],
)
def test_wrong_override_is_told(override: str, expected: str) -> None:
    text = message(overrides=[override])
    assert text.startswith(f"--set {override}: ")
    assert expected in text


def test_wrong_names_are_told() -> None:
    assert message(preset="papre") == (
        "unknown preset 'papre', did you mean 'paper'?; known: demo, paper"
    )
    assert message(model="macro") == (
        "unknown model 'macro', did you mean 'macro-only'?; known: " + ", ".join(MODELS)
    )
    assert message(source="kdv").startswith("unknown system 'kdv', did you mean 'kdv-1d'?; known:")
    assert message(flags={"rollout.members": 0}).startswith(
        "--members 0: rollout.members must be greater than or equal to 1"
    )


def test_wrong_files_are_told(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    assert f"cannot read {file}" in message(file=file)
    file.write_text("steps = ")
    assert f"{file} is not a TOML file" in message(file=file)
    file.write_bytes(b"\xff\xfe")
    assert f"{file} is not a TOML file" in message(file=file)
    file.write_text("[training]\nsteps = 'x'\n")
    assert message(file=file).startswith(f"{file}: training.steps must be")


def test_round_trip(tmp_path: Path) -> None:
    config = resolve("kdv-1d", overrides=["data.options.variant=paper", "training.clip=3"])
    config.save(tmp_path / "config.toml")
    assert Config.load(tmp_path / "config.toml") == config
    assert "warm_start" not in (tmp_path / "config.toml").read_text()  # None has no TOML


@pytest.mark.parametrize("source", systems())
@pytest.mark.parametrize("model", MODELS)
def test_round_trip_of_presets(tmp_path: Path, source: str, model: str) -> None:
    """What a preset says of a family's own sections is kept for that family alone."""
    for preset in presets(source):
        config = resolve(source, preset=preset, model=model)
        config.save(tmp_path / "config.toml")
        saved = Config.load(tmp_path / "config.toml")
        assert saved == config
        assert resolve(source, preset=preset, model=model, base=saved) == config


def test_sections_of_other_families_keep_their_defaults() -> None:
    ours = resolve("fitzhugh-nagumo", preset="demo", overrides=["led.hidden=7"])
    assert (ours.led.latent, ours.led.hidden, ours.hybrid.solver_time) == (3, 7, 200.0)
    other = resolve("fitzhugh-nagumo", preset="demo", model="multiscale")
    assert other.led == Config().led
    assert other.hybrid.solver_time == 200.0  # its latent dynamics take turns with a solver too
    flagged = resolve("fitzhugh-nagumo", base=other, flags={"hybrid.ratio": 5.0})
    assert flagged.hybrid.ratio == 5.0
    assert resolve("fitzhugh-nagumo", base=ours, model="persistence").hybrid == Config().hybrid


def test_every_key_is_described() -> None:
    for key, _, meaning in describe():
        assert meaning, key


@pytest.mark.parametrize("source", [*systems(), "mine.nc"])
def test_presets_are_valid(source: str) -> None:
    assert {"demo", "paper"} <= set(presets(source))
    for name in presets(source):
        resolve(source, preset=name)


def test_every_system_has_presets() -> None:
    from pyro_msm.data import systems as simulated

    assert systems() == simulated.names()


@pytest.mark.parametrize("name", MODELS)
def test_models_are_valid(name: str) -> None:
    assert resolve("kdv-1d", model=name).model.family == MODELS[name]["family"]


def test_saved_file_is_plain_toml(tmp_path: Path) -> None:
    resolve("burgers-1d").save(tmp_path / "config.toml")
    tables = tomllib.loads((tmp_path / "config.toml").read_text())
    assert set(tables) >= {"seed", "device", "data", "model", "training", "rollout"}
