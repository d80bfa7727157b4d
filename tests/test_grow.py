"""Growth of the microscale: the grown model starts where the small one stands."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyro
import pytest
import torch

from pyro_msm import data as datasets
from pyro_msm.errors import InputError
from pyro_msm.forecasting import MultiscaleForecaster, initial_window
from pyro_msm.forecasting.calibration import Calibration
from pyro_msm.forecasting.validation import free_running_error
from pyro_msm.guides.grow import grow, leading_direction
from pyro_msm.inference import PathELBO
from tests.small_fields import (
    model_and_guide,
    training_windows,
    travelling_waves,
    with_drivers,
    with_mask,
)

CASES = [
    {"micro": 2},
    {"micro": 2, "rank": 2},  # a basis that must grow too
    {"micro": 1, "snapshots": 3, "rank": 1, "time_input": True},
    {"micro": 3, "frame": "comoving"},
    {"micro": 3, "frame": "comoving", "rank": 1, "snapshots": 2},
    {"micro": 2, "order": 2, "snapshots": 3},
    {"micro": 0},
    {"micro": 0, "time_input": True},
    {"micro": 0, "order": 2, "snapshots": 2},
]


def trained(data, seed=0, **settings):
    """A pair whose weights stand nowhere special, as after training."""
    model, guide = model_and_guide(data, **settings)
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in [*model.parameters(), *guide.parameters()]:
            parameter.add_(0.03 * torch.randn_like(parameter))
    return model, guide


def fields(data, snapshots):
    """(12, snapshots, channel, *grid)."""
    values = torch.as_tensor(data["field"].values).nan_to_num()
    return torch.stack([values[:, i : i + snapshots] for i in (0, 7, 20)]).flatten(0, 1)


def states(guide, data):
    """Of a small model, and of the grown one with anything in the new component."""
    with torch.no_grad():
        state = guide.encode(fields(data, guide.model.settings["snapshots"]))[0]
    generator = torch.Generator().manual_seed(3)
    return state, torch.cat([state, torch.randn(len(state), 1, generator=generator)], -1)


@pytest.mark.parametrize("drivers", [False, True], ids=["alone", "driven"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_grown_model_starts_where_the_small_one_stands(case, drivers):
    data = with_drivers(travelling_waves()) if drivers else travelling_waves()
    _, guide = trained(data, **case)
    _, grown = grow(guide, data)
    old, new = guide.model.network, grown.model.network
    size, snapshots = old.state_size, case.get("snapshots", 1)
    assert new.state_size == size + 1
    close = {"rtol": 1e-4, "atol": 1e-5}
    with torch.no_grad():
        for one, other in zip(
            guide.encode(fields(data, snapshots)),
            grown.encode(fields(data, snapshots)),
            strict=True,
        ):
            torch.testing.assert_close(other[:, :size], one, **close)
        state, larger = states(guide, data)
        times, context = torch.zeros(len(state)), None
        if drivers or "time_input" in case:
            width = (3 if drivers else 0) + int("time_input" in case)
            context = torch.randn(len(state), width)
        drift = new.drift(times, larger, context)
        torch.testing.assert_close(drift[:, :size], old.drift(times, state, context), **close)
        torch.testing.assert_close(new.dispersion[:size], old.dispersion)
        torch.testing.assert_close(new.macro_part(larger), old.macro_part(state))
        if case["micro"]:
            one, other = old.experts(state), new.experts(larger)
            torch.testing.assert_close(other.mean, one.mean, **close)
            torch.testing.assert_close(other.variance, one.variance)
            torch.testing.assert_close(drift[:, size], torch.zeros(len(state)))


def silent(guide, data):
    """A forecaster without noise of its own: what it forecasts is all in the weights."""
    made = MultiscaleForecaster.of(guide.model, guide, data)
    made.rollout_step, made.rollout_every = 0.005, 2
    made.calibration = Calibration(0.0, 0.0)
    return made


@pytest.mark.parametrize("case", CASES[:6], ids=str)
def test_forecast_and_validation_error_are_those_of_the_small_model(case):
    data = travelling_waves()
    _, guide = trained(data, **case)
    small, large = silent(guide, data), silent(grow(guide, data)[1], data)
    start, times = initial_window(data, small.warmup), data["time"].values[small.warmup - 1 :]
    one, other = (each.forecast(start, times) for each in (small, large))
    np.testing.assert_allclose(other["field"], one["field"], atol=2e-4)
    chosen = datasets.select(data, "validation")
    errors = [free_running_error(each, chosen)() for each in (small, large)]
    assert errors[1] == pytest.approx(errors[0], rel=1e-3)


def test_the_first_component_leaves_the_forecast_of_the_macroscale():
    data = travelling_waves()
    _, guide = trained(data, micro=0)
    start, times = initial_window(data, 1), data["time"].values
    one, other = (
        silent(each, data).forecast(start, times) for each in (guide, grow(guide, data)[1])
    )
    np.testing.assert_allclose(other["macro"], one["macro"], atol=2e-4)
    assert other["micro"].sizes["micro_component"] == 1


@pytest.mark.parametrize("case", CASES[:6], ids=str)
def test_the_likelihood_is_that_of_the_small_model(case):
    """Of all training snapshots, given the posterior's means."""
    data = travelling_waves()
    _, guide = trained(data, **case)
    _, grown = grow(guide, data)
    field = fields(data, case.get("snapshots", 1))
    with torch.no_grad():
        one, other = (
            each.model.network.experts(each.encode(field)[0]).log_prob(field[:, -1]).sum()
            for each in (guide, grown)
        )
    torch.testing.assert_close(other, one, rtol=1e-4, atol=0.1)


