"""Minibatches of windows: what they hold, how they are weighted, which errors they raise."""

import numpy as np
import pytest
import torch

from pyro_msm import data as datasets
from pyro_msm.data.windows import Forcing, Windows
from pyro_msm.errors import InputError
from tests.small_fields import training_windows, travelling_waves, with_drivers, with_mask
from tests.statistical import assert_mean


def test_a_window_holds_the_snapshots_of_its_trajectory():
    data = datasets.select(with_drivers(travelling_waves()), "train")
    windows = Windows(data, length=5, stride=4, snapshots=3)
    which, start = torch.tensor([1, 0]), torch.tensor([7, 0])
    batch = windows.cut(which, start)
    field, times = data["field"].values, data["time"].values
    for row, (trajectory, first) in enumerate([(1, 7), (0, 0)]):
        for i in range(5):
            index = first + 4 * i
            seen = field[trajectory, index : index + 3]
            np.testing.assert_array_equal(batch.field[row, i].numpy(), seen)
            np.testing.assert_array_equal(batch.observation[row, i].numpy(), seen[-1])
            # The time of an observation is that of the last snapshot that the encoder sees.
            time = float(batch.start[row] + batch.times[i])
            assert time == pytest.approx(times[index + 2])
        np.testing.assert_allclose(
            batch.parameters[row].numpy(), data["parameters"].values[trajectory], rtol=1e-6
        )
        at = batch.start[:, None] + batch.times
        series = data["forcing"].values[trajectory, [first + 4 * i + 2 for i in range(5)]]
        np.testing.assert_allclose(batch.forcing(at)[row].numpy(), series, atol=1e-4)
    assert batch.initial_weight.tolist() == [0, 1]
    assert len(batch) == 2


def test_forcing_is_linear_between_its_samples_and_held_beyond():
    rng = np.random.default_rng(0)
    times, values = np.array([0.0, 1.0, 3.0, 3.5]), rng.normal(size=(2, 4, 3))
    forcing = Forcing(torch.tensor(times), torch.tensor(values))
    asked = np.array([[-1.0, 0.0, 0.4, 3.2], [1.0, 2.0, 3.5, 9.0]])
    expected = [
        [[np.interp(t, times, values[b, :, c]) for c in range(3)] for t in asked[b]]
        for b in range(2)
    ]
    np.testing.assert_allclose(forcing(torch.tensor(asked)).numpy(), expected)


def test_weights_make_the_batch_unbiased_for_path_time_and_initial_terms():
    """Σ weight over windows estimates the trajectories' time, and their number of beginnings."""
    data = datasets.select(travelling_waves(trajectories=3, splits=("train",) * 3), "train")
    windows = Windows(data, length=6, stride=3)
    generator = torch.Generator().manual_seed(0)
    batches = [windows.draw(4, generator) for _ in range(4000)]
    reach = float(batches[0].times[-1])
    assert batches[0].path_scale * 4 * reach == pytest.approx(3 * 1.0)
    assert batches[0].likelihood_scale * 4 * 6 == pytest.approx(3 * 41)
    beginnings = [float((b.path_scale * b.initial_weight).sum()) for b in batches]
    assert_mean(np.array(beginnings), 3.0)


def test_the_ends_of_a_trajectory_are_not_neglected():
    data = datasets.select(travelling_waves(trajectories=2, splits=("train",) * 2), "train")
    windows = Windows(data, length=5, stride=2)
    generator = torch.Generator().manual_seed(1)
    starts = torch.cat([windows.draw(500, generator).start for _ in range(20)])
    index = (starts * 40).round().long()
    counts = torch.bincount((index[:, None] + 2 * torch.arange(5)).flatten(), minlength=41)
    assert int(index.max()) == 32
    mean = float(counts.float().mean())
    assert min(counts[0], counts[-1]) > 0.8 * mean
    # Between the strides from the ends fewer windows pass; within a stride the shares are similar.
    by_stride = counts[:40].unflatten(0, (-1, 2)).float().mean(1)
    assert 0.5 * mean < by_stride.min() < by_stride.max() < 2 * mean


def test_a_generator_makes_batches_reproducible():
    windows = training_windows(travelling_waves())
    first, again, other = (
        windows.draw(4, torch.Generator().manual_seed(seed)).field for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_what_was_not_observed_is_masked_and_zero():
    data = datasets.select(with_mask(travelling_waves()), "train")
    windows = Windows(data, length=5, stride=4)
    batch = windows.cut(torch.tensor([1]), torch.tensor([3]))
    observed = data["mask"].values[1, 3:20:4]
    np.testing.assert_array_equal(batch.mask[0].numpy(), observed)
    assert (batch.observation[0].numpy()[~observed] == 0).all()
    assert windows.observed_numbers == int(data["mask"].sum())


def test_finite_numbers_under_the_mask_do_not_leak():
    data = with_mask(travelling_waves())
    data["field"] = data["field"].fillna(-999.0)
    batch = training_windows(data).draw(8)
    assert float(batch.field.min()) > -10


def test_a_full_mask_is_no_mask():
    data = with_mask(travelling_waves(), share=0.0)
    assert training_windows(data).draw(2).mask is None


def test_stride_shrinks_for_short_trajectories():
    data = datasets.select(travelling_waves(count=11), "train")
    windows = Windows(data, length=6, stride=8)
    assert windows.stride == 2
    assert windows.draw(50).start.max() == 0


def test_too_short_trajectories_are_refused():
    data = datasets.select(travelling_waves(count=11), "train")
    with pytest.raises(InputError, match=r"needs 13 snapshots.* have 11: lower training.window"):
        Windows(data, length=12, snapshots=2)
