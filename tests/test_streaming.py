"""Ensembles that are written and scored piece by piece: the same numbers as in memory."""

from __future__ import annotations

import json
import math
import shutil
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from pyro_msm import analysis
from pyro_msm.analysis.diagnostics.spectra import spectrum_of
from pyro_msm.analysis.scored_forecast import Forecast, Sample, Scoring
from pyro_msm.cluster import workers
from pyro_msm.errors import InputError
from pyro_msm.forecasting import open_ensemble, rollout
from pyro_msm.forecasting.layout import SHARE, layout, slices
from pyro_msm.forecasting.rollout import ensemble_bytes
from pyro_msm.forecasting.streaming import Filling
from pyro_msm.forecasting.streams import observation_noise
from pyro_msm.scores import FairCRPS, FairEnergyScore, RankHistogram, Spectra, SpreadSkill
from tests.small_fields import forecaster, travelling_waves
from tests.statistical import assert_moments
from tests.synthetic_ensemble import synthetic_ensemble

SPLITS = ("train", "train", "validation", "test", "test", "extrapolation")
DATA = travelling_waves(trajectories=6, splits=SPLITS)
CHAINS = [forecaster(DATA), forecaster(DATA, seed=1)]
HOW: dict[str, Any] = {"members": 7, "generator": 3, "times": 5}

#: So little that the fields of ``HOW`` are written one time at once, and scored in two parts.
LITTLE = 16 * 1200


