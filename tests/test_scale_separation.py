"""One kernel in three roles: smoother, restriction, prolongation; and the boundaries."""

import itertools

import pytest
import torch

from pyro_msm.nn import ScaleSeparation, apply_along_axes, padded_index

BOUNDARIES = ["periodic", "wall", "open"]
# Grid and coarse sizes: cells that divide the grid, and nodes with both end points.
SIZES = [(40, 10), (40, 40), (41, 11), (12, 2)]
ONE_AXIS = [
    ((n,), (m,), (b,))
    for (n, m), b in itertools.product(SIZES, BOUNDARIES)
    if n % m == 0 or b != "periodic"
]
TWO_AXES = [((12, 21), (4, 6), pair) for pair in itertools.product(BOUNDARIES, ["wall", "open"])]
ALL = [*ONE_AXIS, *TWO_AXES]


def separation(grid, macro, boundary):
    """With uneven taps, as after training."""
    generator = torch.Generator().manual_seed(0)
    scales = ScaleSeparation(grid, macro, boundary).double()
    for axis in scales.axes:
        noise = torch.rand(len(axis.taps), generator=generator, dtype=torch.float64)
        axis.taps.data.mul_(1 + noise)
    return scales


def fields(grid, count=3, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, *grid, generator=generator, dtype=torch.float64)


def by_hand(matrix_of_axes, field):
    """Matrices applied to each axis with einsum."""
    if len(matrix_of_axes) == 1:
        return torch.einsum("ij,bj->bi", *matrix_of_axes, field)
    return torch.einsum("ij,kl,bjl->bik", *matrix_of_axes, field)


def smoother(axis):
    """S of one axis as a matrix, entry by entry from the taps and the padding."""
    padded = padded_index(axis.points, axis.reach, axis.boundary)
    matrix = torch.zeros(axis.points, axis.points, dtype=torch.float64)
    for row in range(axis.points):
        for tap, weight in enumerate(axis.taps.detach() / axis.taps.detach().sum()):
            matrix[row, padded[row + tap]] += weight
    return matrix


@pytest.mark.parametrize("case", ALL, ids=str)
def test_smoother_and_what_is_beyond_each_scale(case):
    scales = separation(*case)
    field = fields(case[0])
    smooth = by_hand([smoother(axis) for axis in scales.axes], field)
    torch.testing.assert_close(scales.smooth(field), smooth)
    torch.testing.assert_close(scales.beyond_smooth(field), field - smooth)
    shown = [
        up @ down for up, down in zip(scales.prolongation(), scales.restriction(), strict=True)
    ]
    torch.testing.assert_close(scales.beyond_macro(field), field - by_hand(shown, field))


@pytest.mark.parametrize("case", ALL, ids=str)
def test_restriction_is_the_smoother_at_the_coarse_points(case):
    scales = separation(*case)
    field = fields(case[0])
    coarse = apply_along_axes(scales.restriction(), field)
    smooth = scales.smooth(field)
    for position, axis in enumerate(scales.axes, start=1):
        smooth = smooth.index_select(position, axis.coarse_index)
    torch.testing.assert_close(coarse, smooth)
    for matrix in scales.restriction():
        torch.testing.assert_close(matrix.sum(1), torch.ones_like(matrix[:, 0]))


@pytest.mark.parametrize("case", ALL, ids=str)
def test_prolongation_is_the_normalised_transpose_and_keeps_constants(case):
    scales = ScaleSeparation(*case).double()
    for down, up in zip(scales.restriction(), scales.prolongation(), strict=True):
        torch.testing.assert_close(up, down.T / down.T.sum(1, keepdim=True))
    constant = torch.full((1, *case[1]), 2.5, dtype=torch.float64)
    fine = apply_along_axes(scales.prolongation(), constant)
    torch.testing.assert_close(fine, torch.full((1, *case[0]), 2.5, dtype=torch.float64))
    torch.testing.assert_close(apply_along_axes(scales.restriction(), fine), constant)


