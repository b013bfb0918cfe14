"""Sets of pixels as row spans: compact, exact, and quick to clip, shift, join and take apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .grid import Window


@dataclass(frozen=True)
class Spans:
    """Sets of pixels as row spans: pixels (row, col_start) to (row, col_stop - 1).

    The spans of set `i` are rows `offsets[i]` to `offsets[i + 1]` of `values`, sorted by row and
    column; spans of one set neither touch nor overlap.

    Attributes
    ----------
    offsets : ndarray of int64, shape (n_sets + 1,)
    values : ndarray of int32, shape (n_spans, 3)
        Columns row, col_start, col_stop.
    """

    offsets: NDArray[np.int64]
    values: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def owners(self) -> NDArray[np.int64]:
        """The set each span belongs to, shape (n_spans,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Pixels in each span, shape (n_spans,)."""
        lengths: NDArray[np.int64] = (self.values[:, 2] - self.values[:, 1]).astype(np.int64)
        return lengths

    @property
    def areas(self) -> NDArray[np.int64]:
        """Pixels in each set, shape (n_sets,)."""
        sums = np.concatenate([[0], np.cumsum(self.lengths)])
        areas: NDArray[np.int64] = sums[self.offsets[1:]] - sums[self.offsets[:-1]]
        return areas

    @property
    def boxes(self) -> NDArray[np.int32]:
        """Bounding boxes, shape (n_sets, 4): row, col, row_stop, col_stop; zeros where empty."""
        boxes = np.zeros((len(self), 4), np.int32)
        filled = np.diff(self.offsets) > 0
        starts = self.offsets[:-1][filled]
        if len(starts):
            boxes[filled, 0] = np.minimum.reduceat(self.values[:, 0], starts)
            boxes[filled, 1] = np.minimum.reduceat(self.values[:, 1], starts)
            boxes[filled, 2] = np.maximum.reduceat(self.values[:, 0], starts) + 1
            boxes[filled, 3] = np.maximum.reduceat(self.values[:, 2], starts)
        return boxes

    @classmethod
    def gather(cls, owners: NDArray[np.integer], values: NDArray[np.int32], count: int) -> Spans:
        """Make `count` sets from spans in any order, each with the number of its set.

        Parameters
        ----------
        owners : ndarray of int, shape (n_spans,)
            From 0 to `count` - 1.
        values : ndarray of int32, shape (n_spans, 3)
        count : int
        """
        order = np.lexsort((values[:, 1], values[:, 0], owners))
        sizes = np.bincount(owners, minlength=count)
        return cls(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), values[order])

    @classmethod
    def unite(cls, owners: NDArray[np.integer], values: NDArray[np.int32], count: int) -> Spans:
        """Make `count` sets as `gather` does, from spans that may overlap or touch."""
        loose = cls.gather(owners, values, count)
        row, start, stop = loose.values.astype(np.int64).T
        # Lines far apart on one axis, so that a running maximum of ends stays within its line.
        width = int(stop.max(initial=0)) + 2
        line = (loose.owners * (int(row.max(initial=0)) + 1) + row) * width
        ends = np.maximum.accumulate(line + stop)
        first = np.ones(len(row), bool)
        first[1:] = (line + start)[1:] > ends[:-1]
        firsts = np.flatnonzero(first)
        lasts = np.append(firsts[1:], len(row))[: len(firsts)] - 1
        joined = np.stack([row[firsts], start[firsts], (ends - line)[lasts]], axis=1)
        return cls.gather(loose.owners[firsts], joined.astype(np.int32), count)

    @classmethod
    def from_labels(cls, labels: NDArray[np.integer], count: int) -> Spans:
        """Make sets from a label image: set `i` holds the pixels labelled `i + 1`, 0 is none.

        Parameters
        ----------
        labels : ndarray of int, shape (height, width)
        count : int
            Number of sets; labels go from 0 to `count`.
        """
        height, width = labels.shape
        breaks = np.ones((height, width + 1), bool)
        breaks[:, 1:-1] = labels[:, 1:] != labels[:, :-1]
        rows, starts = np.nonzero(breaks[:, :-1])
        stops = np.nonzero(breaks[:, 1:])[1] + 1
        owners = labels[rows, starts]
        kept = owners > 0
        values = np.stack([rows, starts, stops], axis=1)[kept].astype(np.int32)
        return cls.gather(owners[kept].astype(np.int64) - 1, values, count)

    @classmethod
    def from_bitmaps(cls, bitmaps: NDArray[np.bool_]) -> Spans:
        """Make sets from bitmaps, shape (n_sets, height, width)."""
        count, height, width = bitmaps.shape
        # A pixel outside before every row, and one after all: spans begin and end by turns.
        line = np.zeros(count * height * (width + 1) + 1, bool)
        line[:-1].reshape(count, height, width + 1)[:, :, 1:] = bitmaps
        return cls.from_changes(np.flatnonzero(line[1:] != line[:-1]), bitmaps.shape)

    @classmethod
    def from_changes(cls, changes: NDArray[np.int64], shape: tuple[int, ...]) -> Spans:
        """Make sets from the places where spans begin and end.

        Parameters
        ----------
        changes : ndarray of int64, shape (2 * n_spans,)
            Ascending, in the line of all pixels of bitmaps, row after row, with a pixel outside
            before each row: how many pixels of the line lie before the change, but for the first.
        shape : tuple of int
            Of the bitmaps: n_sets, height, width.
        """
        count, height, width = shape
        starts, stops = changes.reshape(-1, 2).T
        rows, starts = np.divmod(starts, width + 1)
        owners, rows, stops = rows // height, rows % height, stops - rows * (width + 1)
        return cls.gather(owners, np.stack([rows, starts, stops], axis=1).astype(np.int32), count)

    @classmethod
    def concatenate(cls, parts: Sequence[Spans]) -> Spans:
        """Put the sets of several objects one after another."""
        sizes = [np.diff(part.offsets) for part in parts]
        values = [part.values for part in parts]
        if not parts:
            return cls(np.zeros(1, np.int64), np.zeros((0, 3), np.int32))
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(sizes))]).astype(np.int64)
        return cls(offsets, np.concatenate(values))

    def take(self, chosen: NDArray[np.integer] | NDArray[np.bool_]) -> Spans:
        """Return the chosen sets, by number or by a flag per set, in the order given."""
        index = np.arange(len(self))[chosen]
        sizes = np.diff(self.offsets)[index]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        source = np.repeat(self.offsets[index] - offsets[:-1], sizes) + np.arange(offsets[-1])
        return Spans(offsets, self.values[source])

    def clip(self, window: Window) -> Spans:
        """Return the sets' pixels inside a window; sets without any stay as empty ones."""
        row, start, stop = self.values.T
        start, stop = np.maximum(start, window.col), np.minimum(stop, window.col_stop)
        kept = (row >= window.row) & (row < window.row_stop) & (start < stop)
        sizes = np.bincount(self.owners[kept], minlength=len(self))
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        return Spans(offsets, np.stack([row, start, stop], axis=1)[kept])

    def clip_each(self, limits: NDArray[np.integer]) -> Spans:
        """Return each set's pixels inside a rectangle of its own; sets without any stay as empty.

        Parameters
        ----------
        limits : ndarray of int, shape (n_sets, 4)
            Row, col, row_stop, col_stop.
        """
        row, start, stop = self.values.T
        first, left, last, right = limits[self.owners].T.astype(np.int32)
        start, stop = np.maximum(start, left), np.minimum(stop, right)
        kept = (row >= first) & (row < last) & (start < stop)
        sizes = np.bincount(self.owners[kept], minlength=len(self))
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        return Spans(offsets, np.stack([row, start, stop], axis=1)[kept])

    def outside(self, window: Window) -> Spans:
        """Return the sets' pixels outside a window; sets without any stay as empty ones."""
        row, start, stop = self.values.T
        beside = (row < window.row) | (row >= window.row_stop)
        left_stop = np.where(beside, stop, np.minimum(stop, window.col))
        right_start = np.where(beside, stop, np.maximum(start, window.col_stop))
        left = np.stack([row, start, left_stop], axis=1)
        right = np.stack([row, right_start, stop], axis=1)
        owners, values = np.tile(self.owners, 2), np.concatenate([left, right]).astype(np.int32)
        kept = values[:, 1] < values[:, 2]
        return Spans.gather(owners[kept], values[kept], len(self))

    def restrict(self, valid: NDArray[np.bool_]) -> Spans:
        """Return the sets' pixels that are valid; sets without any stay as empty ones.

        Parameters
        ----------
        valid : ndarray of bool, shape (height, width)
        """
        rows, cols = self.pixels()
        owners = np.repeat(np.arange(len(self)), self.areas)
        kept = valid[rows, cols]
        return _spans_of_pixels(owners[kept], rows[kept], cols[kept], len(self))

    def shift(self, rows: int, cols: int) -> Spans:
        """Return the sets moved down and to the right."""
        return Spans(self.offsets, self.values + np.array([rows, cols, cols], np.int32))

    def pixels(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return rows and columns of all pixels, span after span, each of shape (n_pixels,)."""
        lengths = self.lengths
        ends = np.cumsum(lengths)
        within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
        rows = np.repeat(self.values[:, 0].astype(np.int64), lengths)
        return rows, np.repeat(self.values[:, 1].astype(np.int64), lengths) + within

    def places(self, width: int) -> NDArray[np.int64]:
        """Return row * width + column of all pixels, span after span, shape (n_pixels,)."""
        row, start, _ = self.values.astype(np.int64).T
        lengths = self.lengths
        ends = np.cumsum(lengths)
        first = row * width + start - (ends - lengths)
        return np.repeat(first, lengths) + np.arange(ends[-1] if len(ends) else 0)

    def matrix(self, height: int, width: int) -> sparse.csr_array:
        """Return the sets as a sparse 0/1 matrix, shape (n_sets, height * width), row-major."""
        places = self.places(width)
        indptr = np.concatenate([[0], np.cumsum(self.areas)])
        ones = np.ones(len(places), np.float32)
        return sparse.csr_array((ones, places, indptr), (len(self), height * width))

    def bitmap(self, index: int, height: int, width: int) -> NDArray[np.bool_]:
        """Return one set as a bitmap, shape (height, width)."""
        row, start, stop = self.values[self.offsets[index] : self.offsets[index + 1]].T
        first = row.astype(np.int64) * width
        # Pixels outside and inside by turns.
        ends = np.stack([first + start, first + stop], axis=1).ravel()
        lengths = np.diff(ends, prepend=0, append=height * width)
        inside = np.arange(len(lengths)) % 2 == 1
        return np.repeat(inside, lengths).reshape(height, width)

    def connected_parts(self) -> tuple[Spans, NDArray[np.int64]]:
        """Split every set into its 8-connected parts.

        Returns
        -------
        parts : Spans
        owners : ndarray of int64, shape (n_parts,)
            The set each part comes from, ascending.
        """
        first, second = _touching_spans(self)
        count = len(self.values)
        ones = np.ones(len(first), np.int8)
        graph = sparse.coo_array((ones, (first, second)), (count, count))
        _, labels = sparse.csgraph.connected_components(graph, directed=False)
        # Numbered by first span, so that parts come in the order of their sets.
        _, firsts, labels = np.unique(labels, return_index=True, return_inverse=True)
        ranks = np.empty(len(firsts), np.int64)
        ranks[np.argsort(firsts)] = np.arange(len(firsts))
        return Spans.gather(ranks[labels], self.values, len(firsts)), self.owners[np.sort(firsts)]


def _touching_spans(spans: Spans) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return pairs of spans of one set in neighbouring rows that touch, corners included."""
    if not len(spans.values):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    row, start, stop = spans.values.astype(np.int64).T
    width = int(stop.max()) + 2
    # One number per (set, row, column) keeps spans sorted, so neighbours are found by bisection.
    line = spans.owners * (int(row.max()) + 2) + row
    starts, stops = line * width + start, line * width + stop
    first = np.searchsorted(stops, starts + width)  # spans below that end at or after our start
    last = np.searchsorted(starts, stops + width, side="right")
    counts = np.maximum(last - first, 0)
    above = np.repeat(np.arange(len(row)), counts)
    ends = np.cumsum(counts)
    below = np.repeat(first - (ends - counts), counts) + np.arange(ends[-1])
    return above, below


def _spans_of_pixels(
    owners: NDArray[np.int64], rows: NDArray[np.int64], cols: NDArray[np.int64], count: int
) -> Spans:
    """Make spans from the pixels of each set, sorted by set, row and column."""
    first = np.ones(len(rows), bool)
    first[1:] = (np.diff(owners) != 0) | (np.diff(rows) != 0) | (np.diff(cols) != 1)
    starts = np.flatnonzero(first)
    lengths = np.diff(np.append(starts, len(rows)))
    values = np.stack([rows[starts], cols[starts], cols[starts] + lengths], axis=1)
    return Spans.gather(owners[starts], values.astype(np.int32), count)