@pytest.fixture
def few_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latent paths are integrated two members at a time."""
    monkeypatch.setattr("pyro_msm.forecasting.layout.PATH_BYTES", 2 * 4 * 41 * 3 * 12)


def assert_same_tree(found: xr.DataTree, expected: xr.DataTree) -> None:
    """Latent paths to the last bit, what is decoded from them to rounding."""
    assert set(found.children) == set(expected.children)
    for group in expected.children:
        one, other = found[group].to_dataset(), expected[group].to_dataset()
        assert set(one.variables) == set(other.variables)
        for name in other.variables:
            decoded = {"signal", "mean_macro_part", "mean_micro_part"}
            if name in decoded or group == "posterior_predictive":
                xr.testing.assert_allclose(one[name], other[name], atol=1e-6)
            else:
                xr.testing.assert_equal(one[name], other[name])


def assert_same_scores(found: Any, expected: Any, where: str = "") -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key in expected.keys() - {"seconds"}:
            assert_same_scores(found[key], expected[key], f"{where}/{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for one, other in zip(found, expected, strict=True):
            assert_same_scores(one, other, where)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-9), where
    else:
        assert found == expected, where


@pytest.mark.parametrize("fields", [True, False])
def test_a_store_holds_what_memory_holds(tmp_path: Path, few_paths: None, fields: bool) -> None:
    whole = rollout(CHAINS, DATA, **HOW)
    store = tmp_path / "ensemble.zarr"
    with rollout(CHAINS, DATA, **HOW, store=store, fields=fields, memory=LITTLE) as tree:
        assert_same_tree(tree, whole)
        scores = analysis.evaluate(tree, memory=LITTLE)
    assert [path.name for path in tmp_path.iterdir()] == ["ensemble.zarr"]
    assert (store / "posterior" / "signal").exists() == fields
    assert_same_scores(scores, analysis.evaluate(whole))
    with open_ensemble(store, None if fields else CHAINS) as opened:
        attrs = opened["constant_data"].attrs
        assert attrs["seconds_rollout"] > 0
        assert attrs["members"] == 7


def test_with_the_same_memory_fields_are_the_same_to_the_last_bit(tmp_path: Path) -> None:
    how = HOW | {"memory": LITTLE}
    whole = rollout(CHAINS, DATA, **how)
    with rollout(CHAINS, DATA, **how, store=tmp_path / "ensemble.zarr") as tree:
        for group in whole.children:
            xr.testing.assert_equal(tree[group].to_dataset(), whole[group].to_dataset())


def test_fields_that_are_decoded_when_read_are_those_in_memory() -> None:
    whole = rollout(CHAINS, DATA, **HOW)
    lazy = rollout(CHAINS, DATA, **HOW, fields=False)
    assert_same_tree(lazy, whole)
    for group, name in (("posterior", "signal"), ("posterior_predictive", "field")):
        for place in (
            {"chain": 1, "draw": 3, "trajectory": 2, "time": 4},
            {"draw": slice(2, 5), "time": slice(None, None, 3), "x": slice(5, 20)},
            {"draw": [0, 4, 5], "trajectory": [2, 0], "x": [3, 1]},
        ):
            found, expected = (tree[group][name].isel(place) for tree in (lazy, whole))
            xr.testing.assert_allclose(found, expected, atol=1e-6)
        by_time = lazy[group][name].transpose("time", ...).isel(time=-1)
        expected = whole[group][name].transpose("time", ...).isel(time=-1)
        np.testing.assert_allclose(by_time, expected, atol=1e-6)


def test_noise_of_a_member_is_its_own_whatever_is_drawn_beside_it() -> None:
    noise = observation_noise(5, range(40), 1, [0, 3, 900], (2, 30))
    some = observation_noise(5, range(13, 37), 1, [900, 3], (2, 30))
    np.testing.assert_array_equal(some, noise[13:37, [2, 1]])
    assert (noise != observation_noise(5, range(40), 2, [0, 3, 900], (2, 30))).mean() > 0.99
    assert (noise != observation_noise(6, range(40), 1, [0, 3, 900], (2, 30))).mean() > 0.99
    assert_moments(noise.ravel().astype(float), 0.0, 1.0)
    flat = noise.reshape(120, 60)
    assert np.abs(np.corrcoef(flat)[np.triu_indices(120, 1)]).max() < 0.8


@pytest.mark.parametrize(
    "options",
    [
        {"members": 300, "points": 12},
        {"members": 20, "plane": True, "points": 6, "channels": 2},
        {"members": 100, "chains": 3, "clean": False, "points": 12},
    ],
)
def test_scores_of_parts_of_samples_are_those_of_whole_ones(options: dict[str, Any]) -> None:
    ensemble = synthetic_ensemble(trajectories=2, times=4, **options)
    observed = ensemble["observed_data"]["field"]
    seen = np.random.default_rng(0).random(observed.shape) < 0.9
    seen[:, 2:] = True  # spectra need whole fields
    constant = ensemble["constant_data"].to_dataset().assign(mask=(observed.dims, seen))
    ensemble["constant_data"] = xr.DataTree(constant)
    truth = ensemble["observed_data"]["field"] + 0.1
    several = ensemble["posterior"]["signal"].isel(chain=0, draw=slice(9)).rename(draw="member")
    baselines = {
        "one": truth.to_dataset(name="field"),
        "nine": several.to_dataset(name="field"),
    }
    expected = analysis.evaluate(ensemble, baselines=baselines)
    pieces = analysis.Ensemble(ensemble).pieces(ensemble["posterior"]["signal"], memory=1)
    assert (pieces.times, pieces.rows) == (1, 1)
    found = analysis.evaluate(ensemble, baselines=baselines, memory=1)
    assert_same_scores(found, expected)
    assert None not in found["spectrum"]["members"]


def test_a_member_that_diverged_is_found_in_a_part() -> None:
    ensemble = synthetic_ensemble(trajectories=2, times=5)
    ensemble["posterior"]["signal"].values[0, 7, 1, 3, 0, 25] = np.inf
    expected, found = (analysis.evaluate(ensemble, memory=m) for m in (2**30, 1))
    assert found["diverged"] == 1
    assert_same_scores(found, expected)


def test_pieces_fit_into_memory_down_to_a_group_of_fields_and_a_row() -> None:
    shapes = [(1, 1000), (3, 128, 128), (2, 7), (1, 1)]
    for chains in (1, 3):
        for draws in (1, 79, 10_000):
            for shape in shapes:
                for memory in (2**30, 2**24, 1):
                    piece = layout(chains, draws, shape, memory)
                    point = 4 * chains * draws
                    field = 4 * math.prod(shape)
                    limit = max(1, memory // SHARE)
                    assert 1 <= piece.draws <= draws
                    assert 1 <= piece.rows <= shape[1]
                    row = point * math.prod(shape) // shape[1]
                    assert piece.rows * row <= max(limit, row)
                    group = max(1, 256 // chains)
                    assert piece.draws * chains * field <= max(limit, group * chains * field)
                    if piece.times > 1:
                        assert piece.times * point * math.prod(shape) <= limit
                    if piece.draws < draws:
                        assert piece.draws % group == 0  # groups of the energy score stay whole
    with pytest.raises(InputError, match="must be above 0, got 0 bytes"):
        layout(1, 1, (1, 1), 0)
    assert [(s.start, s.stop) for s in slices(7, 3)] == [(0, 3), (3, 6), (6, 7)]


def test_memory_does_not_grow_with_members() -> None:
    memory, peaks = 2**21, []
    for members in (1000, 4000):
        tree = synthetic_ensemble(members, trajectories=1, times=2, points=400, micro=0)
        view = analysis.Ensemble(tree)
        forecast = Forecast(view.signal, view.predictive, 0.0, view.diverged_at)
        metrics = [
            ("noisy", {"crps": FairCRPS(), "energy": FairEnergyScore(), "rank": RankHistogram()}),
            ("clean", {"spread": SpreadSkill(), "spectra": Spectra(spectrum_of(view))}),
        ]
        scoring = Scoring(view, forecast, metrics, view.pieces(view.signal, memory))
        tracemalloc.start()
        scoring(Sample(0, 0, 1, 2))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert peaks[-1] < max(memory, 12 * 256 * 400 * 4)
    assert peaks[1] < 1.3 * peaks[0]
    assert peaks[1] < 4000 * 400 * 4


class Interrupter:
    """Stands for Ctrl-C after so many blocks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = math.inf
        self.blocks: list[tuple[int, ...]] = []
        for name in ("paths", "fields"):
            monkeypatch.setattr(Filling, name, self.around(getattr(Filling, name)))

    def around(self, original: Any) -> Any:
        def interrupted(filling: Filling, block: tuple[int, ...]) -> None:
            if self.left <= 0:
                raise KeyboardInterrupt
            original(filling, block)
            self.left -= 1
            self.blocks.append(block)

        return interrupted


