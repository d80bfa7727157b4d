"""`pyro-msm benchmark`: records, resuming, folders of others, baselines that fail, the table."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyro_msm import benchmark, presets
from pyro_msm.benchmark import KEYS, Job, Results, figure, jobs, load_plan, published, runner, table
from pyro_msm.benchmark.plan import EFFECTIVE_EQUATIONS, OURS
from pyro_msm.benchmark.records import OPTIONAL
from pyro_msm.benchmark.scoring import affordable, drift_evaluations, scored
from pyro_msm.errors import InputError
from pyro_msm.forecasting.baselines import ALL_BASELINES, Persistence
from tests import small_fields

Cli = Callable[..., Any]
TINY = [
    "data.options.points=40", "data.options.frames=31", "data.train=3", "data.validation=2",
    "data.test=2", "data.extrapolation=2", "model.macro=10", "model.hidden=8",
    "model.drift_hidden=8", "model.basis=4", "training.steps=4", "training.window_length=4",
    "training.stride=2", "training.windows=2", "training.validate_every=4",
    "training.checkpoint_every=2", "training.calibrate=false", "rollout.members=3",
    "rollout.times=11",
]  # fmt: skip
MODELS = ["macro-only", "persistence", "coarse-dns"]


def tiny(out: Path, models: list[str] = MODELS, **options: Any) -> Results:
    return benchmark.run(["kdv-1d"], models=models, out=out, overrides=TINY, **options)


def record(**values: Any) -> dict[str, Any]:
    """A record of kdv-1d without scores, but for these."""
    usual = {"system": "kdv-1d", "preset": "paper", "model": "dmd", "split": "test"}
    return dict.fromkeys(KEYS) | usual | values


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmark") / "results"
    tiny(folder)
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A results folder of one's own."""
    shutil.copytree(finished, tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Notes what would be computed in place of computing it."""
    asked: list[Job] = []

    def compute(job: Job, *_: Any) -> list[dict[str, Any]]:
        asked.append(job)
        key = {"system": job.system, "model": job.model, "micro": job.micro, "seed": job.seed}
        return [record(relative_error=0.5, **key)]

    monkeypatch.setattr(runner, "_records", compute)
    monkeypatch.setattr(runner, "_simulated", lambda *_: "data")
    return asked


def read(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "benchmark.json").read_text())


# --- records -------------------------------------------------------------------------------------


def test_records_have_the_agreed_keys(finished: Path) -> None:
    records = read(finished)
    assert [(r["model"], r["split"]) for r in records] == [
        (model, split)
        for model in ("noise-floor", "persistence", "coarse-dns", "macro-only")
        for split in ("test", "extrapolation")
    ]
    for found in records:
        assert set(KEYS) <= set(found) <= {*KEYS, *OPTIONAL}
        assert (found["system"], found["preset"]) == ("kdv-1d", "demo")
        assert 0 < found["relative_error"] < 2
        assert found["relative_error_std"] > 0
        assert found["crps"] > 0
    ours = records[-2]
    assert (ours["micro"], ours["seed"], ours["published"]) == (0, 0, 0.324)
    assert ours["train_seconds"] > 0
    assert ours["rollout_seconds"] > 0
    assert ours["drift_evaluations"] > 0
    assert ours["spread_skill"] > 0
    low, high = ours["intervals"]["relative_error"]
    assert low <= ours["relative_error"] <= high
    assert records[-1]["published"] is None
    dns = records[4]
    assert (dns["micro"], dns["seed"], dns["drift_evaluations"]) == (None, None, None)
    assert dns["published"] == 0.523


def test_numbers_mean_what_they_mean_in_scores_json(finished: Path) -> None:
    from pyro_msm import analysis, data
    from pyro_msm.forecasting import Forecaster, rollout
    from pyro_msm.forecasting.baselines import MeanTrajectory

    config = load_plan("demo").configuration(Job("kdv-1d", "persistence"), TINY)
    dataset = runner._simulated(config, False)
    tree = rollout(MeanTrajectory().fit(dataset), dataset, 1, times=11)
    times = tree["observed_data"]["time"].values
    joined = tree["observed_data"]["trajectory"].values
    start = dataset.sel(trajectory=joined).isel(time=[0])
    persistence: Forecaster = Persistence().fit(dataset)
    forecast = {"persistence": persistence.forecast(start, times)}
    scores = analysis.evaluate(tree, baselines=forecast)
    ours = {r["split"]: r for r in read(finished) if r["model"] == "persistence"}
    floors = {r["split"]: r for r in read(finished) if r["model"] == "noise-floor"}
    for split, found in (("test", scores), ("extrapolation", scores["splits"]["extrapolation"])):
        expected = found["baselines"]["persistence"]
        assert ours[split]["relative_error"] == pytest.approx(expected["relative_error"]["mean"])
        assert ours[split]["relative_error_std"] == pytest.approx(expected["relative_error"]["std"])
        assert ours[split]["crps"] == pytest.approx(expected["crps"])
        floor = found["noise_floor"]["relative_error"]["mean"]
        assert floors[split]["relative_error"] == pytest.approx(floor)
    assert data.select(dataset, "extrapolation").sizes["trajectory"] == 2


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("count", [3, 8, 41])
def test_drift_evaluations_are_those_that_are_made(
    monkeypatch: pytest.MonkeyPatch, every: int, count: int
) -> None:
    waves = small_fields.travelling_waves()
    forecaster = small_fields.forecaster(waves)
    forecaster.rollout_step, forecaster.rollout_every = 0.025, every
    made, drift = [], forecaster._drift
    monkeypatch.setattr(forecaster, "_drift", lambda *at: made.append(0) or drift(*at))
    times = waves["time"].values[:count]
    forecaster.forecast(waves.isel(time=[0]), times, 2)
    assert drift_evaluations(forecaster, times) == len(made)
    assert drift_evaluations(ALL_BASELINES["persistence"](), times) is None


class Diverging(Persistence):
    """Stays where it was, and is lost from t = 0.5 on."""

    def forecast_blocks(self, initial: Any, times: Any, *how: Any) -> Iterator[Any]:
        for block in super().forecast_blocks(initial, times, *how):
            lost = block["field"].where(block["time"] < 0.5)
            at = block["field"].isel(time=0, channel=0, x=0, drop=True) * 0 + 0.5
            yield block.assign(field=lost, diverged_at=at)


def test_divergence_has_its_time_and_no_error() -> None:
    waves = small_fields.travelling_waves()
    found = scored(Diverging().fit(waves), waves, "test", 79, 11, 0, 2**30)
    assert (found["relative_error"], found["diverged_at"]) == (None, 0.5)
    assert "diverged at t=0.5" in table.markdown([record(**found)])


def test_members_are_fewer_where_fields_are_large() -> None:
    waves = small_fields.travelling_waves()
    assert affordable(waves, 79, 101, 2**30) == 79
    assert affordable(waves.isel(time=slice(0, 3)), 10**9, 101, 2**30) == 2**30 // (4 * 4 * 3 * 40)
    assert affordable(waves, 10**9, 3, 2**20) == 2**20 // (4 * 4 * 3 * 40)


# --- resuming ------------------------------------------------------------------------------------


def test_what_is_there_is_not_computed_again(folder: Path, idle: list[Job]) -> None:
    before = (folder / "benchmark.json").read_bytes()
    tiny(folder)
    assert not idle
    assert (folder / "benchmark.json").read_bytes() == before
    tiny(folder, ["macro-only", "analog"], seeds=[0, 1])
    assert idle == [Job("kdv-1d", "analog"), Job("kdv-1d", "macro-only", 0, 1)]


def test_force_computes_what_is_asked_for(folder: Path, idle: list[Job]) -> None:
    before = read(folder)
    tiny(folder, ["coarse-dns"], force=True)
    assert idle == [Job("kdv-1d", "noise-floor"), Job("kdv-1d", "coarse-dns")]
    kept = [r for r in before if r["model"] not in ("noise-floor", "coarse-dns")]
    assert read(folder)[: len(kept)] == kept
    assert read(folder)[-1]["relative_error"] == 0.5


def test_ctrl_c_keeps_what_is_done(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = ALL_BASELINES["coarse-dns"].fit

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "results"
    settings = [part for text in TINY for part in ("--set", text)]
    command = ("benchmark", "kdv-1d", "--models", "persistence", "coarse-dns", "--out", out)
    monkeypatch.setattr(ALL_BASELINES["coarse-dns"], "fit", interrupt)
    result = cli(*command, *settings)
    assert result.exit_code == 130
    assert "The same command goes on" in result.stderr
    assert {r["model"] for r in read(out)} == {"noise-floor", "persistence"}
    assert "persistence" in (out / "benchmark.md").read_text()

    # A process that was killed while it wrote leaves half a file beside the whole one.
    (out / ".benchmark.partial.json").write_text('[{"system": "kd')
    monkeypatch.setattr(ALL_BASELINES["coarse-dns"], "fit", fit)
    result = cli(*command, *settings)
    assert result.exit_code == 0, result.output
    assert "1 of 3 rows to compute" in result.stderr
    assert len(read(out)) == 6
    assert not (out / ".benchmark.partial.json").exists()


def test_side_by_side_the_rows_are_the_same(cli: Cli, tmp_path: Path) -> None:
    """Systems in processes of their own; what they say is heard."""
    systems, out = ("kdv-1d", "burgers-1d"), tmp_path / "results"
    settings = [part for text in TINY for part in ("--set", text)]
    command = ("benchmark", *systems, "--models", "persistence", "regression", *settings)
    result = cli(*command, "--out", out, "--processes", "2")
    assert result.exit_code == 0, result.output
    assert "burgers-1d, 3 of 3: regression" in result.stderr
    cli(*command, "--out", tmp_path / "alone", "--processes", "1")
    one, other = (
        {_key(r): r["relative_error"] for r in read(f)} for f in (out, tmp_path / "alone")
    )
    assert one == other
    assert len(one) == 12


def test_what_fails_in_a_process_of_its_own_is_told(tmp_path: Path) -> None:
    from pyro_msm.benchmark.workers import computed

    with pytest.raises(ZeroDivisionError):
        list(computed([[Job("kdv-1d", "a")], [Job("wave-1d", "b")]], _failing, 2))


def _failing(jobs: Any) -> Any:
    yield jobs[0], [{"one": 1}]
    raise ZeroDivisionError


def _key(record: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(record[name] for name in ("system", "model", "micro", "seed", "split"))


def test_interrupted_training_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyro_msm.forecasting import MultiscaleForecaster

    fit, resumed = MultiscaleForecaster.fit, []

    def noting(self: Any, data: Any, **how: Any) -> Any:
        resumed.append(how["resume"])
        return fit(self, data, **how)

    monkeypatch.setattr(MultiscaleForecaster, "fit", noting)
    kept = [r for r in read(folder) if r["model"] != "macro-only"]
    (folder / "benchmark.json").write_text(json.dumps(kept))
    tiny(folder)
    assert len(read(folder)) == 8
    tiny(folder, force=True)
    assert resumed == [True, False]


# --- folders of others ---------------------------------------------------------------------------


def test_other_results_are_not_mixed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="holds results of preset demo, not paper"):
        tiny(folder, preset="paper")
    with pytest.raises(InputError, match=r"computed with --set .*, not .*training\.steps=5"):
        benchmark.run(["kdv-1d"], out=folder, overrides=[*TINY, "training.steps=5"])
    monkeypatch.setattr("pyro_msm.__version__", "9.9")
    with pytest.raises(InputError, match=r"of pyro_msm 0\.1\.0, and this is 9\.9.*--force"):
        tiny(folder)


def test_force_replaces_the_results_of_another_version(
    folder: Path, idle: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyro_msm.__version__", "9.9")
    tiny(folder, ["persistence"], force=True)
    assert [r["model"] for r in read(folder)] == ["noise-floor", "persistence"]
    assert not (folder / "runs").exists()


def test_foreign_folders_are_told(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file: results need a folder"):
        tiny(tmp_path / "file")
    (folder / "benchmark.json").write_text('[{"model": "theirs"}]')
    with pytest.raises(InputError, match="holds no benchmark records"):
        tiny(folder)
    (folder / "benchmark.json").write_text("[")
    with pytest.raises(InputError, match="cannot be read"):
        tiny(folder)
    (folder / "settings.json").write_text("{}")
    with pytest.raises(InputError, match=r"settings\.json was not written by pyro-msm benchmark"):
        tiny(folder)
    (folder / "settings.json").unlink()
    with pytest.raises(InputError, match=r"but no settings\.json"):
        tiny(folder, force=True)
    assert (folder / "benchmark.json").read_text() == "["


# --- failures ------------------------------------------------------------------------------------


def test_a_missing_extra_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydmd", None)
    results = tiny(tmp_path / "results", ["dmd", "persistence"])
    rows = {r["model"]: r for r in results.records if r["split"] == "test"}
    assert "pip install pyro_msm[baselines]" in rows["dmd"]["note"]
    assert rows["dmd"]["relative_error"] is None
    assert rows["dmd"]["published"] == 0.163
    assert rows["persistence"]["relative_error"] > 0
    assert "- dmd: baseline dmd needs pydmd" in results.table.read_text()


def test_extras_leave_logging_as_it_was() -> None:
    pytest.importorskip("pydmd")
    program = (
        "import logging; from pyro_msm.forecasting.baselines.extra import required; "
        "required('pydmd', 'dmd'); print(logging.getLogger().handlers)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_nothing_to_score_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.test=0 leaves the benchmark nothing to score"):
        benchmark.run(["kdv-1d"], out=tmp_path / "r", overrides=[*TINY, "data.test=0"])


# --- table and figure ----------------------------------------------------------------------------


def test_markdown() -> None:
    ours = {"model": "multiscale", "micro": 5}
    lines = table.markdown(
        [
            record(model="noise-floor", relative_error=0.02, relative_error_std=0.01),
            record(model="pod-sindy", diverged_at=0.3125),
            record(relative_error=0.1, relative_error_std=0.02, note="a note"),
            record(**ours, seed=0, relative_error=0.03, relative_error_std=0.01),
            record(**ours, seed=1, relative_error=0.05, relative_error_std=0.01),
            record(model="macro-only", micro=0, seed=0, relative_error=0.3),
            record(model="macro-only", micro=0, seed=1, diverged_at=0.5),
            record(split="extrapolation", relative_error=0.7, relative_error_std=0.1),
        ]
    ).splitlines()
    found = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "|" in line]
    test = {row[0]: row for row in found[2:8]}
    assert list(test) == [
        "**macro-only**", "**multiscale, n_η = 5**", "dmd", "pod-sindy", "coarse-dns",
        "noise-floor",
    ]  # fmt: skip
    assert test["**multiscale, n_η = 5**"][1:3] == ["0.0400 ± 0.0100", "2: 0.0300–0.0500"]
    assert test["**multiscale, n_η = 5**"][-1] == "0.042 ± 0.017"
    assert test["**macro-only**"][1] == "diverged at t=0.5 (1 of 2 seeds)"
    assert test["pod-sindy"][1] == "diverged at t=0.312"
    assert test["coarse-dns"][1:] == ["—"] * 9 + ["0.523 ± 0.196"]
    assert "## kdv-1d, preset paper" in lines
    assert "- dmd: a note" in lines
    assert found[-1][0] == "dmd"
    assert "published error" not in found[-3]


def test_figure_has_a_panel_for_each_system() -> None:
    ours = {"model": "multiscale", "seed": 0, "relative_error": 0.1}
    sizes = [record(**ours, system=s, micro=m) for s in ("wave-1d", "kdv-1d") for m in (1, 2)]
    drawn = figure.error_against_micro([*sizes, record(system="burgers-1d", relative_error=0.1)])
    assert drawn is not None
    assert [axes.get_title() for axes in drawn.axes] == ["wave-1d", "kdv-1d"]
    curve = next(line for line in drawn.axes[0].lines if line.get_label() == "published")
    assert curve.get_ydata().tolist() == [0.565, 0.517, 0.21, 0.105, 0.089, 0.079]
    assert figure.error_against_micro([record(relative_error=0.1)]) is None


# --- what is asked for ---------------------------------------------------------------------------


def test_the_presets_ask_for_what_was_published() -> None:
    paper = jobs(load_plan("paper"), ["kdv-1d"])
    ours = [(job.model, job.micro, job.seed) for job in paper if job.micro is not None]
    assert ours == [
        *[("macro-only", 0, seed) for seed in (0, 1, 2)],
        *[("multiscale", size, 0) for size in (1, 2, 3, 4)],
        *[("multiscale", 5, seed) for seed in (0, 1, 2)],
    ]
    assert {job.model for job in paper} >= set(ALL_BASELINES) - EFFECTIVE_EQUATIONS
    effective = {job.model for job in jobs(load_plan("paper"), ["fitzhugh-nagumo"])}
    assert effective >= set(ALL_BASELINES)
    demo = jobs(load_plan("demo"))
    assert {job.system for job in demo} == set(presets.systems())
    assert {(job.micro, job.seed) for job in demo if job.micro is not None} == {(0, 0), (5, 0)}


@pytest.mark.parametrize("preset", ["demo", "paper"])
def test_every_system_has_a_split_outside_the_training_range(preset: str) -> None:
    plan = load_plan(preset)
    for system in presets.systems():
        config = plan.configuration(Job(system, "multiscale", 3, 7))
        assert config.data.extrapolation > 0
        assert (config.model.micro, config.seed, config.data.seed) == (3, 7, 0)
    file = ["data.options.file='cylinder2d.nc'"]
    assert plan.configuration(Job("cylinder-2d", "dmd"), file).data.extrapolation == 0


def test_systems_have_the_models_that_their_data_suit() -> None:
    """Paths and particles have no macroscale; LED has no microscale of a size to vary."""
    asked = {
        system: {(job.model, job.micro) for job in jobs(load_plan("demo"), [system])}
        for system in ("kdv-1d", "fitzhugh-nagumo", "advection-diffusion-1d", "slow-fast-b")
    }
    ours = {("macro-only", 0), ("multiscale", 5)}
    for system, more in {"kdv-1d": set(), "fitzhugh-nagumo": {("led", None)}}.items():
        assert {each for each in asked[system] if each[0] in OURS} == ours | more
        assert ("dmd", None) in asked[system]
    for system, family in {"advection-diffusion-1d": "led", "slow-fast-b": "slow-fast"}.items():
        assert {each for each in asked[system] if each[0] in OURS} <= {(family, None)}
        assert ("dmd", None) not in asked[system]
    config = load_plan("demo").configuration(Job("fitzhugh-nagumo", "led", None, 4))
    assert (config.model.family, config.seed) == ("led", 4)


def test_scores_of_a_family_stand_under_the_table() -> None:
    own = {"drift_error": 0.0312, "comparators.sindy.drift_error": 0.25}
    lines = table.markdown([record(system="slow-fast-b", model="slow-fast", own=own)]).splitlines()
    assert "- slow-fast: drift_error 0.0312, comparators.sindy.drift_error 0.25" in lines


def test_small_models_do_without_a_moving_frame() -> None:
    plan = load_plan("paper")
    frames = {
        size: plan.configuration(
            Job("wave-1d", "multiscale", size, 0), ["model.frame=comoving"]
        ).model.frame
        for size in plan.micro
    }
    assert list(frames.values()) == ["fixed"] * 3 + ["comoving"] * 3
    assert runner._noted({"note": "a"}, {"crps": 1, "note": "b"}) == {"crps": 1, "note": "a; b"}


def test_published_numbers_belong_to_known_rows() -> None:
    known = {("macro-only", 0), *(("multiscale", size) for size in range(1, 6))}
    known |= {(name, None) for name in ALL_BASELINES}
    with_numbers = [name for name in presets.systems() if published(name).errors]
    assert len(with_numbers) == 6
    for name in with_numbers:
        assert set(published(name).errors) <= known
        assert published(name).source


def test_command_line_takes_lists(cli: Cli, folder: Path, idle: list[Job]) -> None:
    settings = [part for text in TINY for part in ("--set", text)]
    ask = ("benchmark", "kdv-1d", "--out", folder, *settings, "--models")
    result = cli(*ask, "macro-only", "analog", "--seeds", 4, 7, "--quiet")
    assert result.exit_code == 0, result.output
    assert [(job.model, job.seed) for job in idle] == [
        ("analog", None), ("macro-only", 4), ("macro-only", 7),
    ]  # fmt: skip
    assert result.stderr == ""
    assert "benchmark.md" in result.stdout
    idle.clear()
    assert cli(*ask, "macro-only", "--seeds", 2).exit_code == 0
    assert [job.seed for job in idle] == [1]  # seed 0 is there already


def test_wrong_input_is_told_in_one_line(cli: Cli, tmp_path: Path) -> None:
    for words, told in [
        (["kdv"], "unknown system 'kdv', did you mean 'kdv-1d'"),
        (["kdv-1d", "--models", "dmd", "fnoo"], "unknown model 'fnoo', did you mean 'fno'"),
        (["--preset", "dem"], "unknown preset 'dem', did you mean 'demo'"),
        (["--seeds", "0"], "a single number counts seeds"),
        (["--set", "model.micro=3"], "the benchmark varies model.micro"),
        (["--set", "model.warm_start=runs/a"], "its presets say which models grow"),
        (["--set", "training.stpes=3"], "did you mean 'training.steps'"),
    ]:
        result = cli("benchmark", *words, "--out", tmp_path / "results")
        assert result.exit_code == 2, result.output
        (line,) = result.stderr.splitlines()
        assert told in line
    assert not (tmp_path / "results").exists()
