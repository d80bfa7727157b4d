"""Metastable states of latent paths: principal components, clusters, and how long they last."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.cluster.vq import kmeans2
from scipy.linalg import eigh
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

#: Points that are clustered; all others take the state of the nearest of them.
POINTS = 1500
NEIGHBOURS = 15
#: Clusterings that are tried where nobody says how many states there are.
MOST = 8
#: Starts of the k-means, of which the best counts.
STARTS = 10


@dataclass(frozen=True)
class MetastableStates:
    """States between which latent paths move.

    Attributes:
        variance: (latent,) share of the variance in each principal component.
        coordinates: (trajectory, time, latent) principal coordinates of the paths.
        labels: (trajectory, time) state of each point, the most frequent one first.
        centres: (state, latent) latents of the point of each state that is nearest to its mean.
        transition: (state, state) probability to go from one to another in a step.
        passage: (state, state) mean first-passage times, in units of time; infinite where there is
            no way.
        eigenvalues: the smallest of the graph's normalised Laplacian; one near 0 for each state.
    """

    variance: np.ndarray
    coordinates: np.ndarray
    labels: np.ndarray
    centres: np.ndarray
    transition: np.ndarray
    passage: np.ndarray
    eigenvalues: np.ndarray


def metastable_states(
    latents: np.ndarray, step: float, states: int | None = None, components: int = 3, seed: int = 0
) -> MetastableStates:
    """Spectral clustering of latent paths in their leading principal components.

    Graph of the ``NEIGHBOURS`` nearest neighbours (of either one), eigenvectors of its normalised
    Laplacian, k-means on their rows (Ng, Jordan and Weiss 2002; for latents of effective dynamics,
    Vlachas et al. 2022).

    Args:
        latents: (trajectory, time, latent), evenly spaced in time.
        step: time between two of them.
        states: their number; None: where the gap between two eigenvalues is widest, up to 8.
        components: principal components that are clustered.
        seed: of the k-means.
    """
    coordinates, variance = principal_components(latents)
    flat = coordinates[..., :components].reshape(-1, min(components, latents.shape[-1]))
    chosen = flat[:: max(1, -(-len(flat) // POINTS))]
    values, vectors = _spectrum(chosen, states or MOST + 1)
    if states is None:
        states = _count(values[1 : MOST + 1])
    some = _k_means(vectors[:, :states], states, np.random.default_rng(seed))
    labels = some[cKDTree(chosen).query(flat)[1]]
    order = np.argsort(-np.bincount(labels, minlength=states), kind="stable")
    labels = np.argsort(order)[labels].reshape(latents.shape[:2])
    transition = transition_matrix(labels, states)
    return MetastableStates(
        variance,
        coordinates,
        labels,
        _centres(latents.reshape(-1, latents.shape[-1]), labels.ravel(), states),
        transition,
        first_passage_times(transition, step),
        values,
    )


def principal_components(latents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Principal coordinates (…, latent) of latents (…, latent), and their shares of variance."""
    flat = latents.reshape(-1, latents.shape[-1]).astype(float)
    centred = flat - flat.mean(0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    shares = sizes**2 / max(float((sizes**2).sum()), 1e-300)
    return (centred @ axes.T).reshape(*latents.shape[:-1], -1), shares


def transition_matrix(labels: np.ndarray, states: int) -> np.ndarray:
    """(state, state) frequencies of steps in label paths (trajectory, time); rows sum to one.

    A state that is never left stays where it is.
    """
    counts = np.zeros((states, states))
    np.add.at(counts, (labels[:, :-1].ravel(), labels[:, 1:].ravel()), 1)
    empty = counts.sum(1) == 0
    counts[empty, empty] = 1
    result: np.ndarray = counts / counts.sum(1, keepdims=True)
    return result


def first_passage_times(transition: np.ndarray, step: float) -> np.ndarray:
    """Mean first-passage times of a Markov chain, from each state (row) to each other (column).

    They solve m_ij = step + Σ_{k≠j} P_ik m_kj, with 0 on the diagonal; infinite where the target
    cannot be reached for certain.
    """
    count = len(transition)
    times = np.zeros((count, count))
    reach = np.linalg.matrix_power((transition > 0) + np.eye(count), count) > 0
    for target in range(count):
        rest = np.delete(np.arange(count), target)
        # For certain: whatever can be reached on the way leads to the target in the end.
        sure = [i for i in rest if all(reach[j, target] for j in np.flatnonzero(reach[i]))]
        times[rest, target] = np.inf
        if sure:
            inner = transition[np.ix_(sure, sure)]
            times[sure, target] = np.linalg.solve(
                np.eye(len(sure)) - inner, np.full(len(sure), step)
            )
    return times


def _spectrum(points: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Smallest eigenvalues and eigenvectors of the normalised Laplacian of the neighbour graph."""
    size = min(NEIGHBOURS, len(points) - 1)
    distances, near = cKDTree(points).query(points, size + 1)
    width = np.median(distances[:, -1]) + 1e-300
    rows = np.repeat(np.arange(len(points)), size)
    weights = np.exp(-((distances[:, 1:].ravel() / width) ** 2))
    graph = csr_matrix((weights, (rows, near[:, 1:].ravel())), (len(points), len(points)))
    graph = graph.maximum(graph.T)
    degree = np.asarray(graph.sum(1)).ravel()
    scale = 1 / np.sqrt(np.maximum(degree, 1e-300))
    laplacian = np.eye(len(points)) - scale[:, None] * graph.toarray() * scale
    # Dense, for a Lanczos iteration may miss some of several equal eigenvalues, which is what
    # states without any way between them have.
    count = min(max(count, 2), len(points))
    values, vectors = eigh(laplacian, subset_by_index=(0, count - 1))
    return values, vectors


def _count(rates: np.ndarray) -> int:
    """States, from the Laplacian's eigenvalues after the first, which are rates of leaving.

    Their largest gap is one between orders of magnitude. A chain of points, which has no states,
    has rates as 1, 4, 9, … n²; those still lower only say that hardly a way is left between some
    states, or none, and a gap among them hides the one between states and what is within them.
    """
    lowest = max(rates[-1] / len(rates) ** 2, 1e-300)
    return 2 + int(np.diff(np.log(rates.clip(min=lowest))).argmax())


def _k_means(vectors: np.ndarray, states: int, generator: np.random.Generator) -> np.ndarray:
    """Labels of rows, each brought to length one."""
    rows = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    best, labels = np.inf, np.zeros(len(rows), int)
    for _ in range(STARTS):
        centres, found = kmeans2(rows, states, minit="++", rng=generator)
        error = float(np.square(rows - centres[found]).sum())
        if error < best:
            best, labels = error, found
    return labels


def _centres(latents: np.ndarray, labels: np.ndarray, states: int) -> np.ndarray:
    """(state, latent) the point of each state nearest to its mean; NaN of an empty one."""
    centres = np.full((states, latents.shape[-1]), np.nan)
    for state in range(states):
        own = latents[labels == state]
        if len(own):
            centres[state] = own[np.square(own - own.mean(0)).sum(1).argmin()]
    return centres
