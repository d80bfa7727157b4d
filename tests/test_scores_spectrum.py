"""Energy spectra: Parseval, known waves, shells in two dimensions, windows."""

import numpy as np
import pytest

from pyro_msm import scores
from tests.test_scores_brute_force import draw, overall


@pytest.mark.parametrize("shape", [(16,), (15,), (8, 8), (9, 6), (6, 9)])
def test_a_periodic_spectrum_sums_to_the_mean_square(shape):
    fields = np.random.default_rng(0).normal(0.3, 1.0, (3, *shape))
    domain = tuple(1.0 + i for i in range(len(shape)))
    spectrum = scores.Spectrum(shape, domain, [True] * len(shape))
    axes = tuple(range(1, fields.ndim))
    np.testing.assert_allclose(spectrum(fields).sum(-1), (fields**2).mean(axes), rtol=1e-12)


@pytest.mark.parametrize("periodic", [(False, True), (True, False), (False, False)])
def test_a_windowed_spectrum_sums_to_the_windowed_mean_square(periodic):
    field = np.random.default_rng(1).normal(2.0, 1.0, (12, 10))
    windows = []
    for n, whole in zip(field.shape, periodic, strict=True):
        hann = np.ones(n) if whole else 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(n) + 0.5) / n)
        windows.append(hann / np.sqrt((hann**2).mean()))
    product = (field - field.mean()) * windows[0][:, None] * windows[1]
    found = scores.Spectrum(field.shape, (1.0, 1.0), periodic)(field)
    np.testing.assert_allclose(found.sum(), (product**2).mean(), rtol=1e-12)


def test_a_spectrum_is_the_direct_fourier_sum():
    n, length = 9, 3.0
    field = np.random.default_rng(2).normal(size=n)
    spectrum = scores.Spectrum((n,), (length,), (True,))
    expected = np.zeros(5)
    for k in range(-4, 5):
        mode = sum(field[j] * np.exp(-2j * np.pi * k * j / n) for j in range(n))
        expected[abs(k)] += abs(mode) ** 2 / n**2
    np.testing.assert_allclose(spectrum(field), expected, atol=1e-12)
    np.testing.assert_allclose(spectrum.wavenumber, np.arange(5) / length)


def test_waves_in_the_plane_fall_into_the_shell_of_their_wavenumber():
    x = np.arange(24) / 24
    X, Y = np.meshgrid(x, x, indexing="ij")
    spectrum = scores.Spectrum((24, 24), (1.0, 1.0), (True, True))
    for kx, ky, shell in [(3, 4, 5), (0, 7, 7), (6, 0, 6), (-3, 4, 5), (2, 2, 3)]:
        found = spectrum(np.sin(2 * np.pi * (kx * X + ky * Y)))
        assert found[shell] == pytest.approx(0.5)
        assert found.sum() == pytest.approx(0.5)


def test_a_ramp_between_walls_does_not_leak_as_from_a_jump():
    ramp = np.linspace(0, 1, 64)
    open_axis = scores.Spectrum((64,), (1.0,), (False,))(ramp)
    periodic = scores.Spectrum((64,), (1.0,), (True,))(ramp)
    assert open_axis[10:].sum() < 1e-3 * periodic[10:].sum()


def test_spectra_average_those_of_single_members():
    members, truth, _ = draw(4)
    spectrum = scores.Spectrum((5,), (1.0,), (True,))
    found = overall(scores.Spectra(spectrum), members, truth)
    for row, fields in zip(found, (truth, members, members.mean(0)), strict=True):
        np.testing.assert_allclose(row, spectrum(fields).reshape(-1, 3).mean(0), rtol=1e-12)
    assert found[1].sum() > found[2].sum()  # the mean of members is smoother than they are


def test_samples_with_gaps_have_no_spectrum():
    members, truth, _ = draw(4)
    mask = np.ones(truth.shape, bool)
    mask[0, 1, 2, 3] = False
    spectrum = scores.Spectrum((5,), (1.0,), (True,))
    found = overall(scores.Spectra(spectrum), members, truth, mask)
    kept = [spectrum(truth[i, j]).mean(0) for i in range(2) for j in range(3) if (i, j) != (0, 1)]
    np.testing.assert_allclose(found[0], np.mean(kept, 0), rtol=1e-12)
    with pytest.raises(ValueError, match="as many lengths and boundaries as axes"):
        scores.Spectrum((5,), (1.0, 2.0), (True,))
