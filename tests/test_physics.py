"""Known physics: its derivatives, the systems' own tendencies, storage, and every refusal."""

import numpy as np
import pytest
import torch

from pyro_msm import data as datasets
from pyro_msm.config import Config, ModelConfig, resolve
from pyro_msm.data import systems
from pyro_msm.errors import InputError
from pyro_msm.forecasting import MultiscaleForecaster, initial_window
from pyro_msm.forecasting.calibration import Calibration
from pyro_msm.forecasting.known_physics import chosen_physics, known_rate
from pyro_msm.models import MultiscaleSDE
from pyro_msm.nn import ScaleSeparation, apply_along_axes
from pyro_msm.nn.physics import FilteredEquation, WellResolved
from pyro_msm.runs import RunDirectory
from tests.small_fields import SIZES, tiny_configuration, training_windows, travelling_waves

NOW = torch.zeros(())


def decay(field, times, parameters):
    """A user's function: dζ/dt = −ζ, faster with time."""
    return (
        -(1 + times).reshape(*times.shape, *(1 for _ in range(field.dim() - times.dim()))) * field
    )


def flat(field, times, parameters):
    return field.flatten(1)


not_a_function = 3


def scales_of(points, macro, boundary="periodic", axes=1):
    return ScaleSeparation((points,) * axes, (macro,) * axes, (boundary,) * axes, sharp=True)


def equation(terms, scales, length=1.0, channels=1):
    return FilteredEquation(terms, scales, [length / n for n in scales.grid], channels).double()


def restricted(scales, field):
    matrices = [matrix.double() for matrix in scales.restriction()]
    return apply_along_axes(matrices, torch.as_tensor(field, dtype=torch.float64))


# --- derivatives ---------------------------------------------------------------------------------


@pytest.mark.parametrize("macro", [15, 20])
def test_linear_terms_are_exact_for_resolved_waves(macro):
    """u = cos(kx + φ), of which the kernel makes a multiple: ζ_t follows in closed form."""
    terms = {
        "advection": 0.7, "diffusion": 0.3, "dispersion": 0.02, "hyperviscosity": 1e-3
    }  # fmt: skip
    scales, length = scales_of(300, macro), 5.0
    x = torch.arange(300, dtype=torch.float64) * length / 300
    k = 2 * torch.pi * 3 / length
    wave = torch.polar(torch.ones_like(x), k * x + 0.4)
    symbol = -0.7j * k - 0.3 * k**2 + 0.02j * k**3 - 1e-3 * k**4
    found = equation(terms, scales, length)(restricted(scales, wave.real[None]), NOW, None)
    expected = restricted(scales, (symbol * wave).real[None])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_product_is_exact_for_resolved_waves_and_takes_none_for_another():
    """u u_x of three waves, whose products the coarse grid holds in part and must not mistake."""
    scales = scales_of(240, 12)
    x = torch.arange(240, dtype=torch.float64) / 240
    waves = [torch.cos(2 * torch.pi * (k * x + 0.1 * k)) for k in (1, 3, 5)]
    u = sum(waves)
    modes = torch.fft.rfft(-0.5 * u.square())
    k = torch.arange(121)
    modes = 2j * torch.pi * k * modes * (k < 6)
    found = equation({"self_advection": 1.0}, scales)(restricted(scales, u[None]), NOW, None)
    expected = restricted(scales, torch.fft.irfft(modes, 240)[None])
    # But for the shortest wave, which twelve points hold in one phase only.
    pair = [torch.fft.rfft(rate)[..., :6] for rate in (found, expected)]
    torch.testing.assert_close(*pair, rtol=1e-4, atol=1e-3)


def test_a_wall_mirrors_the_field():
    """cos(πmx/L) are the waves between reflecting walls, on coarse points that are not midway."""
    scales, k = scales_of(200, 20, "wall"), 3 * np.pi
    x = (torch.arange(200, dtype=torch.float64) + 0.5) / 200
    field = torch.stack([torch.cos(k * x), 0.3 * torch.cos(2 * k * x)])
    zeta = restricted(scales, field)
    rate = equation({"wave_speed": 2.0}, scales, channels=2)(zeta, NOW, None)
    torch.testing.assert_close(rate[0], zeta[1])
    torch.testing.assert_close(rate[1], -4 * k**2 * zeta[0], rtol=1e-3, atol=1e-2)


