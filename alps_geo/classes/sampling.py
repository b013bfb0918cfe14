"""One look at rows that never fit in memory: their moments, and a fair sample of them.

Rows come in blocks of a fixed size, however the caller's batches are cut, so that batches do not
change a result. Each has a weight: how much it counts where centres are found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._columns import Columns
from ..errors import ModelError

Rows = NDArray[np.float64]

BLOCK = 4096
# Pixels from which on a segment is as sure as it is typical; the exact number matters little.
_SURE_AREA = 64
# A column that varies less than float32 can tell is constant; scaling it would blow up noise.
_CONSTANT = 1e-6


@dataclass(frozen=True)
class Weighted(Columns):
    """Rows, and how much each counts.

    Attributes
    ----------
    rows : ndarray of float, shape (n, n_columns)
    weights : ndarray of float64, shape (n,)
        Above 0.
    """

    rows: NDArray[Any]
    weights: NDArray[np.float64]


def as_batches(values: object, ndim: int) -> list[NDArray[Any]]:
    """Return what a caller has, one array or a sequence of arrays, as a list of arrays.

    Parameters
    ----------
    values : array-like, or sequence of array-like
    ndim : int
        Dimensions of one array.

    Raises
    ------
    TypeError
        If it is an iterator, which cannot be gone through again.
    """
    if isinstance(values, Iterator):
        raise TypeError("rows are gone through again and again: pass lists, not iterators")
    if isinstance(values, list | tuple) and any(np.ndim(part) == ndim for part in values):
        return [np.asarray(part) for part in values]
    return [np.asarray(values)]


def weigh(
    batches: Iterable[NDArray[np.float32]], areas: Iterable[NDArray[np.integer]] | None = None
) -> Iterator[Weighted]:
    """Give the features of segments, each with how much it counts.

    What a segment looks like is the mean of its pixels. Among like segments it varies by as much
    as these do, and by what pixels do, over their number: the weight is one over that variance.
    Small segments, which are many, count less; large ones all alike.

    Parameters
    ----------
    batches : iterable of ndarray of float32, shape (n, n_columns)
    areas : iterable of ndarray of int, shape (n,), optional
        Pixels that show of each segment, 1 or more; where none are given, all count alike.

    Raises
    ------
    ModelError
        If areas and batches do not go together, or an area is below 1.
    """
    if areas is None:
        yield from (Weighted(batch, np.ones(len(batch))) for batch in batches)
        return
    for batch, part in zip_longest(batches, areas):
        sizes = [0 if given is None else len(given) for given in (batch, part)]
        if sizes[0] != sizes[1]:
            raise ModelError(
                f"sample_weight must be cut like X: here are {sizes[1]} for {sizes[0]} segments"
            )
        if sizes[0] and part.min() < 1:
            raise ModelError(f"the area of a segment is 1 pixel or more, not {part.min()}")
        yield Weighted(batch, count_of_areas(part))


def count_of_areas(area_px: NDArray[Any]) -> NDArray[np.float64]:
    """Return how much segments count by their pixels: below 1, the more the larger."""
    counts: NDArray[np.float64] = area_px / (area_px + float(_SURE_AREA))
    return counts


@dataclass(frozen=True)
class Sketch:
    """What one look at all rows leaves behind.

    Attributes
    ----------
    count : int
        Rows seen.
    mean, std : ndarray of float64, shape (n_columns,)
    sample : Weighted
        Rows drawn with equal chances, whatever their weights; all of them where they are few.
    distinct : int
        Different rows, counted up to the number asked for.
    """

    count: int
    mean: Rows
    std: Rows
    sample: Weighted
    distinct: int

    @property
    def scale(self) -> Rows:
        """What columns are divided by: their deviation, 1 for those that are constant."""
        return np.where(self.std > _CONSTANT * np.abs(self.mean), self.std, 1.0)


def reblock(batches: Iterable[Weighted]) -> Iterator[Weighted]:
    """Cut batches of any length into blocks of `BLOCK` rows; the last may be shorter."""
    waiting: list[Weighted] = []
    missing = BLOCK
    for batch in batches:
        start = 0
        while len(batch) - start >= missing:
            part = batch.take(slice(start, start + missing))
            yield Weighted.concatenate([*waiting, part])
            start += missing
            waiting, missing = [], BLOCK
        waiting.append(batch.take(slice(start, None)))
        missing -= len(batch) - start
    if missing < BLOCK:
        yield Weighted.concatenate(waiting)


def sketch(batches: Iterable[Weighted], size: int, n_distinct: int, seed: int) -> Sketch | None:
    """Measure the columns exactly and draw a sample, in one pass.

    Parameters
    ----------
    batches : iterable of Weighted
        Rows of float32.
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
    sample: Weighted | None = None
    distinct: dict[bytes, Weighted] = {}
    for block in reblock(batches):
        if sample is None:
            mean, squares = np.zeros(block.rows.shape[1]), np.zeros(block.rows.shape[1])
            sample = block.take(slice(0))
        sample = _sample(sample, block, count, size, rng)
        mean, squares = _add_moments(count, mean, squares, block.rows.astype(np.float64))
        count += len(block)
        if len(distinct) < n_distinct:
            _add_distinct(distinct, block, n_distinct)
    if sample is None:
        return None
    if count > size and len(np.unique(sample.rows, axis=0)) < n_distinct:
        # A few rare rows among very many equal ones: chance alone would miss them.
        sample = Weighted.concatenate([sample, *distinct.values()])
    return Sketch(count, mean, np.sqrt(squares / count), sample, len(distinct))


def _sample(
    sample: Weighted, block: Weighted, seen: int, size: int, rng: np.random.Generator
) -> Weighted:
    """Go on with reservoir sampling (Vitter's algorithm R)."""
    room = min(max(size - seen, 0), len(block))
    if room:
        sample = Weighted.concatenate([sample, block.take(slice(room))])
    places = rng.integers(0, np.arange(seen + room, seen + len(block)) + 1)
    chosen = np.flatnonzero(places < size)
    if not len(chosen):
        return sample
    # The last one that is drawn for a place stays there.
    source = np.arange(len(sample))
    source[places[chosen]] = len(sample) + room + chosen
    return Weighted.concatenate([sample, block]).take(source)


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


def _add_distinct(distinct: dict[bytes, Weighted], block: Weighted, limit: int) -> None:
    # Adding zero makes -0.0 the same bytes as 0.0.
    rows, first = np.unique(block.rows + np.float32(0), axis=0, return_index=True)
    for row, place in zip(rows, first.tolist(), strict=True):
        if len(distinct) < limit:
            distinct.setdefault(row.tobytes(), block.take(slice(place, place + 1)))


def describe_shortage(wanted: int, found: int, distinct: int) -> str:
    """Return what to say where fewer different rows than classes were found."""
    what = "1 segment was found" if found == 1 else f"{found} segments were found"
    if distinct < found:
        what = f"{distinct} of the {found} segments found differ"
    remedy = f"use `n_classes={distinct}` or less"
    if distinct < 2:
        remedy = "label a larger area, or several scenes together"
    return f"`n_classes` is {wanted} but only {what}; {remedy}"
