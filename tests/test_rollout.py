"""The posterior-predictive ensemble: groups, dimensions, noise, chains, file."""

import arviz as az
import numpy as np
import pytest
import xarray as xr

from pyro_msm.config import Config
from pyro_msm.errors import InputError
from pyro_msm.forecasting import MultiscaleForecaster, open_ensemble, rollout, write_ensemble
from pyro_msm.forecasting.baselines import BASELINES
from pyro_msm.forecasting.ensemble import check_weights, stored_times
from pyro_msm.runs import RunDirectory
from tests.small_fields import forecaster, tiny_configuration, travelling_waves, with_mask
from tests.statistical import assert_moments

SPLITS = ("train", "train", "validation", "test", "test", "extrapolation")


def waves(**options):
    return travelling_waves(trajectories=6, splits=SPLITS, **options)


DATA = waves()
MADE = forecaster(DATA)


def test_groups_and_dimensions_are_those_of_the_contract():
    made = forecaster(DATA, snapshots=3)
    tree = rollout(made, DATA, members=5, generator=1, times=11)
    assert set(tree.children) == {
        "posterior", "posterior_predictive", "observed_data", "constant_data",
    }  # fmt: skip
    posterior = tree["posterior"]
    sizes = {"chain": 1, "draw": 5, "trajectory": 3}
    assert posterior["signal"].sizes == sizes | {"time": 11, "channel": 1, "x": 40}
    assert posterior["macro"].sizes == sizes | {"time_full": 39, "channel": 1, "macro_x": 10}
    assert posterior["micro"].sizes == sizes | {"time_full": 39, "micro_component": 2}
    assert posterior["diverged_at"].sizes == sizes
    part = {"chain": 1, "trajectory": 3, "time": 11, "channel": 1, "x": 40}
    assert posterior["mean_macro_part"].sizes == posterior["mean_micro_part"].sizes == part
    assert tree["posterior_predictive"]["field"].dims == posterior["signal"].dims
    observed = tree["observed_data"]
    assert observed["field"].dims == ("trajectory", "time", "channel", "x")
    assert observed["encoded_macro"].dims == ("trajectory", "time_full", "channel", "macro_x")
    assert observed["encoded_micro"].dims == ("trajectory", "time_full", "micro_component")
    constant = tree["constant_data"]
    assert constant["split"].values.tolist() == ["test", "test", "extrapolation"]
    # From the last initial snapshot to the end.
    times = DATA["time"].values[2:]
    np.testing.assert_array_equal(posterior["time_full"], times)
    np.testing.assert_array_equal(posterior["time"], times[stored_times(39, 11)])
    kept = DATA.isel(trajectory=slice(3, None)).sel(time=posterior["time"].values)
    np.testing.assert_array_equal(observed["field"], kept["field"])
    np.testing.assert_array_equal(constant["clean"], kept["clean"])
    assert constant.attrs["members"] == 5
    assert constant.attrs["model"] == "multiscale"
    assert constant.attrs["boundary"] == ["periodic"]
    assert constant.attrs["seconds_rollout"] > 0


def test_signal_is_the_forecast_and_the_parts_add_up():
    tree = rollout(MADE, DATA, members=4, generator=3, splits=("test",))
    test = DATA.isel(trajectory=slice(3, 5))
    times = DATA["time"].values
    forecast = MADE.forecast(test.isel(time=slice(0, 1)), times, 4, 3)
    signal = tree["posterior"]["signal"].isel(chain=0)
    np.testing.assert_allclose(signal.values, forecast["field"].values, atol=1e-5)
    posterior = tree["posterior"].isel(chain=0)
    whole = posterior["mean_macro_part"] + posterior["mean_micro_part"]
    np.testing.assert_allclose(whole, posterior["signal"].mean("draw"), atol=1e-5)
    np.testing.assert_array_equal(tree["observed_data"]["encoded_macro"].values[..., 0, :],
                                  MADE.encoded(test)[..., :10])  # fmt: skip


def test_observation_noise_has_the_learned_deviation_of_each_channel():
    data = travelling_waves(channels=2)
    made = forecaster(data)
    made.model.network.log_macro_var.data[:] = -1.0
    made.model.network.log_micro_var.data[:] = made.model.network.log_micro_var.new_tensor([-2, -6])
    tree = rollout(made, data, members=30, generator=1)
    noise = tree["posterior_predictive"]["field"] - tree["posterior"]["signal"]
    by_channel = noise.transpose("channel", ...).values.reshape(2, -1)
    std = 1 / np.sqrt(np.exp(1.0) + np.exp([2.0, 6.0]))
    found = tree["posterior"]["observation_std"].values.squeeze()
    np.testing.assert_allclose(found, std, rtol=1e-5)
    for channel in range(2):
        assert_moments(by_channel[channel], 0.0, std[channel] ** 2)