def test_open_ends_keep_their_values():
    scales = scales_of(128, 16, "open", axes=2)
    field = torch.rand(1, 16, 16, dtype=torch.float64)
    rate = equation({"self_advection": 1.0, "diffusion": 0.1}, scales)(field, NOW, None)[0]
    edge = torch.ones(16, 16, dtype=torch.bool)
    edge[1:-1, 1:-1] = False
    assert (rate[edge] == 0).all()
    assert (rate[~edge] != 0).all()


def test_an_open_axis_differentiates_a_parabola_between_its_ends():
    scales = scales_of(128, 32, "open")
    x = (scales.axes[0].coarse_index + 0.5).double() / 128
    rate = equation({"advection": 1.0}, scales)((x * (1 - x))[None], NOW, None)[0]
    torch.testing.assert_close(rate[6:-6], (2 * x - 1)[6:-6], rtol=0, atol=5e-3)


def test_batches_and_gradients():
    scales = scales_of(16, 4, "open", axes=2)
    made = equation({"self_advection": 1.0, "diffusion": 0.1}, scales)
    field = torch.rand(2, 3, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    together = made(field, NOW, None)
    torch.testing.assert_close(together[1, 2], made(field[1, 2], NOW, None))
    assert torch.autograd.gradcheck(lambda f: made(f, NOW, None), field[0, :1])


# --- the systems ---------------------------------------------------------------------------------


def smooth_state(system):
    """A long wave of the size of the system's fields, zero with its slope at the edges of 2-D."""
    x = system.grid()["x"] / system.domain[0]
    if len(system.shape) == 2:
        bump = np.sin(np.pi * x) ** 6
        return np.outer(bump, bump)[None, None]
    wave = 0.3 * np.cos(2 * np.pi * x) + 0.1 * np.cos(4 * np.pi * x)
    return np.repeat(wave[None, None], len(system.channels), 1)


def tendency(system, state):
    """du/dt of the system's own solver: one-sided differences in time of second order."""
    step = 1e-4
    one, two = (system.step(state, 0.0, duration) for duration in (step, 2 * step))
    return (4 * one - two - 3 * state) / (2 * step)


@pytest.mark.parametrize(
    ("name", "options", "sizes", "reached"),
    [
        ("kdv-1d", {"scheme": "published"}, (5, 10, 20), 2e-3),
        ("kdv-1d", {"scheme": "spectral"}, (5, 10, 20), 1e-4),
        ("kdv-1d-hard", {}, (5, 10, 20), 1e-4),
        ("burgers-1d", {}, (5, 10, 20), 2e-4),
        ("burgers-1d-hard", {"viscosity": 0.01}, (5, 10, 20), 2e-4),
        ("wave-1d", {}, (5, 10, 20), 1e-4),
        ("wave-1d-hard", {}, (5, 10, 20), 1e-4),
        ("wave-1d-second-order", {}, (5, 10, 20), 1e-3),
        ("wave-1d-second-order", {"walls": "periodic"}, (5, 10, 20), 1e-3),
        ("burgers-2d", {}, (8, 16, 32), 2e-3),
        ("burgers-2d-hard", {}, (8, 16, 32), 2e-3),
    ],
)
def test_equations_converge_to_the_tendency_of_the_systems_own_solver(
    name, options, sizes, reached
):
    system = systems.get(name, **options)
    state = smooth_state(system)
    exact, errors = tendency(system, state), []
    for size in sizes:
        scales = ScaleSeparation(system.shape, (size,) * len(system.shape), system.boundary, True)
        made = FilteredEquation(system.terms, scales, system.spacing, len(system.channels))
        found = made.double()(restricted(scales, state), NOW, None)
        wanted = restricted(scales, exact)
        errors.append(float((found - wanted).norm() / wanted.norm()))
    assert errors[-1] < reached
    assert errors[-1] < 0.2 * errors[0] or errors[0] < reached


WITHOUT_TERMS = (
    "shallow-water", "cylinder", "fitzhugh-nagumo", "advection-diffusion", "slow-fast",
)  # fmt: skip


@pytest.mark.parametrize("name", systems.names())
def test_every_system_has_an_equation_or_says_what_it_lacks(name):
    system = systems.get(name)
    if name.startswith(WITHOUT_TERMS):
        with pytest.raises(InputError, match=f"{name} has no equation of its own, for "):
            system.terms  # noqa: B018
    else:
        assert all(system.terms.values())


def test_the_constants_are_those_of_the_options():
    assert systems.get("burgers-1d", viscosity=0.002).terms["diffusion"] == 0.002
    spectral = systems.get("kdv-1d", scheme="spectral").terms
    assert spectral == {"self_advection": 1.0, "dispersion": 0.02}
    assert systems.get("kdv-1d").terms == spectral | {"hyperviscosity": pytest.approx(1e-4)}


# --- the model -----------------------------------------------------------------------------------


def burgers(trajectories=None, **options):
    counts = trajectories or {"train": 2, "validation": 1, "test": 1}
    return systems.get("burgers-1d-hard").simulate(
        counts, seed=3, points=200, frames=41, viscosity=2e-3, **options
    )


def untrained(data, physics, macro=40, **settings):
    torch.manual_seed(0)
    return MultiscaleSDE.for_data(data, macro, 2, physics=physics, **(SIZES | settings))


def test_an_untrained_model_drifts_by_its_physics_alone():
    data = burgers()
    terms = chosen_physics("system", data)
    network = untrained(data, terms).network
    state = network.state_mean + network.state_scale * torch.randn(3, 5, network.state_size)
    field = network.split(state)[0]
    found = network.split(network.drift(torch.zeros(3, 5), state))[0]
    spacing = [float(data["x"][1] - data["x"][0])]
    expected = FilteredEquation(terms, network.scales, spacing, 1)(field, NOW, None)
    torch.testing.assert_close(found, expected)


def test_without_training_physics_forecasts_the_coarse_field():
    """Free-running over the whole horizon, through shocks, from the first noisy snapshot."""
    data = burgers()
    forecaster = MultiscaleForecaster(
        ModelConfig(macro=40, micro=0, physics="system", drift_hidden=8)
    )
    forecaster.build(data)
    with torch.no_grad():
        forecaster.model.network.log_dispersion.fill_(-10.0)
    test = datasets.select(data, "test")
    times = test["time"].values
    found = forecaster.forecast(initial_window(test, 1), times, members=40, generator=0)
    truth = apply_along_axes(
        forecaster.model.network.scales.restriction(), torch.as_tensor(test["clean"].values)
    ).numpy()
    gap = found["macro"].mean("member").values - truth
    errors = np.linalg.norm(gap, axis=(2, 3)) / np.linalg.norm(truth, axis=(2, 3))
    assert errors.max() < 0.06


def test_the_closure_acts_on_long_waves_only():
    data = burgers()
    network = untrained(data, chosen_physics("system", data)).network
    with torch.no_grad():
        for parameter in network.macro_drift.parameters():
            parameter.normal_()
    network.known_drift = None
    state = network.state_scale * torch.randn(4, network.state_size)
    rate = network.split(network.drift(torch.zeros(4), state))[0]
    power = torch.fft.rfft(rate).abs().mean((0, 1))
    assert power[:11].min() > 1e3 * power[11:].max()


@pytest.mark.parametrize(("size", "boundary"), [(20, "periodic"), (16, "wall"), (21, "open")])
def test_well_resolved_waves_pass_and_others_do_not(size, boundary):
    scales = scales_of(101 if size == 21 else 10 * size, size, boundary)
    low = WellResolved(scales, 0.5)
    place = (scales.axes[0].coarse_index + 0.5) / scales.grid[0]
    turn = 2 * torch.pi if boundary == "periodic" else torch.pi
    most = size // 4 if boundary == "periodic" else size // 2
    for wave in range(size // 2 if boundary == "periodic" else size - 1):
        field = torch.cos(turn * wave * place)[None]
        expected = field if wave <= most else torch.zeros_like(field)
        torch.testing.assert_close(low(field), expected, rtol=0, atol=1e-4)


def test_the_kernel_of_known_physics_is_sharp_and_fixed():
    data = burgers()
    with_physics, without = (untrained(data, p) for p in ({"diffusion": 1.0}, None))
    names = [name for name, _ in with_physics.named_parameters()]
    assert not any(name.endswith("taps") for name in names)
    assert any(name.endswith("taps") for name, _ in without.named_parameters())
    field = torch.as_tensor(data["clean"].values[0])
    with torch.no_grad():
        rest = [m.network.scales.beyond_macro(field).norm() for m in (with_physics, without)]
    assert rest[0] < 0.3 * rest[1]


def test_steps_resolve_the_physics():
    data = burgers()
    model = untrained(data, {"diffusion": 0.5})
    expected = 0.5 * (np.pi / 0.025) ** 2
    assert known_rate(model) == pytest.approx(expected, rel=1e-4)
    forecaster = MultiscaleForecaster(ModelConfig(macro=40, micro=2, physics={"diffusion": 0.5}))
    forecaster.build(data)
    assert (
        forecaster.rollout_step * expected < 0.21
    )  # nodes of what is learned may be farther apart
    assert known_rate(untrained(data, None)) == 0


def test_the_rate_of_a_nonlinear_equation_is_that_of_its_fastest_fields():
    data = burgers()
    model = untrained(data, {"self_advection": 1.0})
    network = model.network
    fastest = max(abs(float(network.state_mean[0] + s * network.state_scale[0])) for s in (-3, 3))
    # The shortest wave of the coarse grid has no derivative there; the next one is the fastest.
    assert known_rate(model) == pytest.approx(fastest * 2 * np.pi * 19, rel=1e-3)


# --- configuration and storage -------------------------------------------------------------------


def test_configuration_takes_names_tables_and_none(tmp_path):
    def chosen(*overrides):
        return resolve("kdv-1d", overrides=list(overrides)).model.physics

    assert chosen() is None
    assert chosen("model.physics=system") == "system"
    assert chosen("model.physics=system", "model.physics=none") is None
    assert chosen("model.physics=mine:drift") == "mine:drift"
    table = chosen("model.physics.self_advection=1.0", "model.physics.diffusion=0.01")
    assert table == {"self_advection": 1.0, "diffusion": 0.01}
    config = resolve("kdv-1d", overrides=["model.physics.dispersion=0.02"])
    config.save(tmp_path / "config.toml")
    assert Config.load(tmp_path / "config.toml") == config


@pytest.mark.parametrize(
    "physics", ["system", {"self_advection": 1.0, "diffusion": 0.01}, "tests.test_physics:decay"]
)
def test_training_and_storage_round_trip(physics, tmp_path):
    data = burgers()
    model, training = tiny_configuration(steps=4, validate_every=2)
    model = model.model_copy(update={"physics": physics})
    run = RunDirectory.create(tmp_path / "run", Config(model=model, training=training))
    made = MultiscaleForecaster(model, training).fit(data, run=run, device="cpu")
    window, times = initial_window(datasets.select(data, "test"), 1), data["time"].values[:9]
    expected = made.forecast(window, times, 2, 1)
    made.save(tmp_path / "saved")
    for loaded in (
        MultiscaleForecaster.from_run(run), MultiscaleForecaster.load(tmp_path / "saved")
    ):  # fmt: skip
        assert loaded.model.settings == made.model.settings
        found = loaded.forecast(window, times, 2, 1)
        np.testing.assert_array_equal(found["field"], expected["field"])
    without = MultiscaleSDE(**(made.model.settings | {"physics": None}))
    assert without.network.known_drift is None


def test_a_function_sees_windows_with_their_times():
    data = burgers()
    model = untrained(data, "tests.test_physics:decay")
    batch = training_windows(data).draw(4)
    assert torch.isfinite(model.path(batch, model.network).rsample()).all()
    assert known_rate(model) == pytest.approx(1.0)


# --- refusals ------------------------------------------------------------------------------------


def told(physics, data, **settings):
    with pytest.raises(InputError) as caught:
        MultiscaleSDE.for_data(data, 10, 2, physics=chosen_physics(physics, data), **SIZES)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("physics", "expected"),
    [
        ({}, "model.physics names no term: expected some of advection, self_advection,"),
        ({"difusion": 1.0}, "model.physics names the term 'difusion': expected some of advection"),
        ({"wave_speed": 1.0}, "equation of wave_speed has 2 channel(s), and the field has 1"),
        ("system", "come from, and these come from none: give the terms"),
        ("burgers", "model.physics = 'burgers': expected 'none', 'system', a table of terms, or"),
        ("nowhere.at_all:drift", "cannot be imported (No module named 'nowhere'): install"),
        ("tests.test_physics:nothing", "has no attribute 'nothing'"),
        ("tests.test_physics:not_a_function", "'tests.test_physics:not_a_function' is of <class"),
        ("tests.test_physics:flat", "returns (1, 10) for a state of shape (1, 1, 10): expected"),
        ("math:sqrt", "'math:sqrt' fails for a state of shape (1, 1, 10): TypeError("),
    ],
)
def test_wrong_physics_is_told(physics, expected):
    assert expected in told(physics, travelling_waves())


def test_physics_that_does_not_fit_the_field_is_told():
    walls = travelling_waves(boundary="wall")
    expected = "self_advection is known at periodic and open boundaries, and here is a wall one"
    assert expected in told({"self_advection": 1.0}, walls)
    two = travelling_waves(channels=2)
    assert "equation of diffusion has 1 channel(s), and the field has 2" in told(
        {"diffusion": 1.0}, two
    )
    assert "wave_speed stands alone, and here are wave_speed, diffusion" in told(
        {"wave_speed": 1.0, "diffusion": 1.0}, two
    )


def test_a_system_without_an_equation_is_told():
    data = travelling_waves(grid=(20, 20), boundary="open").assign_attrs(system="shallow-water-2d")
    assert told("system", data) == (
        "model.physics = 'system': what is observed of shallow-water-2d has no equation of its "
        "own, for the water's momentum is not observed; use 'none'"
    )
    model, training = tiny_configuration()
    forecaster = MultiscaleForecaster(model.model_copy(update={"physics": "system"}), training)
    with pytest.raises(InputError, match="shallow-water-2d has no equation"):
        forecaster.check(data)
    assert "these come from 'elsewhere'" in told("system", data.assign_attrs(system="elsewhere"))


def test_an_equation_needs_the_spacing():
    with pytest.raises(InputError, match="needs the spacing"):
        MultiscaleSDE((40,), (10,), ("periodic",), physics={"diffusion": 1.0})


def test_the_sharp_kernel_of_a_periodic_axis_truncates_the_fourier_series():
    """And prolongation sums it again, for odd and even numbers of points of both grids."""
    for points, macro in ((60, 12), (45, 15), (60, 15), (45, 9)):
        scales = scales_of(points, macro)
        field = torch.randn(points, generator=torch.Generator().manual_seed(points + macro))
        waves = torch.fft.rfft(field)
        waves[(macro + 1) // 2 :] = 0
        shown = field - scales.beyond_macro(field)
        torch.testing.assert_close(shown, torch.fft.irfft(waves, points), rtol=0, atol=1e-5)


def test_an_untrained_model_is_the_equation_on_the_coarse_grid():
    """Without noise it follows Galerkin's method, to the error of the time step."""
    data = burgers()
    forecaster = MultiscaleForecaster(ModelConfig(macro=40, micro=3, physics="system", basis=6))
    forecaster.build(data)
    forecaster.calibration = Calibration(0.0, 0.0)
    test = datasets.select(data, "test")
    clean = test.assign(field=test["clean"])
    found = forecaster.forecast(initial_window(clean, 1), test["time"].values)
    gap = np.linalg.norm(found["field"].values[0] - test["clean"].values, axis=(2, 3))
    assert (gap / np.linalg.norm(test["clean"].values, axis=(2, 3))).max() < 0.02
