"""The networks of the drift, and the maps of the microscale state."""

import pytest
import torch

from pyro_msm.nn import MacroDrift, MicroDecoder, MicroDrift, ResidualMap, mlp


def macro_drift(macro, boundary, channels=1, context=0, neighbourhood=5, layers=2, seed=0):
    torch.manual_seed(seed)
    network = MacroDrift(macro, boundary, channels, context, neighbourhood, 16, layers)
    return network.double()


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_macro_drift_is_one_perceptron_on_every_neighbourhood(layers):
    drift = macro_drift((7,), ("periodic",), channels=2, context=3, layers=layers)
    macro, context = normal(4, 2, 7), normal(4, 3, seed=1)
    got = drift(macro, context)
    assert got.shape == (4, 2, 7)
    for point in range(7):
        seen = torch.stack([macro[..., (point + j) % 7] for j in (-2, -1, 0, 1, 2)], -1)
        hidden = drift.first(seen.flatten(1)) + drift.context(context)
        torch.testing.assert_close(got[..., point], drift.rest(torch.nn.functional.silu(hidden)))


@pytest.mark.parametrize("boundary", ["periodic", "wall", "open"])
def test_macro_drift_in_two_dimensions_sees_the_square_around_a_point(boundary):
    rows, columns = 6, 5
    drift = macro_drift((rows, columns), ("periodic", boundary), neighbourhood=3)
    macro = normal(2, 1, rows * columns)
    field = macro.unflatten(-1, (rows, columns))
    mode = {"periodic": "circular", "wall": "replicate", "open": "replicate"}[boundary]
    # A ghost point beside the edge repeats it, whether mirrored or held.
    padded = torch.nn.functional.pad(field, (0, 0, 1, 1), mode="circular")
    padded = torch.nn.functional.pad(padded, (1, 1, 0, 0), mode=mode)
    got = drift(macro, None).unflatten(-1, (rows, columns))
    for i, j in [(0, 0), (2, 4), (5, 2), (3, 3)]:
        seen = padded[..., i : i + 3, j : j + 3].flatten(1)
        hidden = torch.nn.functional.silu(drift.first(seen))
        torch.testing.assert_close(got[..., i, j], drift.rest(hidden))


def test_macro_drift_is_equivariant_to_translation_on_periodic_grids():
    drift = macro_drift((6, 5), ("periodic", "periodic"), channels=2, context=3)
    macro, context = normal(4, 2, 6, 5), normal(4, 3, seed=1)
    moved = macro.roll((2, 1), (-2, -1))
    there = drift(macro.flatten(-2), context).unflatten(-1, (6, 5)).roll((2, 1), (-2, -1))
    torch.testing.assert_close(drift(moved.flatten(-2), context).unflatten(-1, (6, 5)), there)


def test_macro_drift_is_local():
    drift = macro_drift((12,), ("open",))
    macro = normal(1, 1, 12)
    jacobian = torch.autograd.functional.jacobian(lambda m: drift(m, None), macro)[0, 0, :, 0, 0]
    far = (torch.arange(12)[:, None] - torch.arange(12)).abs() > 2
    assert (jacobian[far] == 0).all()
    assert (jacobian[~far] != 0).all()


def test_more_neighbours_than_points_wrap_around():
    drift = macro_drift((2,), ("periodic",))
    assert drift(normal(3, 1, 2), None).shape == (3, 1, 2)


def test_micro_drift_sees_everything_and_projects_large_macro_states():
    for macro_values, projects in ((8, False), (30, True)):
        torch.manual_seed(0)
        drift = MicroDrift(3, macro_values, 2, view=16, hidden=8, layers=2).double()
        assert isinstance(drift.view, torch.nn.Linear) is projects
        arguments = [normal(5, n, seed=n).requires_grad_() for n in (3, macro_values, 2)]
        result = drift(*arguments)
        assert result.shape == (5, 3)
        for gradient in torch.autograd.grad(result.square().sum(), arguments):
            assert (gradient != 0).all()


def test_perceptron_has_its_layers_and_starts_near_zero_where_wanted():
    network = mlp(3, 2, hidden=16, layers=3)
    assert sum(isinstance(part, torch.nn.Linear) for part in network) == 4
    assert (mlp(3, 2, 16, scale=0.0)(torch.randn(5, 3)) == 0).all()


def test_residual_map_is_linear_plus_perceptron():
    torch.manual_seed(0)
    linear = torch.randn(4, 3)
    mapping = ResidualMap(linear, hidden=8)
    value = torch.randn(5, 3)
    torch.testing.assert_close(mapping(value), value @ linear.T + mapping.network(value))


def test_decoder_writes_in_its_basis():
    torch.manual_seed(0)
    decoder = MicroDecoder(torch.randn(6, 40), micro=2, hidden=8)
    decoder.offset.data.normal_()
    micro = torch.randn(3, 4, 2)
    expected = decoder.coefficients(micro) @ decoder.basis + decoder.offset
    assert decoder(micro).shape == (3, 4, 40)
    torch.testing.assert_close(decoder(micro), expected)
    torch.testing.assert_close(decoder(micro[0, 0]), expected[0, 0])
