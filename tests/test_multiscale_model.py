"""The generative program and its guide: decoding, drift, drivers, masks, and plain SVI."""

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Predictive, TraceMeanField_ELBO

from pyro_msm.distributions import GaussianPath, SDEPath
from pyro_msm.errors import InputError
from pyro_msm.guides import AmortizedPathGuide
from pyro_msm.models import MultiscaleSDE
from pyro_msm.models.initialise import check_macro, fitting_sizes, measure, principal_basis
from tests.small_fields import (
    model_and_guide,
    training_windows,
    travelling_waves,
    with_drivers,
    with_mask,
)

SHAPES = [
    {"grid": (40,), "channels": 1, "micro": 2, "boundary": "periodic"},
    {"grid": (40,), "channels": 2, "micro": 3, "boundary": "open"},
    {"grid": (20, 10), "channels": 2, "micro": 2, "boundary": "wall"},
    {"grid": (40,), "channels": 1, "micro": 0, "boundary": "periodic"},
    {"grid": (20, 10), "channels": 2, "micro": 0, "boundary": "periodic"},
    {"grid": (40,), "channels": 2, "micro": 4, "boundary": "periodic", "frame": "comoving"},
    {"grid": (20, 10), "channels": 2, "micro": 2, "boundary": "periodic", "order": 2},
]


def shaped(case, **settings):
    case = {"frame": "fixed", "order": 1} | case
    micro, frame, order = case.pop("micro"), case.pop("frame"), case.pop("order")
    data = travelling_waves(**case)
    macro = 10 if len(case["grid"]) == 1 else 5
    settings = {"frame": frame, "order": order, "snapshots": order} | settings
    return data, *model_and_guide(data, macro, micro, **settings)


def states(model, *lead, seed=0):
    """States of the size that the data's have."""
    generator = torch.Generator().manual_seed(seed)
    network = model.network
    noise = torch.randn(*lead, network.state_size, generator=generator)
    return network.state_mean + network.state_scale * noise


