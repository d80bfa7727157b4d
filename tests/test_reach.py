"""Beyond what training data reach a rollout stays bounded, and within them nothing changes."""

import numpy as np
import pytest
import torch

from pyro_msm import data as datasets
from pyro_msm.data.windows import Windows
from pyro_msm.forecasting import MultiscaleForecaster, initial_window
from pyro_msm.forecasting.calibration import Calibration
from pyro_msm.forecasting.reach import KNEE, MARGIN, Reach
from tests.small_fields import forecaster, tiny_configuration, travelling_waves, with_mask

DATA = travelling_waves()
TIMES = DATA["time"].values


def windows(data, **settings):
    return Windows(datasets.select(data, "train"), 6, stride=3, **settings)


def scaled(made, latents):
    network = made.model.network
    return np.abs((latents - network.state_mean.numpy()) / network.state_scale.numpy())


def test_reach_is_the_largest_of_all_encoded_snapshots():
    made = forecaster(DATA)
    found = Reach.of(made.guide, windows(DATA))
    size = made.model.network.macro_values
    # Windows of 6 snapshots, 3 steps apart, end to end, and one that ends where the data do.
    last = len(TIMES) - 1
    steps = sorted({*range(0, last - last % 15 + 1, 3), *range(last - 15, last + 1, 3)})
    seen = made.encoded(datasets.select(DATA, "train"))[:, steps]
    farthest = scaled(made, seen).max((0, 1))
    assert found.macro == pytest.approx(farthest[:size].max(), rel=1e-5)
    np.testing.assert_allclose(found.micro, farthest[size:], rtol=1e-5)


def test_gaps_in_the_training_data_do_not_matter():
    masked = with_mask(DATA)
    assert np.isfinite(Reach.of(forecaster(masked).guide, windows(masked)).macro)


def exploding(**settings):
    made = forecaster(DATA, **settings)
    network = made.model.network
    network.learned_drift = lambda state, context=None: 30 * (state - network.state_mean)
    return made


def test_paths_stay_bounded_whatever_was_learned():
    start = initial_window(DATA, 1)
    free, bounded = exploding(), exploding()
    bounded.reach = Reach.of(bounded.guide, windows(DATA))
    _, lost = free.advance(free.encode(start, 2, 0), TIMES)
    _, kept = bounded.advance(bounded.encode(start, 2, 0), TIMES)
    assert np.isnan(lost).any()
    network = bounded.model.network
    world = bounded.reach.world(network)
    # At the edge of the box the drift is 30 (edge − mean); the pull balances it at 30/pace more.
    pace = (network.state_rate / network.state_scale).numpy()
    edge = ((world.high - network.state_mean) / network.state_scale).numpy()
    assert (scaled(bounded, kept) < 1.1 * edge * (1 + 30 / pace)).all()


def test_within_reach_nothing_changes():
    start = initial_window(DATA, 1)
    plain, bounded = forecaster(DATA), forecaster(DATA)
    bounded.reach = Reach(1e3, (1e3, 1e3))
    one, other = (made.forecast(start, TIMES, 2, 0)["field"] for made in (plain, bounded))
    np.testing.assert_array_equal(one, other)


def test_an_encoded_microscale_beyond_reach_is_brought_to_its_edge():
    made = forecaster(DATA)
    made.reach = Reach(0.1, (0.1, 1e3))
    made.calibration = type(made.calibration)(0.0, 0.0)
    state = made.encode(initial_window(DATA, 1), 1, 0)
    free = forecaster(DATA)
    free.calibration = made.calibration
    before = free.encode(initial_window(DATA, 1), 1, 0)
    away, unlimited = (scaled(made, s.path.latent.numpy())[0] for s in (state, before))
    size = made.model.network.macro_values
    np.testing.assert_allclose(
        away[:, size], np.minimum(unlimited[:, size], 0.1 * MARGIN), rtol=1e-5
    )
    np.testing.assert_array_equal(np.delete(away, size, 1), np.delete(unlimited, size, 1))