def test_members_and_their_noise_do_not_depend_on_how_many_there_are():
    many, few = (rollout(MADE, DATA, members=members, generator=3) for members in (5, 2))
    for group, name in (("posterior", "signal"), ("posterior_predictive", "field")):
        np.testing.assert_allclose(
            many[group][name].values[:, :2], few[group][name].values, atol=1e-5
        )


def test_same_seed_same_ensemble():
    one, same, other = (rollout(MADE, DATA, members=2, generator=seed) for seed in (1, 1, 2))
    name = "posterior_predictive/field"
    np.testing.assert_array_equal(one[name], same[name])
    assert (one[name].values != other[name].values).mean() > 0.99


def test_chains_are_independent_models_with_streams_of_their_own():
    other = forecaster(DATA, seed=1)
    tree = rollout([MADE, other], DATA, members=3, generator=1, times=5)
    assert tree["posterior"]["signal"].sizes["chain"] == 2
    first = rollout(MADE, DATA, members=3, generator=1, times=5)
    np.testing.assert_allclose(
        tree["posterior"]["signal"].values[:1], first["posterior"]["signal"].values, atol=1e-5
    )
    twice = rollout([MADE, MADE], DATA, members=3, generator=1, times=5)
    noise = (twice["posterior_predictive"]["field"] - twice["posterior"]["signal"]).values
    assert (noise[0] != noise[1]).mean() > 0.99


def test_arviz_reads_the_tree_and_its_file(tmp_path):
    tree = rollout(MADE, DATA, members=3, generator=1, times=5)
    for suffix in (".nc", ".zarr"):
        path = tmp_path / f"ensemble{suffix}"
        for _ in range(2):  # the second time over the first
            write_ensemble(tree, path)
        with open_ensemble(path) as opened:
            read = opened.load()
        for name in tree.children:
            # NetCDF keeps no lists of one attribute.
            xr.testing.assert_equal(read[name].to_dataset().load(), tree[name].to_dataset())
        read.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ensemble.nc", "ensemble.zarr"]
    inference = az.from_netcdf(str(tmp_path / "ensemble.nc"))
    for name in ("posterior", "posterior_predictive", "observed_data"):
        assert name in inference


def test_masked_data_roll_out():
    data = with_mask(waves())
    tree = rollout(forecaster(data), data, members=2, times=5)
    assert np.isfinite(tree["posterior"]["signal"]).all()
    assert tree["constant_data"]["mask"].dtype == bool


def test_baselines_roll_out_in_the_same_form():
    made = BASELINES["persistence"]().fit(DATA)
    tree = rollout(made, DATA, members=3, times=5)
    assert tree["posterior"]["signal"].sizes["draw"] == 1
    np.testing.assert_array_equal(
        tree["posterior_predictive"]["field"], tree["posterior"]["signal"]
    )


@pytest.mark.parametrize("kind", ["nc", "zarr", "latents", "baseline"])
def test_an_ensemble_knows_the_weights_that_drew_it(kind, tmp_path):
    chains = [MADE, forecaster(DATA, seed=1)]
    if kind == "baseline":
        chains = [BASELINES["persistence"]().fit(DATA)]
    file = tmp_path / ("ensemble.nc" if kind in ("nc", "baseline") else "ensemble.zarr")
    store = file if file.suffix == ".zarr" else None
    with rollout(chains, DATA, 2, times=3, store=store, fields=kind != "latents") as tree:
        if store is None:
            write_ensemble(tree, file)
    with open_ensemble(file, chains) as tree:
        check_weights(tree, chains, file)
        for others in (chains[1:], [*chains[::-1], forecaster(DATA, seed=2)]):
            with pytest.raises(InputError, match=r"other weights than .* now, .*: roll out again"):
                check_weights(tree, others, file)
        del tree["constant_data"].attrs["weights"]
        check_weights(tree, [], file)  # older ensembles do not tell


def test_weights_are_the_same_when_they_are_saved_and_loaded(tmp_path):
    run = RunDirectory.create(tmp_path / "run", Config())
    model, training = tiny_configuration(steps=4, validate_every=2, calibrate=True)
    made = MultiscaleForecaster(model, training).fit(DATA, run=run, device="cpu")
    tree = rollout(made, DATA, members=2, times=3)
    check_weights(tree, [MultiscaleForecaster.from_run(run)], run.path)


def test_no_members_and_no_test_split_are_told():
    with pytest.raises(InputError, match="at least 1 member, not 0"):
        rollout(MADE, DATA, members=0)
    data = travelling_waves(splits=("train", "train", "train", "validation"))
    with pytest.raises(InputError, match="no test split"):
        rollout(MADE, data)


def test_stored_times_hold_first_and_last():
    for count, most in ((10, 101), (1001, 101), (102, 101), (7, 2)):
        stored = stored_times(count, most)
        assert (stored[0], stored[-1]) == (0, count - 1)
        assert len(stored) == min(count, most)
        assert (np.diff(stored) > 0).all()