def test_everything_learned_is_copied_and_nothing_is_shared():
    data = travelling_waves()
    model, guide = trained(data)
    before = [{n: t.clone() for n, t in m.state_dict().items()} for m in (model, guide)]
    larger, grown = grow(guide, data)
    for old, new in ((model, larger), (guide, grown)):
        for name, tensor in old.state_dict().items():
            target = new.state_dict()[name]
            assert not tensor.numel() or target.data_ptr() != tensor.data_ptr()
            values = target.flatten()
            # Every learned number is there, however it has been moved.
            assert torch.isin(tensor.flatten(), values).all(), name
            if target.shape == tensor.shape:
                torch.testing.assert_close(target, tensor, rtol=0, atol=0)
        with torch.no_grad():
            for parameter in new.parameters():
                parameter.add_(1.0)
    for old, kept in zip((model, guide), before, strict=True):
        for name, tensor in old.state_dict().items():
            torch.testing.assert_close(tensor, kept[name], rtol=0, atol=0)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_weight_of_a_new_component_learns(case):
    """Zero weights are no dead ends: each gets a gradient."""
    data = travelling_waves()
    _, guide = trained(data, **case)
    model, grown = grow(guide, data)
    windows = training_windows(data, case.get("snapshots", 1))
    batch = windows.draw(4, torch.Generator().manual_seed(0))
    batch = replace(batch, initial_weight=torch.ones(4))
    torch.manual_seed(0)
    with pyro.settings.context(module_local_params=True):
        PathELBO()(model, grown)(batch).backward()
    for name, parameter in [*model.named_parameters(), *grown.named_parameters()]:
        assert torch.isfinite(parameter.grad).all(), name
        # That of an untrained model waits for its last layer, which starts at zero.
        fresh = not case["micro"] and name.startswith("encoder.spread.0")
        assert fresh or (parameter.grad != 0).any(), name
    new = model.network
    last = {
        "decoder": new.decoder.coefficients.linear.grad[:, -1],
        "drift": new.micro_drift.network[-1].bias.grad[-1:],
        "code": (grown.encoder.moving or grown.encoder).code.linear.grad[-1],
        "dispersion": new.log_dispersion.grad[-1:],
    }
    for name, gradient in last.items():
        assert (gradient != 0).all(), name


# --- the new component ---------------------------------------------------------------------------