@pytest.mark.parametrize("frame", ["fixed", "comoving"])
def test_novelty_is_the_distance_to_what_was_seen(frame):
    made = forecaster(DATA, micro=4, frame=frame)
    network = made.model.network
    reach = Reach.of(made.guide, windows(DATA))
    world = reach.world(network)
    inner = 2 if frame == "comoving" else 4
    assert world.seen.shape[1] == inner
    seen = torch.tensor(made.encoded(datasets.select(DATA, "train"))).flatten(0, 1)
    every = seen[:: windows(DATA).stride]
    assert float(world.novelty(every[:1]).max()) < 1e-3
    moved = every[:1].clone()
    moved[:, -1] += 1e3 * network.state_scale[-1]
    expected = (1e3 + (every[0, -1] - world.seen[:, -1]) / network.state_scale[-1]).min()
    found = float(world.novelty(moved[:, None]).squeeze())
    assert found == pytest.approx(float(expected) / inner**0.5, rel=1e-3)
    # The macroscale, and the angle of a moving frame, do not count.
    turned = every[:1].clone()
    turned[:, : network.state_size - inner] += 5.0
    torch.testing.assert_close(world.novelty(turned), world.novelty(every[:1]))


def test_noise_is_in_proportion_to_the_drift():
    made = forecaster(DATA)
    network = made.model.network
    made.calibration = Calibration(0.6, 0.0, tendency=0.8)
    state = torch.randn(3, 2, network.state_size)
    rate = torch.tensor([0.0, 1.0, -2.0])[:, None, None] * network.state_rate
    found = made._gain(state, rate.expand_as(state), None)[..., 0]
    torch.testing.assert_close(found[:, 0], torch.tensor([0.6, 1.0, (0.36 + 4 * 0.64) ** 0.5]))


def test_new_states_spread_more():
    start = initial_window(DATA, 1)
    plain, knowing = forecaster(DATA), forecaster(DATA)
    for made in (plain, knowing):
        made.reach = Reach.of(made.guide, windows(DATA))
        made.calibration = Calibration(1.0, 0.0)
    spread = plain.forecast(start, TIMES[:9], 200, 0)["field"].std("member").mean()
    knowing.calibration = Calibration(0.6, 0.0, 0.8)
    network = knowing.model.network
    assert knowing._tells_novelty()
    network.known_drift = torch.nn.Identity()
    assert not knowing._tells_novelty()
    network.known_drift = None
    world = knowing.reach.world(network)
    novelty = lambda state: torch.ones(*state.shape[:-1], 1)  # noqa: E731
    object.__setattr__(world, "novelty", novelty)
    knowing._world = lambda: world
    # 0.6² + 0.8² = 1.
    found = knowing.forecast(start, TIMES[:9], 200, 0)["field"].std("member").mean()
    assert float(found) == pytest.approx(float(spread), rel=1e-3)


def test_known_physics_is_not_pulled():
    network = exploding().model.network
    world = Reach(2.0, (1.0, 1.0)).world(network)
    assert (world.pace > 0).all()
    network.known_drift = torch.nn.Identity()
    pace = Reach(2.0, (1.0, 1.0)).world(network).pace
    assert (pace[: network.macro_values] == 0).all()
    assert (pace[network.macro_values :] == world.pace[network.macro_values :]).all()


def test_training_keeps_it_with_the_weights(tmp_path):
    made = MultiscaleForecaster(*tiny_configuration(steps=4)).fit(DATA, device="cpu")
    assert made.reach is not None
    made.save(tmp_path)
    assert MultiscaleForecaster.load(tmp_path).reach == made.reach


def test_states_as_far_as_held_out_ones_are_hardly_new():
    made = forecaster(DATA)
    network = made.model.network
    plain = Reach.of(made.guide, windows(DATA))
    held_out = torch.tensor(made.encoded(datasets.select(DATA, "validation")))
    found = plain.accustomed(network, held_out)
    distance = plain.world(network).novelty(held_out)
    assert found.usual == pytest.approx(float(distance.median()))
    assert found.accustomed(network, held_out).usual == found.usual
    new = found.world(network).novelty(held_out)
    knee = KNEE * found.usual
    near = distance < knee
    assert near.any()
    torch.testing.assert_close(new[near], distance[near].square() / knee)
    torch.testing.assert_close(new[~near], distance[~near])
    far = (network.state_mean + 10 * network.state_scale)[None]
    assert float(found.world(network).novelty(far)) == float(plain.world(network).novelty(far)) > 5
    assert Reach.from_header(vars(found)) == found


def test_what_is_usual_is_told_by_the_validation_split():
    made = MultiscaleForecaster(*tiny_configuration(calibrate=True)).fit(DATA, device="cpu")
    states = torch.tensor(made.encoded(datasets.select(DATA, "validation")))
    assert made.reach == made.reach.accustomed(made.model.network, states)
    assert made.reach.usual > 0