def shaken(model, guide, seed=0):
    """All parameters moved a little, so that none stands at a special value."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in [*model.parameters(), *guide.parameters()]:
            parameter.add_(0.03 * torch.randn_like(parameter))
    return model, guide


# --- decoding ------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", SHAPES, ids=str)
def test_mean_field_is_the_mean_of_the_experts(case, monkeypatch):
    data, model, guide = shaped(case)
    shaken(model, guide)
    state = states(model, 3, 4)
    with torch.no_grad():
        fast, law = model.network.mean_field(state), model.network.experts(state)
        assert fast.shape == (3, 4, *data["field"].shape[2:])
        torch.testing.assert_close(fast, law.mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model.network.mean_field(state[0, 0]), fast[0, 0])
        monkeypatch.setattr("pyro_msm.nn.multiscale.LARGEST_MATRIX", 0)
        torch.testing.assert_close(model.network.mean_field(state), law.mean)


def test_macro_only_observes_with_the_macro_expert_alone():
    _, model, _ = shaped(SHAPES[3])
    state = states(model, 2)
    law = model.network.experts(state)
    torch.testing.assert_close(law.mean, model.network.macro_part(state))
    torch.testing.assert_close(
        law.variance, model.network.log_macro_var.exp().expand(2, 1, 1).expand(law.batch_shape)
    )


@pytest.mark.parametrize("case", SHAPES[:3], ids=str)
def test_an_untrained_model_encodes_and_decodes_the_data_roughly(case):
    """The initial weights come from data: the restriction and the leading modes of the rest."""
    data, model, guide = shaped(case)
    field = torch.as_tensor(data["clean"].values[0])
    with torch.no_grad():
        mean, log_var = guide.encode(field[:, None])
        error = (model.network.mean_field(mean) - field).norm() / field.norm()
    assert log_var.shape == mean.shape == (41, model.network.state_size)
    assert float(error) < 0.6


# --- drift ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [SHAPES[0], SHAPES[4], SHAPES[6]], ids=str)
def test_macro_drift_is_equivariant_to_translation_on_periodic_grids(case):
    _, model, guide = shaped(case)
    network = shaken(model, guide)[0].network
    times, state = torch.zeros(3), states(model, 3)
    macro, micro = network.split(state)
    field = macro.unflatten(-1, network.macro)
    axes = tuple(range(-len(network.macro), 0))
    shifts = (2,) * len(axes)
    moved = torch.cat([field.roll(shifts, axes).flatten(1), micro], -1)
    there, _ = network.split(network.drift(times, moved))
    here, _ = network.split(network.drift(times, state))
    expected = here.unflatten(-1, network.macro).roll(shifts, axes).flatten(-len(axes))
    torch.testing.assert_close(there, expected, rtol=1e-4, atol=1e-5)


def test_rates_of_the_macroscale_are_the_snapshots_slope_and_move_its_values():
    """Where everything grows at one rate; what is observed does not see the rates themselves."""
    data, model, guide = shaped(SHAPES[6], snapshots=3)
    network, half = model.network, 2 * 25
    assert network.macro_values == 2 * half
    snapshots = torch.randn(4, 1, 2, 1, 1).expand(4, 3, 2, 20, 10)
    growth = 0.7 * float(data["time"][1]) * torch.arange(3)[:, None, None, None]
    with torch.no_grad():
        mean, log_var = guide.encode(snapshots + growth)
        torch.testing.assert_close(
            mean[:, half : 2 * half], torch.full((4, half), 0.7), atol=1e-4, rtol=0
        )
        faster = mean.clone()
        faster[:, half : 2 * half] += 1.5
        torch.testing.assert_close(network.mean_field(faster), network.mean_field(mean))
        for parameter in network.macro_drift.parameters():
            parameter.zero_()
        rate = network.drift(torch.zeros(4), mean)
    assert log_var.shape == mean.shape
    torch.testing.assert_close(rate[:, :half], mean[:, half : 2 * half])
    assert not rate[:, half : 2 * half].any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"snapshots": 1}, "model.snapshots of at least 2"),
        ({"frame": "comoving", "snapshots": 2}, "leave out model.frame"),
        ({"physics": {"diffusion": 0.1}, "snapshots": 2}, "leave out model.physics"),
    ],
)
def test_what_does_not_go_with_rates_is_told(settings, message):
    with pytest.raises(InputError, match=message):
        model_and_guide(travelling_waves(), 10, 4, order=2, **settings)


def test_a_moving_frame_makes_the_whole_model_equivariant_to_translation():
    """By coarse cells: encoder, decoder and drift."""
    data, model, guide = shaped(SHAPES[5])
    shaken(model, guide)
    network = model.network
    field = torch.as_tensor(data["field"].values[0, :5])[:, None]
    cells = 3
    turn = torch.tensor(2 * torch.pi * cells / 10)
    turned = torch.stack([turn.cos(), -turn.sin(), turn.sin(), turn.cos()]).reshape(2, 2)

    def move(state):
        """Of a state, or of its rate."""
        macro, micro = network.split(state)
        place, inner = micro[..., :2] @ turned.T, micro[..., 2:]
        return torch.cat([macro.roll(cells, -1).flatten(-2), place, inner], -1)

    with torch.no_grad():
        state, log_var = guide.encode(field)
        there, log_var_there = guide.encode(field.roll(4 * cells, -1))
        torch.testing.assert_close(there, move(state), rtol=1e-2, atol=2e-3)
        # Shared along the channel's points as it is, the spread is that of the parameters.
        assert log_var.shape == log_var_there.shape
        decoded = network.mean_field(move(state))
        torch.testing.assert_close(
            decoded, network.mean_field(state).roll(4 * cells, -1), rtol=1e-3, atol=1e-4
        )
        times = torch.zeros(5)
        torch.testing.assert_close(
            network.drift(times, move(state)), move(network.drift(times, state)),
            rtol=1e-3, atol=1e-3,
        )  # fmt: skip


def test_drift_sees_parameters_forcing_and_time_where_told():
    data = with_drivers(travelling_waves())
    model, _ = model_and_guide(data, time_input=True)
    batch = training_windows(data).draw(4)
    network = model.network
    times = batch.start[:, None] + batch.times
    context = network.context(times, batch.parameters, batch.forcing)
    assert context.shape == (4, 6, 4)
    train = data.isel(trajectory=slice(0, 2))
    scale = torch.as_tensor(train["parameters"].values.std(0), dtype=torch.float32)
    mean = torch.as_tensor(train["parameters"].values.mean(0), dtype=torch.float32)
    torch.testing.assert_close(context[:, 3, :2], (batch.parameters - mean) / scale)
    torch.testing.assert_close(context[..., 3], times / 1.0)
    state = states(model, 4, 6)
    base = network.drift(times, state, context)
    for component in range(4):
        changed = context.clone()
        changed[..., component] += 1
        assert (network.drift(times, state, changed) != base).all()


def test_time_is_not_seen_by_default():
    _, model, _ = shaped(SHAPES[0])
    assert model.network.context(torch.zeros(2, 3), None, None) is None


def test_known_drift_is_added_in_units_of_the_field():
    """The same callable serves windows (batch, n) and single times, with parameters alongside."""
    data = with_drivers(travelling_waves())

    def decay(field, times, parameters):
        rate = parameters[..., 0] * (1 + times)
        return -rate[..., None, None] * field

    model, _ = shaken(*model_and_guide(data, known_drift=decay))
    batch = training_windows(data).draw(4)
    times, state = batch.start[:, None] + batch.times, states(model, 4, 6)
    law = model.path(batch, model.network)
    both, model.network.known_drift = law.drift(times, state), None
    difference, model.network.known_drift = both - law.drift(times, state), decay
    rate = batch.parameters[:, :1] * (1 + times)
    expected = torch.cat([-rate[..., None] * state[..., :10], torch.zeros(4, 6, 2)], -1)
    torch.testing.assert_close(difference, expected, rtol=1e-3, atol=1e-4)
    torch.manual_seed(0)
    assert torch.isfinite(law.rsample((2,))).all()


# --- the program ---------------------------------------------------------------------------------


def test_sites_and_their_shapes():
    data, model, guide = shaped(SHAPES[1])
    batch = training_windows(data).draw(4)
    trace = poutine.trace(model).get_trace(batch)
    guide_trace = poutine.trace(guide).get_trace(batch)
    state, field = trace.nodes["state"], trace.nodes["field"]
    assert isinstance(state["fn"], SDEPath)
    assert isinstance(guide_trace.nodes["state"]["fn"], GaussianPath)
    assert state["value"].shape == guide_trace.nodes["state"]["value"].shape == (4, 6, 23)
    assert field["value"].shape == (4, 6, 2, 40)
    assert (state["fn"].batch_shape, field["fn"].batch_shape) == ((4,), (4,))
    assert field["is_observed"]


@pytest.mark.parametrize("case", SHAPES, ids=str)
def test_prior_predictive_sampling(case):
    data, model, _ = shaped(case)
    batch = training_windows(data).draw(3)
    torch.manual_seed(0)
    field = model(batch, observed=False)
    assert field.shape == batch.observation.shape
    assert torch.isfinite(field).all()
    drawn = Predictive(model, num_samples=2)(batch, observed=False)
    assert drawn["field"].shape == (2, *field.shape)
    assert not torch.equal(drawn["field"][0], drawn["field"][1])


@pytest.mark.parametrize("case", SHAPES, ids=str)
def test_every_parameter_gets_a_gradient(case):
    data, model, guide = shaped(case, time_input=True, snapshots=2)
    shaken(model, guide)
    batch = training_windows(data, snapshots=2).draw(4)
    batch = batch.__class__(**(batch.__dict__ | {"initial_weight": torch.ones(4)}))
    with pyro.settings.context(module_local_params=True):
        TraceMeanField_ELBO()(model, guide)(batch).backward()
    for name, parameter in [*model.named_parameters(), *guide.named_parameters()]:
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert (parameter.grad != 0).any(), name


def test_every_parameter_gets_a_gradient_with_parameters_and_forcing():
    data = with_drivers(travelling_waves())
    model, guide = model_and_guide(data)
    batch = training_windows(data).draw(4)
    with pyro.settings.context(module_local_params=True):
        TraceMeanField_ELBO()(model, guide)(batch).backward()
    for drift in (model.network.macro_drift.context, model.network.micro_drift.network[0]):
        assert (drift.weight.grad[:, -3:] != 0).all()


def gradients(data, batch, seed=0):
    model, guide = model_and_guide(data, seed=seed)
    torch.manual_seed(1)
    with pyro.settings.context(module_local_params=True):
        loss = TraceMeanField_ELBO()(model, guide)(batch)
    loss.backward()
    return loss, [p.grad for p in [*model.parameters(), *guide.parameters()]]


def test_what_was_not_observed_changes_nothing():
    """NaN there reaches no gradient; nor does any finite number."""
    data = with_mask(travelling_waves())
    filled = data.copy()
    filled["field"] = data["field"].fillna(5.0)
    generators = [torch.Generator().manual_seed(0) for _ in range(2)]
    batches = [
        training_windows(d).draw(4, g) for d, g in zip((data, filled), generators, strict=True)
    ]
    (loss, found), (other, same) = (gradients(data, batch) for batch in batches)
    assert torch.isfinite(loss)
    assert all(torch.isfinite(g).all() for g in found)
    torch.testing.assert_close((loss, *found), (other, *same), rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("fill", [0.0, -9999.0, np.nan])
def test_what_stands_under_the_mask_is_no_part_of_the_scales(fill):
    data = with_mask(travelling_waves(), share=0.1)
    data["field"] = data["field"].fillna(fill)
    whole, gaps = (measure(each, 10, 2, 20) for each in (travelling_waves(), data))
    for name, value in whole.buffers.items():
        if name.startswith("state_"):
            torch.testing.assert_close(gaps.buffers[name], value, rtol=0.4, atol=0.1)
    gapless, found = (s.parameters["log_macro_var"] for s in (whole, gaps))
    torch.testing.assert_close(found, gapless, rtol=0, atol=1.0)


# --- plain Pyro ----------------------------------------------------------------------------------


def test_plain_svi_trains_two_models_in_one_process_without_sharing():
    data = travelling_waves()
    windows = training_windows(data)
    generator = torch.Generator().manual_seed(0)
    pairs = [model_and_guide(data, micro=2), model_and_guide(data, micro=2, seed=1)]
    names = [{n for n, _ in m.named_parameters()} for m, _ in pairs]
    assert names[0] == names[1]
    before = [[p.detach().clone() for p in m.parameters()] for m, _ in pairs]
    losses = []
    for model, guide in pairs:
        svi = SVI(model, guide, pyro.optim.Adam({"lr": 5e-3}), loss=TraceMeanField_ELBO())
        losses.append([svi.step(windows.draw(4, generator)) for _ in range(60)])
        first = [p.detach().clone() for p in pairs[0][0].parameters()]
        if len(losses) == 1:
            after_first = first
            untouched = [p.detach() for p in pairs[1][0].parameters()]
            torch.testing.assert_close(untouched, before[1], rtol=0, atol=0)
    torch.testing.assert_close(first, after_first, rtol=0, atol=0)
    for (model, guide), old, loss in zip(pairs, before, losses, strict=True):
        assert sum(loss[-10:]) < 0.9 * sum(loss[:10])
        moved = [bool((p != q).any()) for p, q in zip(model.parameters(), old, strict=True)]
        assert all(moved)
        ids = {id(p.unconstrained()) if hasattr(p, "unconstrained") else id(p)
               for p in pyro.get_param_store()._params.values()}  # fmt: skip
        assert {id(p) for p in [*model.parameters(), *guide.parameters()]} <= ids


def test_two_guides_of_one_model_share_nothing_under_plain_svi():
    data = travelling_waves()
    windows = training_windows(data)
    model, first = model_and_guide(data)
    second = AmortizedPathGuide(model)
    SVI(model, first, pyro.optim.Adam({"lr": 0.1}), TraceMeanField_ELBO()).step(windows.draw(4))
    before = [p.detach().clone() for p in first.parameters()]
    other = [p.detach().clone() for p in second.parameters()]
    SVI(model, second, pyro.optim.Adam({"lr": 0.1}), TraceMeanField_ELBO()).step(windows.draw(4))
    torch.testing.assert_close([p.detach() for p in first.parameters()], before, rtol=0, atol=0)
    moved = [bool((p != q).any()) for p, q in zip(second.parameters(), other, strict=True)]
    assert any(moved)


def test_two_models_interleaved_under_local_parameters():
    data = travelling_waves()
    windows = training_windows(data)
    with pyro.settings.context(module_local_params=True):
        for seed in (0, 1):
            model, guide = model_and_guide(data, seed=seed)
            loss = TraceMeanField_ELBO()(model, guide)
            torch.manual_seed(0)
            optimiser = torch.optim.Adam(loss.parameters(), lr=5e-3)
            values = []
            for _ in range(30):
                value = loss(windows.draw(4))
                optimiser.zero_grad()
                value.backward()
                optimiser.step()
                values.append(float(value.detach()))
            assert sum(values[-5:]) < sum(values[:5])
    assert not list(pyro.get_param_store().keys())


# --- sizes ---------------------------------------------------------------------------------------


def test_a_coarse_size_must_fit_the_grid():
    assert fitting_sizes(12, "periodic") == [2, 3, 4, 6, 12]
    assert fitting_sizes(13, "wall") == [2, 3, 4, 5, 7, 13]
    with pytest.raises(InputError, match=r"model.macro = 7 does not divide.*40 points.*try 4, 5, "):
        MultiscaleSDE.for_data(travelling_waves(), macro=7)
    with pytest.raises(InputError, match="names 2 axes, the field has 1"):
        check_macro([10, 10], (40,), ["periodic"])


def test_principal_basis_finds_the_modes_above_the_noise():
    torch.manual_seed(0)
    modes = torch.linalg.qr(torch.randn(60, 4)).Q.T
    for count in (40, 300):
        rows = 3 * torch.randn(count, 4) @ modes + 0.05 * torch.randn(count, 60) + 2
        basis = principal_basis(rows, largest=20, least=1)
        assert basis.rows.shape == basis.modes.shape == (4, 60)
        coefficients = (rows - basis.mean) @ basis.rows.T
        torch.testing.assert_close(
            coefficients.T.cov(correction=0), torch.eye(4), atol=1e-3, rtol=0
        )
        rest = rows - basis.mean - coefficients @ basis.modes
        assert float(rest.std()) == pytest.approx(0.05, rel=0.1)
    assert len(principal_basis(rows, largest=2, least=1).rows) == 2
    assert len(principal_basis(rows, largest=20, least=7).rows) == 7


def test_more_micro_components_than_modes_are_refused():
    with pytest.raises(InputError, match=r"model.micro = 50 .*40"):
        MultiscaleSDE.for_data(travelling_waves(), macro=10, micro=50)


def test_a_guide_uses_the_restriction_of_its_model():
    data, model, guide = shaped(SHAPES[0])
    assert isinstance(guide, AmortizedPathGuide)
    assert not any(name.startswith("model") for name, _ in guide.named_parameters())
    field = torch.as_tensor(data["field"].values[0, :3])[:, None]
    with torch.no_grad():
        before = guide.encode(field)[0][:, :10]
        model.network.scales.axes[0].taps[0] += 1.0
        assert (guide.encode(field)[0][:, :10] != before).any()