def test_the_direction_is_the_one_that_explains_most():
    """Against a search over all directions of two unknown causes beside a known one."""
    generator = torch.Generator().manual_seed(0)
    causes = torch.randn(400, 3, generator=generator)
    seen = causes @ torch.randn(3, 3, generator=generator) + 2.0
    rest = causes[:, 1:] @ (torch.tensor([[1.0], [3.0]]) * torch.randn(2, 30, generator=generator))
    rest = rest + 5 * causes[:, :1]  # what the known component explains counts for nothing
    weights, bias = leading_direction(seen, causes[:, :1], rest)
    code = seen @ weights + bias
    assert float(code.mean()) == pytest.approx(0, abs=1e-5)
    assert float(code.std(correction=0)) == pytest.approx(1, rel=1e-5)

    def left(direction):
        """What remains of ``rest`` after a regression on the known cause and on a direction."""
        columns = torch.stack([torch.ones(400), causes[:, 0], direction], -1)
        return float((rest - columns @ torch.linalg.lstsq(columns, rest).solution).square().sum())

    angles = torch.linspace(0, torch.pi, 721)
    best = min(left(a.cos() * causes[:, 1] + a.sin() * causes[:, 2]) for a in angles)
    assert left(code) == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("case", [{"micro": 1}, {"micro": 3, "frame": "comoving"}], ids=str)
def test_a_new_component_is_of_order_one_and_news(case):
    data = with_mask(travelling_waves(noise=0.05))
    guide = trained(data, **case)[1]
    model, grown = grow(guide, data, case["micro"] + 2)
    assert model.network.micro == case["micro"] + 2
    train = datasets.select(data, "train")
    with torch.no_grad():
        field = torch.as_tensor(train["field"].values).nan_to_num()[:, :, None]
        code = grown.encode(field)[0].flatten(0, 1)[:, -2:]
    torch.testing.assert_close(code.std(0), torch.ones(2), rtol=0.2, atol=0)
    assert abs(float(code.T.corrcoef()[0, 1])) < 0.9
    network = model.network
    assert (network.state_scale[-2:] == 1).all()
    assert (network.state_rate[-2:] > 0.1).all()


def test_a_grown_model_trains_to_use_its_component():
    """Two waves need two components each: with one more the misfit falls."""
    import pyro_msm as msm

    data = travelling_waves(noise=0.0)
    model, guide = model_and_guide(data, micro=1)
    training = {
        "window_length": 6, "stride": 3, "windows": 8, "ramp_steps": 20, "calibrate": False,
        "validate_every": 50, "device": "cpu",
    }  # fmt: skip
    small = msm.fit(model, guide, data, steps=100, **training)
    large = msm.fit(*grow(guide, data), data, steps=100, **training)
    assert large.validation_error < 0.95 * small.validation_error


# --- what cannot be grown ------------------------------------------------------------------------


def test_what_cannot_be_grown_is_told():
    data = travelling_waves()
    _, guide = model_and_guide(data)
    with pytest.raises(InputError, match="2 microscale components cannot shrink to 1"):
        grow(guide, data, 1)
    with pytest.raises(InputError, match=r"\[1, 40\], the data have \[1, 20\]"):
        grow(guide, travelling_waves(grid=(20,)))
    with pytest.raises(InputError, match=r"boundaries \['periodic'\].*\['wall'\]"):
        grow(guide, travelling_waves(boundary="wall"))
    with pytest.raises(InputError, match=r"0 component\(s\) of parameters, the data have 2"):
        grow(guide, with_drivers(travelling_waves()))
    with pytest.raises(InputError, match="no train split"):
        grow(guide, travelling_waves(splits=("test",) * 4))


def test_known_physics_grows_with_the_model():
    data = travelling_waves()
    _, guide = trained(data, known_drift=lambda field, times, parameters: -field)
    model, grown = grow(guide, data)
    state, larger = states(guide, data)
    times = torch.zeros(len(state))
    with torch.no_grad():
        one, other = guide.model.network.drift(times, state), model.network.drift(times, larger)
    torch.testing.assert_close(other[:, : one.shape[1]], one, rtol=1e-4, atol=1e-5)
    assert grown.model.known_by_hand


def test_the_program_of_the_page_runs():
    import pyro_msm as msm

    page = (Path(__file__).parents[1] / "docs" / "multiscale.md").read_text()
    blocks = [block.split("```")[0] for block in page.split("```python")[1:]]
    (program,) = (block for block in blocks if "guides.grow" in block)
    assert program.count("steps=4000") == 2
    data = travelling_waves()
    model, guide = model_and_guide(data)
    names = {"msm": msm, "data": data, "model": model, "guide": guide}
    exec(program.replace("steps=4000", "steps=3, calibrate=False"), names)
    assert names["large"].forecaster.model.network.micro == 3