def test_an_interrupted_rollout_is_no_ensemble_and_goes_on(
    tmp_path: Path, few_paths: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, unfinished = tmp_path / "ensemble.zarr", tmp_path / "ensemble.partial.zarr"
    how = HOW | {"store": store, "memory": LITTLE}
    interrupter = Interrupter(monkeypatch)
    whole = rollout(CHAINS, DATA, **(HOW | {"memory": LITTLE}))
    total = len(interrupter.blocks)
    for left in (3, 8):  # among the paths, then among the fields
        interrupter.left = left
        with pytest.raises(KeyboardInterrupt):
            rollout(CHAINS, DATA, **how)
        assert unfinished.exists()
        assert not store.exists()
        with pytest.raises(InputError, match="not a whole ensemble: give the same"):
            open_ensemble(tmp_path)
        with pytest.raises(InputError, match="not a whole ensemble"):
            open_ensemble(unfinished)
    # The process was killed while it wrote a line.
    with (unfinished / "rollout.jsonl").open("a") as journal:
        journal.write('{"kind": "fie')
    with pytest.raises(InputError, match="interrupted rollout with another seed"):
        rollout(CHAINS, DATA, **(how | {"generator": 4}))
    with pytest.raises(InputError, match="interrupted rollout with another weights"):
        rollout(CHAINS[::-1], DATA, **how)
    with pytest.raises(InputError, match="interrupted rollout with another data"):
        rollout(CHAINS, DATA.assign(field=DATA["field"] + 1), **how)
    interrupter.blocks, interrupter.left = [], math.inf
    with rollout(CHAINS, DATA, **how) as tree:
        assert_same_tree(tree, whole)
    assert len(interrupter.blocks) == total - 11
    assert [path.name for path in tmp_path.iterdir()] == ["ensemble.zarr"]


def test_nothing_is_replaced_unless_it_is_said(tmp_path: Path) -> None:
    store = tmp_path / "ensemble.zarr"
    rollout(CHAINS[0], DATA, **HOW, store=store).close()
    with pytest.raises(InputError, match=r"exists: replace it with --force \(force=True\)"):
        rollout(CHAINS[0], DATA, **HOW, store=store)
    other = HOW | {"members": 2}
    with rollout(CHAINS[0], DATA, **other, store=store, force=True) as tree:
        assert tree["posterior"].sizes["draw"] == 2
    # What is left of another rollout goes as well, and of a replacement that was killed.
    shutil.copytree(store, tmp_path / ".ensemble.old.zarr")
    unfinished = tmp_path / "ensemble.partial.zarr"
    shutil.copytree(store, unfinished)
    (unfinished / "rollout.jsonl").write_text('{"seed": 9}\n')
    rollout(CHAINS[0], DATA, **HOW, store=store, force=True).close()
    assert [path.name for path in tmp_path.iterdir()] == ["ensemble.zarr"]
    with pytest.raises(InputError, match=r"must end in \.zarr"):
        rollout(CHAINS[0], DATA, **HOW, store=tmp_path / "ensemble.nc")
    with pytest.raises(InputError, match="writes to a Zarr store"):
        rollout(CHAINS[0], DATA, **HOW, scheduler="local:1")


def test_no_room_on_the_disk_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=10_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(InputError, match=r"choose fewer members or times, or --store latents"):
        rollout(CHAINS[0], DATA, **HOW, store=tmp_path / "ensemble.zarr")
    assert list(tmp_path.iterdir()) == []


def test_latent_paths_are_decoded_by_the_model_that_drew_them_only(tmp_path: Path) -> None:
    store = tmp_path / "ensemble.zarr"
    rollout(CHAINS[0], DATA, **HOW, store=store, fields=False).close()
    with pytest.raises(InputError, match="lies in no run folder"):
        open_ensemble(store)
    with pytest.raises(InputError, match="other weights than those that are there"):
        open_ensemble(store, CHAINS[1:])


def test_bytes_of_an_ensemble_are_those_of_its_arrays() -> None:
    tree = rollout(CHAINS, DATA, **HOW)
    groups = [tree[name].to_dataset() for name in ("posterior", "posterior_predictive")]
    arrays = [v for group in groups for v in group.data_vars.values() if v.name[:3] != "obs"]
    found = ensemble_bytes(CHAINS, DATA, 7, 5)
    assert found == sum(array.nbytes for array in arrays)


# --- Dask ----------------------------------------------------------------------------------------


def test_a_cluster_gives_the_same_ensemble_and_scores(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    expected = rollout(CHAINS[0], DATA, **HOW)
    store = tmp_path / "ensemble.zarr"
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        address = cluster.scheduler_address
        how = HOW | {"store": store, "fields": False, "scheduler": address}
        with rollout(CHAINS[0], DATA, **how) as tree:
            assert_same_tree(tree, expected)
            scores = analysis.evaluate(tree, scheduler=address)
    assert_same_scores(scores, analysis.evaluate(expected))


def test_local_workers_are_started_and_stopped() -> None:
    pytest.importorskip("distributed")
    with workers("local:1") as run:
        assert dict(run(abs, [-1, -2])) == {-1: 1, -2: 2}
        assert list(run(abs, [])) == []


def test_what_is_wrong_with_a_scheduler_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    dask = pytest.importorskip("dask")
    with pytest.raises(InputError, match="expected local:N"), workers("local:many"):
        pass
    quickly = dask.config.set({"distributed.comm.timeouts.connect": "0.1s"})
    with quickly, pytest.raises(InputError, match="no Dask scheduler answers"):
        workers("tcp://127.0.0.1:9").__enter__()
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"pip install 'pyro-msm\[dask\]'"), workers("local:2"):
        pass


# --- command line --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small trained run."""
    from typer.testing import CliRunner

    from pyro_msm import data
    from pyro_msm.cli import app

    folder = tmp_path_factory.mktemp("streaming")
    data.save(DATA, folder / "waves.nc")
    settings = {
        "model.macro": 10, "model.micro": 2, "model.hidden": 16, "model.drift_hidden": 8,
        "model.basis": 6, "training.steps": 4, "training.window_length": 6, "training.stride": 3,
        "training.windows": 4, "training.calibrate": "false", "rollout.members": 9,
        "rollout.times": 5,
    }  # fmt: skip
    chosen = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    path = folder / "run"
    arguments = ["train", str(folder / "waves.nc"), "--out", str(path), "--quiet", *chosen]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return path


def test_rollout_and_evaluate_stores_from_the_command_line(cli: Any, run: Path) -> None:
    def scores(*options: Any) -> Any:
        result = cli("evaluate", run, "--quiet", *options)
        assert result.exit_code == 0, result.output
        return json.loads((run / "scores.json").read_text())

    def rolled(*options: Any) -> str:
        result = cli("rollout", run, *options)
        assert result.exit_code == 0, result.output
        return result.stderr + result.stdout.replace("\n", "")

    assert "has no ensemble yet" in cli("evaluate", run).stderr
    assert str(run / "ensemble.nc") in rolled()
    expected = scores()
    refused = cli("rollout", run)
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert "ensemble.nc exists: replace it with --force" in refused.stderr
    said = rolled("--memory", 1e-5, "--force")
    assert "more than --memory 1e-05: it goes to " in said
    assert not (run / "ensemble.nc").exists()
    assert_same_scores(scores("--memory", 1e-5), expected)
    rolled("--store", "latents", "--force")
    assert not (run / "ensemble.zarr" / "posterior" / "signal").exists()
    assert_same_scores(scores(), expected)
    rolled("--force")
    assert not (run / "ensemble.zarr").exists()


def test_wrong_options_are_told_in_one_line(cli: Any, run: Path) -> None:
    for arguments, message in [
        (("rollout", run, "--store", "hdf5"), "--store hdf5: expected nc, zarr or latents"),
        (("rollout", run, "--memory", "0"), "--memory 0: expected a number of GiB above 0"),
        (("evaluate", run, "--memory", "-1"), "--memory -1: expected a number of GiB above 0"),
        (("rollout", run, "--force", "--store", "nc", "--scheduler", "local:1"), "writes to Zarr"),
        (("rollout", run, "--force", "--scheduler", "local:x"), "expected local:N"),
    ]:
        result = cli(*arguments, "--quiet")
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
        assert message in result.stderr


def test_an_interrupted_rollout_tells_how_to_go_on(
    cli: Any, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupter = Interrupter(monkeypatch)
    interrupter.left = 2
    command = ("rollout", run, "--store", "zarr", "--force")
    result = cli(*command)
    assert result.exit_code == 130
    assert "give the same command again to go on from there" in result.stderr
    interrupter.left = math.inf
    again = cli(*command)
    assert again.exit_code == 0, again.output
    assert "2 blocks are there already" in again.stderr
    assert not (run / "ensemble.partial.zarr").exists()
