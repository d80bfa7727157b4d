"""What D_ζ adds to the linear prolongation: where it writes, its equivariance, refusals."""

import pytest
import torch

from pyro_msm.errors import InputError
from pyro_msm.models import MultiscaleSDE
from pyro_msm.nn import LocalDetail
from tests.small_fields import SIZES, travelling_waves


def moved(detail, seed=0):
    """With a last layer that is not zero."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in detail.network[-1].parameters():
            parameter.normal_()
    return detail


def test_nothing_is_added_at_first():
    detail = LocalDetail((12, 8), (3, 4), ("periodic", "wall"), 2, 6)
    assert not detail(torch.randn(7, 2, 12)).any()


def test_a_cell_depends_on_the_two_points_to_either_side_and_on_no_other():
    detail = moved(LocalDetail((60,), (20,), ("periodic",), 1, 6))
    macro = torch.randn(1, 20)
    nudged = macro.clone()
    nudged[0, 7] += 1
    changed = (detail(macro) != detail(nudged)).view(20, 3).all(1)
    assert changed.nonzero().flatten().tolist() == [5, 6, 7, 8, 9]


@pytest.mark.parametrize(("axis", "cells"), [(0, 2), (1, 3)])
def test_a_shift_by_cells_shifts_the_detail(axis, cells):
    detail = moved(LocalDetail((30, 24), (6, 8), ("periodic", "periodic"), 2, 5))
    macro = torch.randn(3, 2, 6, 8)
    there = detail(macro.roll(cells, 2 + axis).flatten(2))
    expected = detail(macro.flatten(2)).roll(cells * detail.cell[axis], 2 + axis)
    torch.testing.assert_close(there, expected)


def test_cells_that_are_not_equal_are_refused():
    with pytest.raises(InputError, match=r"model.macro = \[21\] does not divide .*\[101\]"):
        LocalDetail((101,), (21,), ("open",), 1, 8)


@pytest.mark.parametrize("grid", [(40,), (20, 10)])
def test_a_model_with_detail_decodes_the_same_everywhere(grid):
    """The mean of the experts at all points, at some of them, and by the short cut."""
    data = travelling_waves(grid=grid, channels=2)
    model = MultiscaleSDE.for_data(data, 5, 3, detail=4, **SIZES)
    network = model.network
    moved(network.detail)
    state = network.state_mean + network.state_scale * torch.randn(6, network.state_size)
    with torch.no_grad():
        whole = network.experts(state).mean
        some = torch.tensor([0, 17, 39])
        at = network.experts(state, some).mean
        torch.testing.assert_close(network.mean_field(state), whole, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(at, whole.flatten(2)[..., some], rtol=1e-4, atol=1e-5)
        flat = network.detail
        network.detail = None
        assert (network.mean_field(state) - whole).abs().max() > 0.01
        network.detail = flat


def test_detail_learns_what_the_coarse_points_tell():
    """y = D ζ + (ζ/2)² inside each cell: regression finds it, and it carries over to other ζ."""
    torch.manual_seed(0)
    detail = LocalDetail((60,), (20,), ("periodic",), 1, 16)
    optimizer = torch.optim.Adam(detail.parameters(), 1e-2)

    def wanted(macro):
        return (0.25 * macro.square()).repeat_interleave(3, -1)

    for _ in range(400):
        macro = torch.randn(64, 1, 20)
        loss = (detail(macro) - wanted(macro)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    macro = torch.randn(500, 1, 20)
    with torch.no_grad():
        assert (detail(macro) - wanted(macro)).norm() < 0.2 * wanted(macro).norm()
