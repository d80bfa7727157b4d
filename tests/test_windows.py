"""Minibatches of windows: what they hold, how they are weighted, which errors they raise."""

import numpy as np
import pytest
import torch
import xarray as xr

from pyro_msm import data as datasets
from pyro_msm.data import lazy
from pyro_msm.data.windows import Forcing, Windows
from pyro_msm.errors import InputError
from pyro_msm.forecasting import MultiscaleForecaster
from pyro_msm.models import initialise
from tests.counted_reads import counted
from tests.small_fields import (
    model_and_guide,
    tiny_configuration,
    training_windows,
    travelling_waves,
    with_drivers,
    with_mask,
)
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


def test_a_forcing_of_one_sample_is_constant():
    values = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])
    asked = torch.tensor([[-1.0, 0.5, 2.0]] * 2)
    assert torch.equal(Forcing(torch.tensor([0.5]), values)(asked), values.expand(2, 3, 2))


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


# --- data larger than memory -------------------------------------------------------------------

FILES = ["waves.nc", "waves.zarr"]


@pytest.fixture
def nothing_fits(monkeypatch):
    """As if the memory were too small for any field."""
    monkeypatch.setattr(lazy, "IN_MEMORY", 0)


def gappy_waves() -> xr.Dataset:
    return with_mask(with_drivers(travelling_waves(grid=(8, 6), channels=2)))


