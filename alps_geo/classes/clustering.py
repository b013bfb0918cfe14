"""Streaming k-means: a sample, online passes, then exact passes over rows that never fit in memory.

The nearest centre is decided by sums whose order is fixed, so that threads do not change a result.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import ThreadpoolController

from ..progress import NoProgress, Progress
from .sampling import Rows, Weighted

MAX_ONLINE_PASSES = 10
MAX_EXACT_PASSES = 50
# Centres have settled when they move, at root mean square, by less than this share of the rows'
# spread: coarse for online passes, which exact ones follow.
ONLINE_SHIFT = 1e-2
EXACT_SHIFT = 1e-4
# A float64 matrix product is far closer to the exact distance than this share of its terms.
ROUNDING = 1e-10
_PAIRS_AT_ONCE = 2**21


@dataclass(frozen=True)
class Clustering:
    """Centres that have settled, or have run out of passes.

    Attributes
    ----------
    centers : ndarray of float64, shape (n_centers, n_columns)
    counts : ndarray of int64, shape (n_centers,)
        Rows nearest to each centre.
    inertia : float
        Sum of the squared distances of all rows to their centres, each times its weight.
    online_passes, exact_passes : int
    settled : bool
    """

    centers: Rows
    counts: NDArray[np.int64]
    inertia: float
    online_passes: int
    exact_passes: int
    settled: bool


def cluster(
    blocks: Callable[[], Iterable[Weighted]],
    sample: Weighted,
    n_centers: int,
    seed: int,
    progress: Progress | None = None,
) -> Clustering:
    """Find centres: k-means++ on a sample, online passes over all rows, then exact passes.

    Parameters
    ----------
    blocks : callable
        Starts a pass over all rows, always in the same order and the same blocks.
    sample : Weighted
        At least `n_centers` different rows.
    n_centers : int
    seed : int
    progress : Progress, optional
        Is told of every pass.

    Returns
    -------
    Clustering
    """
    progress = progress or NoProgress()
    spread = float(np.sqrt(sample.rows.var(axis=0).sum()))
    centers = seed_centers(sample.rows, n_centers, seed, sample.weights)
    # A centre that gets few rows stays where it is: exact passes find a place for empty ones.
    kmeans = MiniBatchKMeans(
        n_centers, init=centers, n_init=1, reassignment_ratio=0.0, random_state=seed
    )
    online, limit, moved = 0, MAX_ONLINE_PASSES + MAX_EXACT_PASSES, np.inf
    with _threads().limit(limits=1):
        # The sample counts first, so that the corner where a scene begins does not pull centres.
        kmeans.partial_fit(sample.rows, sample_weight=sample.weights)
        while online < MAX_ONLINE_PASSES and moved > ONLINE_SHIFT * spread:
            centers = kmeans.cluster_centers_.copy()
            for block in blocks():
                kmeans.partial_fit(block.rows, sample_weight=block.weights)
            moved = _shift(centers, kmeans.cluster_centers_, np.ones(n_centers))
            online += 1
            progress.step(online, limit)
    centers = kmeans.cluster_centers_
    exact, moved = 0, np.inf
    while exact < MAX_EXACT_PASSES and moved > EXACT_SHIFT * spread:
        before = centers
        centers, masses, counts, inertia = update_exactly(blocks(), centers, sample.rows)
        moved = _shift(before, centers, masses)
        exact += 1
        progress.step(online + exact, limit)
    progress.step(limit, limit)
    return Clustering(centers, counts, inertia, online, exact, moved <= EXACT_SHIFT * spread)


def _shift(before: Rows, after: Rows, masses: Rows) -> float:
    """Return how far centres moved: the root mean square over the rows that belong to them."""
    squares = ((after - before) ** 2).sum(axis=1)
    if not masses.all():  # an empty centre has yet to find its rows
        return float(np.inf)
    return float(np.sqrt(np.average(squares, weights=masses)))


def seed_centers(
    sample: Rows, n_centers: int, seed: int, weights: Rows | None = None, starts: int = 0
) -> Rows:
    """Cluster a sample from several k-means++ starts, and return the best centres.

    The more centres, the less two starts differ in the end: many centres get fewer starts, unless
    their number is given.
    """
    starts = starts or min(max(256 // n_centers, 1), 8)
    kmeans = KMeans(n_centers, n_init=starts, max_iter=100, tol=1e-3, random_state=seed)
    with _threads().limit(limits=1), warnings.catch_warnings():
        # Rows that differ in the last digits may end in one centre; exact passes part them.
        warnings.simplefilter("ignore", ConvergenceWarning)
        centers: Rows = kmeans.fit(sample, sample_weight=weights).cluster_centers_
    return centers


@lru_cache(maxsize=1)
def _threads() -> ThreadpoolController:
    """Small products gain nothing from threads, and lose much where tiles keep all cores busy."""
    return ThreadpoolController()


def update_online(
    centers: Rows, counts: NDArray[np.int64], rows: Rows
) -> tuple[Rows, NDArray[np.int64]]:
    """Move each centre to the mean of all rows it ever got (mini-batch k-means).

    The same step as scikit-learn's `MiniBatchKMeans.partial_fit` without reassignment, but it
    can go on from a saved model, and no thread changes it.

    Parameters
    ----------
    centers : ndarray of float64, shape (n_centers, n_columns)
    counts : ndarray of int64, shape (n_centers,)
        Rows each centre got so far.
    rows : ndarray of float64, shape (n_rows, n_columns)

    Returns
    -------
    centers, counts
        After these rows.
    """
    index = nearest(rows, centers)
    sums, new = _sum_rows(rows, index, len(centers)), np.bincount(index, minlength=len(centers))
    total = counts + new
    moved = (centers * counts[:, None] + sums) / np.maximum(total, 1)[:, None]
    return np.where(new[:, None] > 0, moved, centers), total


def update_exactly(
    blocks: Iterable[Weighted], centers: Rows, sample: Rows
) -> tuple[Rows, Rows, NDArray[np.int64], float]:
    """Move each centre to the mean of the rows nearest to it (one pass of Lloyd's algorithm).

    A centre without rows goes to the row of `sample` that lies farthest from any centre.

    Returns
    -------
    centers : ndarray of float64, shape (n_centers, n_columns)
    masses : ndarray of float64, shape (n_centers,)
        Sum of the weights of the rows that moved each.
    counts : ndarray of int64, shape (n_centers,)
        Their number.
    inertia : float
        Sum of the squared distances of all rows to the centres they moved, times their weights.
    """
    size = len(centers)
    sums, masses, counts = np.zeros_like(centers), np.zeros(size), np.zeros(size, np.int64)
    inertia = 0.0  # sum of squares, less that of the means
    for block in blocks:
        index = nearest(block.rows, centers)
        sums += _sum_rows(block.rows, index, size, block.weights)
        masses += np.bincount(index, block.weights, size)
        counts += np.bincount(index, minlength=size)
        inertia += float(block.weights @ (block.rows**2).sum(axis=1))
    moved = sums / np.where(counts > 0, masses, 1)[:, None]
    inertia -= float((masses * (moved**2).sum(axis=1)).sum())
    empty = np.flatnonzero(counts == 0)
    if len(empty):
        squares = squared_distance(sample, centers[nearest(sample, centers)])
        farthest = np.argsort(-squares, kind="stable")[: len(empty)]
        moved[empty[: len(farthest)]] = sample[farthest]
    return moved, masses, counts, inertia


def _sum_rows(
    rows: Rows, index: NDArray[np.intp], n_centers: int, weights: Rows | None = None
) -> Rows:
    shares = np.ones(len(rows)) if weights is None else weights
    places = index, np.arange(len(rows))
    sums: Rows = sparse.csr_array((shares, places), shape=(n_centers, len(rows))) @ rows
    return sums


def nearest(
    rows: Rows,
    centers: Rows,
    groups: NDArray[np.integer] | None = None,
    barred: NDArray[np.integer] | None = None,
) -> NDArray[np.intp]:
    """Find the nearest centre of each row.

    The result for a row depends on that row alone, to the last bit: a matrix product, whose
    rounding varies with the number of rows and threads, only tells which centres are out of
    the question. Equal distances go to the first centre.

    Parameters
    ----------
    rows : ndarray of float64, shape (n_rows, n_columns)
    centers : ndarray of float64, shape (n_centers, n_columns)
    groups : ndarray of int, shape (n_centers,), optional
    barred : ndarray of int, shape (n_rows,), optional
        For each row, the group whose centres do not count; another group must exist.

    Returns
    -------
    ndarray of intp, shape (n_rows,)
    """
    index = np.zeros(len(rows), np.intp)
    step = max(_PAIRS_AT_ONCE // len(centers), 1)
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        allowed = None
        if groups is not None and barred is not None:
            allowed = groups[None] != barred[part, None]
        index[part] = _nearest_of_few(rows[part], centers, allowed)
    return index


def _nearest_of_few(
    rows: Rows, centers: Rows, allowed: NDArray[np.bool_] | None
) -> NDArray[np.intp]:
    sizes = (centers**2).sum(axis=1)
    with _threads().limit(limits=1):
        rough = sizes[:, None] - 2 * (centers @ rows.T)
    if allowed is not None:
        rough[~allowed.T] = np.inf
    index: NDArray[np.intp] = rough.argmin(axis=0)
    slack = ROUNDING * (np.einsum("ij,ij->i", rows, rows) + sizes.max())
    close = rough <= rough.min(axis=0) + slack
    unsure = np.flatnonzero(np.count_nonzero(close, axis=0) > 1)
    if len(unsure):
        few = rows[unsure]
        exact = np.stack([squared_distance(few, center[None]) for center in centers])
        if allowed is not None:
            exact[~allowed[unsure].T] = np.inf
        index[unsure] = exact.argmin(axis=0)
    return index


def squared_distance(rows: Rows, centers: Rows) -> Rows:
    """Return each row's squared distance to a centre; no bit depends on the other rows.

    Columns are added one by one: numpy's own sums change their order with the array's shape.

    Parameters
    ----------
    rows : ndarray of float64, shape (n_rows, n_columns)
    centers : ndarray of float64, shape (n_rows, n_columns), or (1, n_columns) for all rows

    Returns
    -------
    ndarray of float64, shape (n_rows,)
    """
    total = np.zeros(len(rows))
    for column in range(rows.shape[1]):
        delta = rows[:, column] - centers[:, column]
        total += delta * delta
    return total


def margin(rows: Rows, first: Rows, second: Rows) -> Rows:
    """Return 1 - d1 / d2 for the distances to two centres; 0 where both are 0."""
    near, far = squared_distance(rows, first), squared_distance(rows, second)
    ratio = np.sqrt(np.divide(near, far, out=np.ones_like(near), where=far > 0))
    return 1 - np.minimum(ratio, 1)
