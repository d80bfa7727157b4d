"""Comparators against processes whose coefficients they can find, and against least squares."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from pyro_msm.data import select, systems
from pyro_msm.data.increments import Increments
from pyro_msm.data.systems.effective import EffectiveSDE
from pyro_msm.errors import InputError
from pyro_msm.forecasting.slow_fast import (
    comparators,
    comparators_local,
    comparators_neural,
    comparators_sindy,
    scoring,
)
from pyro_msm.forecasting.slow_fast.comparators import Sums
from pyro_msm.forecasting.slow_fast.comparators_local import KernelRegression, KramersMoyal
from pyro_msm.forecasting.slow_fast.comparators_neural import NeuralDrift
from pyro_msm.forecasting.slow_fast.comparators_sindy import Sindy
from pyro_msm.scores.effective import coefficient_error

STEP = 0.02


def well():
    """Drift x - x³ with a diffusion that grows to the right."""
    return EffectiveSDE(lambda x: x - x**3, lambda x: (0.3 + 0.1 * np.tanh(x))[..., None], 1)


def spiral():
    """A linear spiral with correlated noise that is larger further out."""
    pull = np.array([[1.0, 0.8], [-0.8, 1.0]])
    square = np.array([[0.3, 0.1], [0.1, 0.2]])

    def diffusion(x):
        return square * (1 + 0.2 * (x**2).sum(-1))[:, None, None]

    return EffectiveSDE(lambda x: -x @ pull.T, diffusion, 2)


def increments(sde, count, frames, seed):
    paths = sde.paths(
        0.5 * np.random.default_rng(seed).standard_normal((count, sde.components)),
        STEP * np.arange(frames), np.random.default_rng(seed + 1), step=STEP,
    )  # fmt: skip
    moves = torch.tensor(np.diff(paths, axis=1)).flatten(0, 1)
    place = torch.tensor(paths[:, :-1]).flatten(0, 1)
    duration = torch.full((len(place),), STEP, dtype=torch.float64)
    spread = moves[:, :, None] * moves[:, None, :] / STEP
    return Increments(place, torch.ones_like(duration), duration, moves, spread)


def errors(estimate, truth):
    x = truth.stationary_points(500)
    return (
        coefficient_error(estimate.drift(x), truth.drift(x)),
        coefficient_error(estimate.diffusion(x), truth.diffusion(x)),
    )


@pytest.fixture(scope="module", params=[well, spiral], ids=["well", "spiral"])
def case(request):
    """Truth, and increments of time 1200 to learn from and as many held out."""
    truth = request.param()
    return truth, increments(truth, 60, 1001, 0), increments(truth, 60, 1001, 9)


@pytest.mark.parametrize(
    ("comparator", "drift", "diffusion"),
    [(NeuralDrift(widths=(16,), steps=400), 0.15, 0.06), (KramersMoyal(), 0.4, 0.2),
     (KernelRegression(), 0.25, 0.1), (Sindy(), 0.12, 0.05)],
    ids=["neural", "binning", "kernel", "sindy"],
)  # fmt: skip
def test_comparators_come_near_the_truth(monkeypatch, case, comparator, drift, diffusion):
    """The bound of one parameter is 0.02 and 0.03 here."""
    for module in (comparators_local, comparators_neural, comparators_sindy):
        monkeypatch.setattr(module, "CELLS", 400)
    truth, train, held_out = case
    x = truth.stationary_points(500)
    found = comparator.fit(train, held_out)
    assert found.components == truth.components
    drift_error, diffusion_error = errors(found, truth)
    assert drift_error < drift
    assert diffusion_error < diffusion
    assert np.linalg.eigvalsh(found.diffusion(np.array([[9.0], [-9.0]]) + 0 * x[:1])).min() > 0
    drawn = found.effective.paths(x[:3], np.array([0.0, 0.1]), np.random.default_rng(0))
    assert np.isfinite(drawn).all()


def test_likelihood_is_that_of_normal_increments():
    truth = spiral()
    rows = increments(truth, 1, 40, 3)
    sums = Sums.of(rows)
    drift, diffusion = truth.drift(sums.place), truth.diffusion(sums.place)
    moves = torch.tensor(sums.displacement - STEP * drift)
    normal = torch.distributions.MultivariateNormal(
        torch.zeros(2, dtype=torch.float64), torch.tensor(STEP * diffusion)
    )
    expected = normal.log_prob(moves).mean() + math.log(2 * math.pi * STEP)
    found = comparators.log_likelihood(sums, drift, diffusion)
    assert found == pytest.approx(float(expected))
    twice = Sums.of(rows.joined(rows))
    both = comparators.log_likelihood(twice, np.tile(drift, (2, 1)), np.tile(diffusion, (2, 1, 1)))
    assert both == pytest.approx(found)


def test_cells_keep_the_sums():
    rows = increments(spiral(), 3, 200, 0)
    sums = Sums.of(rows, 20)
    assert len(sums.place) == 20
    for name in ("count", "duration", "displacement", "spread"):
        expected = np.asarray(getattr(rows, name)).sum(0)
        np.testing.assert_allclose(getattr(sums, name).sum(0), expected)


def test_bins_are_means_of_increments_in_them():
    rows = increments(well(), 2, 400, 0)
    found = KramersMoyal().fit(rows, rows)
    nearest = np.abs(np.asarray(rows.place) - found._drift.place.T).argmin(1)
    mine = nearest == nearest[0]
    moves = np.asarray(rows.displacement)[mine, 0]
    slope = found.drift(np.asarray(rows.place)[:1])[0, 0]
    assert slope == pytest.approx(moves.mean() / STEP, rel=0.1)  # cells and Voronoi cells differ


def test_kernel_regression_is_the_weighted_mean():
    rows = increments(well(), 1, 300, 0)
    found = KernelRegression().fit(rows, rows)
    place, moves = np.asarray(rows.place)[:, 0], np.asarray(rows.displacement)[:, 0]
    weights = np.exp(-(((0.3 - place) / place.std() / found.drift_width) ** 2) / 2)
    expected = np.sum(weights * moves) / np.sum(weights * STEP)
    assert found.drift(np.array([[0.3]]))[0, 0] == pytest.approx(expected)


def test_sindy_without_a_threshold_is_least_squares(monkeypatch):
    monkeypatch.setattr(comparators_sindy, "DRIFT_DEGREES", (3,))
    monkeypatch.setattr(comparators_sindy, "THRESHOLDS", (0.0,))
    rows = increments(well(), 1, 500, 0)
    found = Sindy().fit(rows, rows)
    place, moves = np.asarray(rows.place)[:, 0], np.asarray(rows.displacement)[:, 0]
    expected = np.polynomial.Polynomial.fit(place, moves / STEP, 3)(0.4)
    assert found.drift(np.array([[0.4]]))[0, 0] == pytest.approx(expected, rel=1e-5)


def test_sindy_drops_terms_that_are_not_there(monkeypatch):
    monkeypatch.setattr(comparators_sindy, "DRIFT_DEGREES", (5,))
    monkeypatch.setattr(comparators_sindy, "THRESHOLDS", (0.3,))
    rows = increments(well(), 60, 1001, 0)
    found = Sindy().fit(rows, rows)._drift
    kept = found.powers[found.weights[:, 0] != 0]
    assert kept.ravel().tolist() == [1, 3]


def test_the_neural_drift_is_reproducible_and_leaves_the_random_state_alone():
    rows = increments(well(), 2, 200, 0)
    before = torch.random.get_rng_state()
    found = [NeuralDrift(widths=(4,), steps=20).fit(rows, rows).drift(np.ones((1, 1)))
             for _ in range(2)]  # fmt: skip
    np.testing.assert_array_equal(*found)
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_neural_drift_stops_before_it_learns_the_noise(monkeypatch):
    monkeypatch.setattr(comparators_neural, "CELLS", 100)
    rows, held_out = increments(well(), 1, 300, 0), increments(well(), 10, 1001, 1)
    early = NeuralDrift(widths=(32,), steps=400).fit(rows, held_out)
    late = NeuralDrift(widths=(32,), steps=400).fit(rows, rows)
    assert errors(early, well())[0] < errors(late, well())[0]


# --- scores --------------------------------------------------------------------------------------


class Scaled:
    """Coefficients of another SDE times a factor."""

    def __init__(self, sde, factor):
        self.sde, self.factor = sde, factor

    def drift(self, x):
        return self.factor * self.sde.drift(x)

    def diffusion(self, x):
        return self.factor**2 * self.sde.diffusion(x)


def test_scores_of_a_known_error():
    truth = systems.get("slow-fast-d").effective
    square = np.mean(np.sum(truth.drift(truth.stationary_points(2000)) ** 2, 1))
    factors = np.linspace(0.95, 1.5, 100)

    def draws(x):
        return factors[:, None, None] * truth.drift(x)

    found = scoring.coefficient_scores(
        truth, Scaled(truth, 1.1), {"half": Scaled(truth, 0.5)}, drift_draws=draws
    )
    assert found["drift_error"] == pytest.approx(0.1)
    assert found["diffusion_error"] == pytest.approx(0.21)
    assert found["drift_mse"] == pytest.approx(0.01 * square)
    assert found["band_coverage"] == 1.0
    assert found["comparators"]["half"]["drift_error"] == pytest.approx(0.5)
    narrow = scoring.coefficient_scores(truth, truth, drift_draws=draws, level=0.5)
    assert narrow["band_coverage"] == 0.0
    assert "comparators" not in narrow


def test_law_scores_tell_a_right_law_from_a_wrong_one():
    truth = well()
    start = truth.stationary_points(200)
    paths = truth.paths(start, 0.05 * np.arange(600), np.random.default_rng(5), step=0.05)
    right = scoring.law_scores(truth, paths, 0.05, level=0.6)
    wrong = scoring.law_scores(Scaled(truth, 2), paths, 0.05, level=0.6)
    for name in ("stationary_distance", "autocorrelation_error"):
        assert right[name] < 0.1 < wrong[name]
    times = right["passage_time"]
    assert times["estimated"] == pytest.approx(times["observed"], rel=0.15)
    assert wrong["passage_time"]["estimated"] < 0.8 * times["observed"]
    second = right["moments"]["observed"]["2"][0]
    assert second == pytest.approx(np.mean(paths**2))


def test_law_scores_of_an_unstable_estimate_are_not_numbers():
    paths = np.random.default_rng(0).standard_normal((4, 300, 1))
    unstable = EffectiveSDE(lambda x: 5 * x**3, lambda x: np.ones((len(x), 1, 1)), 1)
    with np.errstate(all="ignore"):
        found = scoring.law_scores(unstable, paths, 0.1, level=0.5)
    assert math.isnan(found["stationary_distance"])
    assert math.isnan(found["passage_time"]["estimated"])


def test_a_comparator_without_its_package_is_left_out_and_told(monkeypatch, caplog):
    def missing(package, baseline):
        raise InputError(f"baseline {baseline} needs {package}")

    monkeypatch.setattr(comparators_sindy, "required", missing)
    data = systems.get("slow-fast-b").simulate(
        {"train": 1, "validation": 1}, frames=101, end_time=1.0, epsilon=0.1, burn_in=0.0
    )
    rows = [Increments.of(select(data, split)) for split in ("train", "validation")]
    found = scoring.fit_comparators(*rows, ["kramers-moyal", "sindy"])
    assert list(found) == ["kramers-moyal"]
    assert "no comparator sindy" in caplog.text


def test_the_programs_of_the_page_run(capsys):
    page = (Path(__file__).parents[1] / "docs" / "slow-fast.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)[:2]
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "slow-fast.md", "exec"), names)
    told = [line.split("# ")[1] for block in blocks for line in block.splitlines()
            if line.startswith("print(")]  # fmt: skip
    assert capsys.readouterr().out.splitlines() == told
