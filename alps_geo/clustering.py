"""Streaming k-means: a sample, online passes, then exact passes over rows that never fit in memory.

Rows come in blocks of a fixed size, however the caller's batches are cut, and the nearest centre
is decided by sums whose order is fixed. So neither batches nor threads change a result.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import ThreadpoolController

from .progress import NoProgress, Progress

Rows = NDArray[np.float64]

BLOCK = 4096
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
class Sketch:
    """What one look at all rows leaves behind.

    Attributes
    ----------
    count : int
        Rows seen.
    mean, std : ndarray of float64, shape (n_columns,)
    sample : ndarray of float32, shape (n_sampled, n_columns)
        Rows drawn with equal chances, all of them where they are few.
    distinct : int
        Different rows, counted up to the number asked for.
    """

    count: int
    mean: Rows
    std: Rows
    sample: NDArray[np.float32]
    distinct: int


@dataclass(frozen=True)
class Clustering:
    """Centres that have settled, or have run out of passes.

    Attributes
    ----------
    centers : ndarray of float64, shape (n_centers, n_columns)
    counts : ndarray of int64, shape (n_centers,)
        Rows nearest to each centre.
    inertia : float
        Sum of the squared distances of all rows to their centres.
    online_passes, exact_passes : int
    settled : bool
    """

    centers: Rows
    counts: NDArray[np.int64]
    inertia: float
    online_passes: int
    exact_passes: int
    settled: bool


def reblock(batches: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """Cut batches of any length into blocks of `BLOCK` rows; the last may be shorter."""
    waiting: list[NDArray[np.float32]] = []
    missing = BLOCK
    for batch in batches:
        start = 0
        while len(batch) - start >= missing:
            yield np.concatenate([*waiting, batch[start : start + missing]])
            start += missing
            waiting, missing = [], BLOCK
        waiting.append(batch[start:])
        missing -= len(batch) - start
    if missing < BLOCK:
        yield np.concatenate(waiting)


def sketch(
    batches: Iterable[NDArray[np.float32]], size: int, n_distinct: int, seed: int
) -> Sketch | None:
    """Measure the columns exactly and draw a sample, in one pass.

    Parameters
    ----------
    batches : iterable of ndarray of float32, shape (n, n_columns)
    size : int
        Rows to sample.
    n_distinct : int
        Different rows the sample must hold if there are as many.
    seed : int

    Returns
    -------
    Sketch or None
        None where there are no rows.
    """
    rng = np.random.default_rng(seed)
    count, mean, squares = 0, np.zeros(0), np.zeros(0)
    sample = np.zeros((0, 0), np.float32)
    distinct: dict[bytes, NDArray[np.float32]] = {}
    for block in reblock(batches):
        if count == 0:
            mean, squares = np.zeros(block.shape[1]), np.zeros(block.shape[1])
            sample = np.empty((0, block.shape[1]), np.float32)
        sample = _sample(sample, block, count, size, rng)
        mean, squares = _add_moments(count, mean, squares, block.astype(np.float64))
        count += len(block)
        if len(distinct) < n_distinct:
            _add_distinct(distinct, block, n_distinct)
    if count == 0:
        return None
    if count > size and len(np.unique(sample, axis=0)) < n_distinct:
        # A few rare rows among very many equal ones: chance alone would miss them.
        sample = np.concatenate([sample, *[row[None] for row in distinct.values()]])
    return Sketch(count, mean, np.sqrt(squares / count), sample, len(distinct))


def _sample(
    sample: NDArray[np.float32],
    block: NDArray[np.float32],
    seen: int,
    size: int,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Go on with reservoir sampling (Vitter's algorithm R)."""
    room = min(max(size - seen, 0), len(block))
    sample = np.concatenate([sample, block[:room]]) if room else sample
    rest = block[room:]
    places = rng.integers(0, np.arange(seen + room, seen + len(block)) + 1)
    chosen = np.flatnonzero(places < size)
    sample[places[chosen]] = rest[chosen]
    return sample


def _add_moments(count: int, mean: Rows, squares: Rows, block: Rows) -> tuple[Rows, Rows]:
    """Join the moments of a block to those so far (Chan, Golub and LeVeque 1979)."""
    total = count + len(block)
    block_mean = block.mean(axis=0)
    delta = block_mean - mean
    squares = squares + ((block - block_mean) ** 2).sum(axis=0)
    return (
        mean + delta * (len(block) / total),
        squares + delta**2 * (count * len(block) / total),
    )


def _add_distinct(
    distinct: dict[bytes, NDArray[np.float32]], block: NDArray[np.float32], limit: int
) -> None:
    # Adding zero makes -0.0 the same bytes as 0.0.
    for row in np.unique(block + np.float32(0), axis=0):
        if len(distinct) < limit:
            distinct.setdefault(row.tobytes(), row)


