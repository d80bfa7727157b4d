"""Random streams of an ensemble: reproducible, independent of how they are read."""

import numpy as np
import pytest

from pyro_msm.forecasting.streams import DYNAMICS, INITIAL, LENGTH, OBSERVATION, Streams
from tests.statistical import assert_mean, assert_moments


def test_rows_do_not_depend_on_how_they_are_read():
    streams = Streams(5, range(3), range(2))
    whole = streams.normal(0, 3 * LENGTH, 4)
    assert whole.shape == (3 * LENGTH, 3, 2, 4)
    assert whole.dtype == np.float32
    rng = np.random.default_rng(0)
    for _ in range(20):
        first = int(rng.integers(0, 2 * LENGTH))
        rows = int(rng.integers(0, LENGTH))
        np.testing.assert_array_equal(streams.normal(first, rows, 4), whole[first : first + rows])
    np.testing.assert_array_equal(Streams(5, range(3), range(2)).normal(7, 9, 4), whole[7:16])


def test_rows_do_not_depend_on_other_members_and_trajectories():
    whole = Streams(5, range(6), range(4)).normal(100, 50, 3)
    part = Streams(5, range(2, 5), range(1, 3)).normal(100, 50, 3)
    np.testing.assert_array_equal(part, whole[:, 2:5, 1:3])


@pytest.mark.parametrize("purpose", [DYNAMICS, INITIAL, OBSERVATION])
def test_numbers_are_standard_normal(purpose):
    drawn = Streams(1, range(20), range(20)).normal(0, 200, 2, purpose)
    assert_moments(drawn.reshape(-1), 0.0, 1.0)
    assert_mean(drawn.reshape(-1).astype(float) ** 4, 3.0)


def test_everything_that_names_a_stream_makes_it_another():
    streams = Streams(1, range(2), range(2))
    base = streams.normal(0, 2 * LENGTH, 2)
    others = [
        Streams(2, range(2), range(2)).normal(0, 2 * LENGTH, 2),
        streams.restarted().normal(0, 2 * LENGTH, 2),
        streams.normal(0, 2 * LENGTH, 2, INITIAL),
        streams.normal(0, 2 * LENGTH, 2, OBSERVATION),
        base[:, ::-1],
        base[:, :, ::-1],
        np.roll(base, LENGTH, axis=0),
        base[..., ::-1],
    ]
    for other in others:
        assert_mean((base * other).reshape(-1), 0.0)
    assert not (streams.restarted().normal(0, 4, 2) == base[:4]).any()


def test_large_roots_serve():
    root = 2**63 - 1
    drawn = Streams(root, range(1), range(1)).normal(0, 2, 3)
    assert (drawn != Streams(root - 1, range(1), range(1)).normal(0, 2, 3)).all()