def test_prolongation_of_trained_taps_keeps_constants():
    scales = separation((40,), (10,), ("periodic",))
    (up,) = scales.prolongation()
    torch.testing.assert_close(up.sum(1), torch.ones(40, dtype=torch.float64))


def test_the_three_roles_share_their_weights():
    scales = separation((40,), (10,), ("periodic",))
    assert [name for name, _ in scales.named_parameters()] == ["axes.0.taps"]
    field = fields((40,))
    for result in (
        scales.smooth(field),
        apply_along_axes(scales.restriction(), field),
        apply_along_axes(scales.prolongation(), fields((10,))),
    ):
        (gradient,) = torch.autograd.grad(result.square().sum(), scales.axes[0].taps)
        assert (gradient != 0).all()


def test_periodic_operators_are_equivariant_to_translation():
    scales = separation((40,), (10,), ("periodic",))
    field = fields((40,))
    torch.testing.assert_close(scales.smooth(field.roll(7, -1)), scales.smooth(field).roll(7, -1))
    (down,), (up,) = scales.restriction(), scales.prolongation()
    stride = scales.axes[0].stride
    torch.testing.assert_close(field.roll(stride, -1) @ down.T, (field @ down.T).roll(1, -1))
    coarse = fields((10,))
    torch.testing.assert_close(coarse.roll(1, -1) @ up.T, (coarse @ up.T).roll(stride, -1))


def test_kernel_starts_as_a_gaussian_as_wide_as_a_cell():
    axis = ScaleSeparation((400,), (20,), ("periodic",)).axes[0]
    offsets = torch.arange(-axis.reach, axis.reach + 1)
    width = (axis.weights.detach() * offsets**2).sum().sqrt()
    assert axis.stride == 20
    # Cut off at three standard deviations, a Gaussian keeps 98.7 % of its width.
    assert float(width) == pytest.approx(0.9866 * 20, rel=1e-3)


def test_gradients_of_all_operators():
    scales = separation((12,), (4,), ("wall",))
    taps, field = scales.axes[0].taps.detach().clone(), fields((12,))

    def operators(taps, field):
        parameters = {"axes.0.taps": taps}

        def call(name, *arguments):
            return torch.func.functional_call(Operator(scales, name), parameters, arguments)

        return call("smooth", field), call("matrices", field)

    class Operator(torch.nn.Module):
        def __init__(self, module, name):
            super().__init__()
            self.axes, self.module, self.name = module.axes, [module], name

        def forward(self, field):
            (module,) = self.module
            if self.name == "matrices":
                coarse = apply_along_axes(module.restriction(), field)
                return apply_along_axes(module.prolongation(), coarse)
            return getattr(module, self.name)(field)

    assert torch.autograd.gradcheck(operators, (taps.requires_grad_(), field.requires_grad_()))


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_padding_goes_on_as_the_boundary_says(boundary):
    values = torch.arange(5.0)
    padded = values[padded_index(5, 7, boundary)]
    ghosts = {
        "periodic": [3, 4, 0, 1, 2, 3, 4],
        "wall": [3, 4, 4, 3, 2, 1, 0],
        "open": [0, 0, 0, 0, 0, 0, 0],
    }
    assert padded[:7].tolist() == ghosts[boundary]
    assert padded[7:12].tolist() == values.tolist()


@pytest.mark.parametrize("boundary", ["periodic", "wall", "open"])
def test_long_axes_smooth_by_fourier_transform_as_short_ones_by_a_matrix(
    boundary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    field = torch.randn(3, 40)
    matrix = ScaleSeparation((40,), (8,), (boundary,))
    monkeypatch.setattr("pyro_msm.nn.scale_separation.LARGEST_SMOOTHER", 0)
    fourier = ScaleSeparation((40,), (8,), (boundary,))
    torch.testing.assert_close(
        fourier.smooth(field), field @ matrix.axes[0].smoother().T, atol=1e-5, rtol=1e-5
    )
