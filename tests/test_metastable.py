"""Metastable states against chains whose answers are known."""

import numpy as np
import pytest

from pyro_msm.analysis.metastable import (
    first_passage_times,
    metastable_states,
    principal_components,
    transition_matrix,
)


def hopping(states: int = 4, count: int = 1200) -> tuple[np.ndarray, np.ndarray]:
    """Latents (1, count, 5) that hop between wells on a circle, and the wells (count,)."""
    rng = np.random.default_rng(0)
    state, path = 0, []
    for _ in range(count):
        if rng.random() < 0.02:
            state = (state + rng.integers(1, states)) % states
        path.append(state)
    wells = np.array(path)
    angle = 2 * np.pi * wells / states
    plane = 3 * np.stack([np.cos(angle), np.sin(angle)], -1) + 0.3 * rng.normal(size=(count, 2))
    mixing = rng.normal(size=(2, 5))
    return (plane @ mixing)[None], wells


def test_states_without_a_way_between_them_do_not_hide_the_others() -> None:
    """Two groups far apart, in each three wells on a line with few points between them."""
    rng = np.random.default_rng(0)
    well, group, between = (rng.integers(n, size=1500) for n in (3, 2, 12))
    place = np.where(between == 0, rng.uniform(0, 2, 1500), well + 0.15 * rng.normal(size=1500))
    points = np.stack([place, 10 * group + 0.15 * rng.normal(size=1500)], -1)
    found = metastable_states(points[None], 1.0)
    assert len(found.centres) == 6
    inside = between > 0
    names = zip(3 * group[inside] + well[inside], found.labels[0, inside], strict=True)
    _, counts = np.unique(np.array(list(names)), axis=0, return_counts=True)
    assert np.sort(counts)[-6:].sum() > 0.99 * inside.sum()


@pytest.mark.parametrize("given", [None, 4])
def test_wells_are_found_and_counted(given: int | None) -> None:
    latents, wells = hopping()
    found = metastable_states(latents, 0.5, states=given)
    assert len(found.centres) == 4
    names = {(int(a), int(b)) for a, b in zip(wells, found.labels[0], strict=True)}
    assert len(names) == 4  # the same partition
    assert found.variance[:2].sum() == pytest.approx(1.0)
    counts = np.bincount(found.labels[0])
    assert (np.diff(counts) <= 0).all()
    assert found.transition.diagonal().min() > 0.95


def test_centres_are_points_of_their_states() -> None:
    latents, _ = hopping()
    found = metastable_states(latents, 0.5, states=4)
    for state, centre in enumerate(found.centres):
        place = np.flatnonzero((latents[0] == centre).all(1))
        assert found.labels[0, place[0]] == state


def test_transition_matrix_counts_steps() -> None:
    labels = np.array([[0, 0, 1, 0], [1, 1, 0, 0]])
    assert transition_matrix(labels, 3).tolist() == [
        [2 / 3, 1 / 3, 0],
        [2 / 3, 1 / 3, 0],
        [0, 0, 1],
    ]


def test_first_passage_of_two_states_is_geometric() -> None:
    chain = np.array([[0.9, 0.1], [0.25, 0.75]])
    assert np.allclose(first_passage_times(chain, 0.5), [[0, 5.0], [2.0, 0]])


def test_first_passage_agrees_with_simulation_and_knows_no_way() -> None:
    chain = np.array([[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.0, 0.0, 1.0]])
    times = first_passage_times(chain, 1.0)
    assert times[2, 0] == np.inf
    assert times[0, 1] == np.inf  # it may end in state 2 first
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(4000):
        state, time = 0, 0
        while state != 2:
            state, time = rng.choice(3, p=chain[state]), time + 1
        hits.append(time)
    error = np.std(hits) / np.sqrt(len(hits))
    assert times[0, 2] == pytest.approx(np.mean(hits), abs=5 * error)


def test_principal_components_are_uncorrelated() -> None:
    latents, _ = hopping()
    coordinates, shares = principal_components(latents)
    covariance = np.cov(coordinates[0].T)
    assert np.allclose(covariance, np.diag(covariance.diagonal()), atol=1e-8)
    assert shares.sum() == pytest.approx(1.0)