def cluster(
    blocks: Callable[[], Iterable[Rows]],
    sample: Rows,
    n_centers: int,
    seed: int,
    progress: Progress | None = None,
) -> Clustering:
    """Find centres: k-means++ on a sample, online passes over all rows, then exact passes.

    Parameters
    ----------
    blocks : callable
        Starts a pass over all rows, always in the same order and the same blocks.
    sample : ndarray of float64, shape (n_sampled, n_columns)
        At least `n_centers` different rows.
    n_centers : int
    seed : int
    progress : Progress, optional
        Hears of every pass.

    Returns
    -------
    Clustering
    """
    progress = progress or NoProgress()
    spread = float(np.sqrt(sample.var(axis=0).sum()))
    centers = seed_centers(sample, n_centers, seed)
    # A centre that gets few rows stays where it is: exact passes find a place for empty ones.
    kmeans = MiniBatchKMeans(
        n_centers, init=centers, n_init=1, reassignment_ratio=0.0, random_state=seed
    )
    online, limit, moved = 0, MAX_ONLINE_PASSES + MAX_EXACT_PASSES, np.inf
    with _threads().limit(limits=1):
        # The sample counts first, so that the corner where a scene begins does not pull centres.
        kmeans.partial_fit(sample)
        while online < MAX_ONLINE_PASSES and moved > ONLINE_SHIFT * spread:
            centers = kmeans.cluster_centers_.copy()
            for block in blocks():
                kmeans.partial_fit(block)
            moved = _shift(centers, kmeans.cluster_centers_, np.ones(n_centers, np.int64))
            online += 1
            progress.step(online, limit)
    centers = kmeans.cluster_centers_
    exact, moved = 0, np.inf
    while exact < MAX_EXACT_PASSES and moved > EXACT_SHIFT * spread:
        before = centers
        centers, counts, inertia = update_exactly(blocks(), centers, sample)
        moved = _shift(before, centers, counts)
        exact += 1
        progress.step(online + exact, limit)
    progress.step(limit, limit)
    return Clustering(centers, counts, inertia, online, exact, moved <= EXACT_SHIFT * spread)


def _shift(before: Rows, after: Rows, counts: NDArray[np.int64]) -> float:
    """Return how far centres moved: the root mean square over the rows that belong to them."""
    squares = ((after - before) ** 2).sum(axis=1)
    if not counts.all():  # an empty centre has yet to find its rows
        return float(np.inf)
    return float(np.sqrt(np.average(squares, weights=counts)))


def seed_centers(sample: Rows, n_centers: int, seed: int) -> Rows:
    """Cluster a sample from several k-means++ starts, and return the best centres.

    The more centres, the less two starts differ in the end: many centres get fewer starts.
    """
    starts = min(max(256 // n_centers, 1), 8)
    kmeans = KMeans(n_centers, n_init=starts, max_iter=100, tol=1e-3, random_state=seed)
    with _threads().limit(limits=1), warnings.catch_warnings():
        # Rows that differ in the last digits may end in one centre; exact passes part them.
        warnings.simplefilter("ignore", ConvergenceWarning)
        centers: Rows = kmeans.fit(sample).cluster_centers_
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
    sums, new = _sum_rows(rows, index, len(centers))
    total = counts + new
    moved = (centers * counts[:, None] + sums) / np.maximum(total, 1)[:, None]
    return np.where(new[:, None] > 0, moved, centers), total


def update_exactly(
    blocks: Iterable[Rows], centers: Rows, sample: Rows
) -> tuple[Rows, NDArray[np.int64], float]:
    """Move each centre to the mean of the rows nearest to it (one pass of Lloyd's algorithm).

    A centre without rows goes to the row of `sample` that lies farthest from any centre.

    Returns
    -------
    centers : ndarray of float64, shape (n_centers, n_columns)
    counts : ndarray of int64, shape (n_centers,)
    inertia : float
        Sum of the squared distances of all rows to the centres they moved.
    """
    sums, counts = np.zeros_like(centers), np.zeros(len(centers), np.int64)
    inertia = 0.0  # sum of squares, less that of the means
    for block in blocks:
        block_sums, block_counts = _sum_rows(block, nearest(block, centers), len(centers))
        sums += block_sums
        counts += block_counts
        inertia += float((block**2).sum())
    moved = sums / np.maximum(counts, 1)[:, None]
    inertia -= float((counts * (moved**2).sum(axis=1)).sum())
    empty = np.flatnonzero(counts == 0)
    if len(empty):
        squares = squared_distance(sample, centers[nearest(sample, centers)])
        farthest = np.argsort(-squares, kind="stable")[: len(empty)]
        moved[empty[: len(farthest)]] = sample[farthest]
    return moved, counts, inertia


def _sum_rows(
    rows: Rows, index: NDArray[np.intp], n_centers: int
) -> tuple[Rows, NDArray[np.int64]]:
    ones = np.ones(len(rows))
    members = sparse.csr_array((ones, (index, np.arange(len(rows)))), shape=(n_centers, len(rows)))
    return members @ rows, np.bincount(index, minlength=n_centers).astype(np.int64)


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
    """Return the squared distance of each row to a centre, the same to the last bit in any company.

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