def assert_equal_batches(found, expected):
    for name in ("field", "times", "start", "initial_weight", "mask", "parameters"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    at = expected.start[:, None] + expected.times
    assert torch.equal(found.forcing(at), expected.forcing(at))
    assert found.path_scale == expected.path_scale
    assert found.likelihood_scale == expected.likelihood_scale


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("snapshots", [1, 3])
def test_batches_from_disk_are_those_from_memory(tmp_path, nothing_fits, name, snapshots):
    data = gappy_waves()
    datasets.save(data, tmp_path / name)
    with datasets.open(tmp_path / name) as opened:
        assert not lazy.is_in_memory(opened["field"])
        stored = Windows(datasets.select(opened, "train"), 5, 4, snapshots)
        held = Windows(datasets.select(data, "train"), 5, 4, snapshots)
        assert stored.observed_numbers == held.observed_numbers
        assert stored.values == held.values
        generators = [torch.Generator().manual_seed(3) for _ in range(2)]
        # Other sizes than those that were read ahead, too, and draws that nobody reads ahead.
        for batch, points in ((4, None), (4, None), (2, 7), (2, 7), (4, 7)):
            found, expected = (
                windows.draw(batch, generator, points)
                for windows, generator in zip((stored, held), generators, strict=True)
            )
            assert_equal_batches(found, expected)
            # What a checkpoint keeps does not depend on where the data are.
            assert torch.equal(generators[0].get_state(), generators[1].get_state())
        torch.manual_seed(0)
        found = stored.draw(3)
        torch.manual_seed(0)
        assert_equal_batches(found, held.draw(3))


def test_a_record_split_in_time_is_read_from_disk_too(tmp_path, nothing_fits):
    data = travelling_waves(trajectories=1, splits=("train",)).drop_vars("split")
    data = data.assign_coords(split=("time", ["train"] * 30 + ["test"] * 11))
    datasets.save(data, tmp_path / "record.nc")
    with datasets.open(tmp_path / "record.nc") as opened:
        windows = Windows(datasets.select(opened, "test"), length=3, stride=2)
        batch = windows.cut(torch.tensor([0]), torch.tensor([4]))
    np.testing.assert_array_equal(batch.observation[0], data["field"].values[0, [34, 36, 38]])


@pytest.mark.parametrize("ahead", [False, True])
def test_a_batch_reads_its_own_snapshots_only(nothing_fits, ahead):
    data, reads = counted(datasets.select(travelling_waves(), "train"))
    windows = Windows(data, length=5, stride=4, snapshots=2)
    assert not reads
    generator = torch.Generator().manual_seed(0) if ahead else None
    for _ in range(3):
        windows.draw(6, generator)
    batch = 6 * 5 * 2 * 40
    assert 3 * batch <= sum(reads) <= (4 if ahead else 3) * batch
    assert set(reads) == {5 * 40}


def test_training_from_disk_reads_what_it_needs_and_gives_the_same_weights(nothing_fits):
    data = travelling_waves(trajectories=6, count=161, splits=("train",) * 4 + ("validation",) * 2)
    model, training = tiny_configuration(steps=4, validate_every=2)
    held = MultiscaleForecaster(model, training).fit(data, device="cpu")
    on_disk, reads = counted(data)
    stored = MultiscaleForecaster(model, training).fit(on_disk, device="cpu")
    for name, values in held.state()[0].items():
        np.testing.assert_array_equal(stored.state()[0][name], values, err_msg=name)
    batches = [size for size in reads if size == 6 * 40]
    # Four steps of four windows, the next batch ahead perhaps; and what the data reach, once.
    once = 4 * len(Windows(datasets.select(data, "train"), 6, 3).end_to_end())
    assert 4 * 4 <= len(batches) - once <= 5 * 4
    others = [size // 40 for size in reads if size != 6 * 40]
    sample = 4 * (161 - 8)
    noise = [20] * (2 * 5)  # of both validation trajectories, see data.white_noise
    assert sorted(others) == sorted([sample, sample, 4, 2 * 100, 2, 2, *noise])


def test_the_measured_sample_of_many_large_snapshots_is_bounded(monkeypatch):
    monkeypatch.setattr(initialise, "NUMBERS", 30 * 40)
    data, reads = counted(travelling_waves(trajectories=20, count=11, splits=("train",) * 20))
    model_and_guide(data)
    assert reads == [15 * 2 * 40, 15 * 2 * 40, 15 * 40]


def test_what_fits_is_loaded_once(monkeypatch):
    data, reads = counted(datasets.select(travelling_waves(), "train"))
    monkeypatch.setattr(lazy, "IN_MEMORY", data["field"].nbytes)
    windows = Windows(data, length=5, stride=4)
    for _ in range(3):
        windows.draw(6, torch.Generator())
    assert reads == [data["field"].size]


def test_a_field_in_memory_is_not_copied():
    data = datasets.select(travelling_waves(), "train")
    windows = Windows(data, length=5, stride=4)
    data["field"].values[:] = 7.0
    assert (windows.draw(2).field == 7).all()


def test_values_that_cannot_be_written_to_are_taken():
    data = datasets.select(travelling_waves(), "train")
    data["field"].values.flags.writeable = False
    assert Windows(data, length=5, stride=4).draw(2).field.isfinite().all()


def test_numbers_packed_in_two_bytes_are_unpacked_batch_by_batch(tmp_path, nothing_fits):
    data = datasets.select(travelling_waves(), "train")
    scale = data.attrs["noise_std"] / 3
    packing = {"dtype": "int16", "scale_factor": scale, "_FillValue": -32768}
    data.to_netcdf(tmp_path / "packed.nc", engine="netcdf4", encoding={"field": packing})
    with datasets.open(tmp_path / "packed.nc") as opened:
        assert not lazy.is_in_memory(opened["field"])
        assert opened["field"].dtype == np.float32
        which, start = torch.tensor([1, 0]), torch.tensor([3, 20])
        found = Windows(opened, length=5, stride=4).cut(which, start).field
        gap = found - Windows(data, length=5, stride=4).cut(which, start).field
    # Half a step at most: a sixth of the noise, and a tenth of it in the mean.
    assert 0 < gap.abs().max() < 0.51 * scale
    assert gap.square().mean().sqrt() < data.attrs["noise_std"] / 10


def test_a_file_that_cannot_be_read_any_more_is_told(nothing_fits):
    def fail(_):
        raise OSError("disk on fire\nat line 3")

    data, _ = counted(datasets.select(travelling_waves(), "train"), fail)
    data.encoding["source"] = "big.nc"
    windows = Windows(data, length=5, stride=4)
    message = r"^big.nc cannot be read any more \(disk on fire\): .* checkpoint with --resume$"
    for generator in (None, torch.Generator()):
        with pytest.raises(InputError, match=message):
            windows.draw(2, generator)


def test_chunks_that_are_lost_in_use_are_told(tmp_path, nothing_fits):
    datasets.save(travelling_waves(), tmp_path / "waves.zarr")
    windows = Windows(datasets.select(datasets.open(tmp_path / "waves.zarr"), "train"), 5, 4)
    for chunk in (tmp_path / "waves.zarr" / "field").glob("0.*"):
        chunk.unlink()
    with pytest.raises(
        InputError, match=r"waves.zarr cannot be read any more \(values are missing"
    ):
        windows.cut(torch.tensor([0]), torch.tensor([0]))


@pytest.mark.parametrize("count", [30, 31, 33, 9])
def test_windows_end_to_end_reach_the_end(count):
    windows = Windows(travelling_waves(count=count), length=5, stride=2, snapshots=1)
    starts = windows.end_to_end()
    assert starts[0] == 0
    assert int(starts[-1]) + 8 == count - 1
    assert (starts.diff() <= 8).all()
