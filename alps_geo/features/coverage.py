"""How much of each cell of another grid masks cover: exactly, whatever lies how on what.

A mask's outline is a polygon of pixel borders. Brought to the other grid, every piece of it that
lies in one cell says what share of that cell, and that all cells right of it, are on its right:
added up along each row of cells, the pieces give the area of the polygon in every cell, as programs
that draw letters do it. Only the outline is looked at, so that large masks cost little, and nothing
is sampled: where pixel borders stay straight, the shares are exact but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .._columns import Columns
from ..scenes.grid import Window
from ..scenes.spans import Spans

#: Shares below this part of a cell, or of a smaller pixel, are what rounding leaves, of sums and of
#: borders that agree.
_ROUNDING, _LEAST = 1e-8, 1e-12
#: Cells that are pooled at once, at most.
_CELLS = 2**19
Points = NDArray[np.float64]


@dataclass(frozen=True)
class Strips(Columns):
    """Cells that masks cover: each strip is a piece of a row of cells with one share.

    Attributes
    ----------
    owner, row, start, stop : ndarray of int64, shape (n_strips,)
        The mask; cells (row, start) to (row, stop - 1).
    share : ndarray of float64, shape (n_strips,)
        Of each of these cells, above 0 and up to 1.
    """

    owner: NDArray[np.int64]
    row: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    share: NDArray[np.float64]

    def matrices(self, count: int) -> Iterator[tuple[Window, sparse.csr_array]]:
        """Yield windows of the cells and the shares of all masks there.

        Yields
        ------
        window : Window
            Up to about half a million cells, or one row of them.
        shares : sparse array, shape (count, height * width)
        """
        if not len(self):
            return
        left, right = int(self.start.min()), int(self.stop.max())
        step = max(1, _CELLS // (right - left))
        chunk = self.row // step
        order = np.argsort(chunk, kind="stable")
        for part in np.split(order, np.flatnonzero(np.diff(chunk[order])) + 1):
            yield self.take(part)._matrix(count)

    def _matrix(self, count: int) -> tuple[Window, sparse.csr_array]:
        top, left = int(self.row.min()), int(self.start.min())
        height, width = int(self.row.max()) + 1 - top, int(self.stop.max()) - left
        sizes = self.stop - self.start
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        places = np.repeat((self.row - top) * width + self.start - left, sizes) + within
        where = np.repeat(self.owner, sizes), places
        shares = sparse.coo_array((np.repeat(self.share, sizes), where), (count, height * width))
        return Window(top, left, height, width), shares.tocsr()


def cover(
    spans: Spans, to_cells: Callable[[Points], Points], shape: tuple[int, int], *, bent: bool
) -> Strips:
    """Find the cells of a grid that masks cover.

    Parameters
    ----------
    spans : Spans
        The masks' pixels.
    to_cells : callable
        Turns pixel corners (col, row), shape (n, 2), into places (x, y) on the other grid, of which
        cell (i, j) is the square from (i, j) to (i + 1, j + 1).
    shape : (int, int)
        Rows and columns of the other grid; what lies beyond counts for nothing.
    bent : bool
        True where straight lines need not stay straight: then they are taken pixel by pixel.

    Returns
    -------
    Strips
        None of a mask with a corner that has no place on the other grid.
    """
    owners, corners = _outlines(spans)
    if bent:
        owners, corners = _cut_to_pixels(owners, corners)
    ends = _place(corners, to_cells)
    lost = np.unique(owners[~np.isfinite(ends).all(axis=(1, 2))])
    # Along a row nothing changes where a line is level.
    kept = (ends[:, 0, 1] != ends[:, 1, 1]) & ~np.isin(owners, lost)
    least = max(_LEAST, _ROUNDING * min(1, _pixel_size(spans, ends)))
    strips = _add_up(*_split_at_cells(owners[kept], ends[kept]), len(spans), shape)
    return strips.take(strips.share > least)


def _pixel_size(spans: Spans, ends: Points) -> float:
    """Return about how many cells a pixel has."""
    whole = np.isfinite(ends).all(axis=(1, 2))
    if not whole.any():
        return 0.0
    (x0, y0), (x1, y1) = (ends[whole] - ends[whole][0, 0]).transpose(1, 2, 0)
    return abs(float((x0 * y1 - x1 * y0).sum())) / 2 / int(spans.areas.sum())


def _place(corners: NDArray[np.int64], to_cells: Callable[[Points], Points]) -> Points:
    """Bring corners to the other grid, each once."""
    width = int(corners[..., 0].max(initial=0)) + 1
    unique, index = np.unique(corners[..., 1] * width + corners[..., 0], return_inverse=True)
    rows, cols = np.divmod(unique, width)
    placed: Points = to_cells(np.stack([cols, rows], axis=1).astype(np.float64))
    ends: Points = placed[index.reshape(corners.shape[:2])]
    return ends


def _outlines(spans: Spans) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return masks' borders as lines from corner to corner, with the mask on their left.

    Returns
    -------
    owners : ndarray of int64, shape (n_lines,)
    corners : ndarray of int64, shape (n_lines, 2, 2)
        (col, row) of both ends.
    """
    row, start, stop = spans.values.astype(np.int64).T
    of = spans.owners
    down = np.stack([start, row, start, row + 1], axis=1)
    up = np.stack([stop, row + 1, stop, row], axis=1)
    # Along a line between two rows: what begins and ends below it, less what does above.
    line = np.concatenate([row, row, row + 1, row + 1])
    col = np.concatenate([start, stop, start, stop])
    change = np.repeat([1, -1, -1, 1], len(row))
    owner = np.tile(of, 4)
    order = np.lexsort((col, line, owner))
    line, col, owner = line[order], col[order], owner[order]
    side = np.cumsum(change[order])[:-1]
    shown = (side != 0) & (np.diff(col) != 0)
    first, last, at = col[:-1][shown], col[1:][shown], line[:-1][shown]
    begin, end = np.where(side[shown] > 0, (last, first), (first, last))
    level = np.stack([begin, at, end, at], axis=1)
    owners = np.concatenate([of, of, owner[:-1][shown]])
    return owners, np.concatenate([down, up, level]).reshape(-1, 2, 2)


def _cut_to_pixels(
    owners: NDArray[np.int64], corners: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut lines into pieces of one pixel."""
    whole = corners[:, 1] - corners[:, 0]
    sizes = np.abs(whole).sum(axis=1)
    index = np.repeat(np.arange(len(owners)), sizes)
    within = np.arange(len(index)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    step = np.sign(whole)[index]
    begin = corners[index, 0] + step * within[:, np.newaxis]
    return owners[index], np.stack([begin, begin + step], axis=1)


def _split_at_cells(owners: NDArray[np.int64], ends: Points) -> tuple[NDArray[np.int64], Points]:
    """Split lines where they leave a cell; the pieces' ends have shape (n_pieces, 2, 2)."""
    begin, whole = ends[:, 0], ends[:, 1] - ends[:, 0]
    count = len(owners)
    lines, times = [np.tile(np.arange(count), 2)], [np.repeat([0.0, 1.0], count)]
    for axis in (0, 1):
        first = np.floor(ends[..., axis].min(axis=1)) + 1
        crossed = np.maximum(np.ceil(ends[..., axis].max(axis=1)) - first, 0).astype(np.int64)
        line = np.repeat(np.arange(count), crossed)
        within = np.arange(len(line)) - np.repeat(np.cumsum(crossed) - crossed, crossed)
        lines.append(line)
        times.append((first[line] + within - begin[line, axis]) / whole[line, axis])
    line, time = np.concatenate(lines), np.concatenate(times)
    order = np.lexsort((time, line))
    line, time = line[order], time[order]
    piece = np.flatnonzero((line[1:] == line[:-1]) & (time[1:] > time[:-1]))
    of = line[piece]
    cuts = np.stack([time[piece], time[piece + 1]], axis=1)[..., np.newaxis]
    return owners[of], begin[of, np.newaxis] + cuts * whole[of, np.newaxis]


def _add_up(
    owners: NDArray[np.int64], pieces: Points, count: int, shape: tuple[int, int]
) -> Strips:
    """Add up along each row of cells what pieces of outlines say."""
    height, width = shape
    middle = pieces.mean(axis=1)
    drop = pieces[:, 1, 1] - pieces[:, 0, 1]
    cell = np.floor(middle).astype(np.int64)
    seen = (cell[:, 1] >= 0) & (cell[:, 1] < height)
    owners, middle, drop, cell = owners[seen], middle[seen], drop[seen], cell[seen]
    right = cell[:, 0] + 1 - middle[:, 0]
    column = np.clip(np.concatenate([cell[:, 0], cell[:, 0] + 1]), 0, width)
    change = np.concatenate([drop * right, drop * (1 - right)])
    key = np.tile(owners * height + cell[:, 1], 2) * (width + 1) + column
    places, index = np.unique(key, return_inverse=True)
    share = np.cumsum(np.bincount(index, change, minlength=len(places)))[:-1]
    line, column = np.divmod(places, width + 1)
    kept = (share != 0) & (line[1:] == line[:-1])
    owner, row = np.divmod(line[:-1][kept], height)
    start, stop, share = column[:-1][kept], column[1:][kept], share[kept]
    # Where the other grid is a mirror image, outlines run the other way round.
    way = np.sign(np.bincount(owner, share * (stop - start), minlength=count))
    return Strips(owner, row, start, stop, share * way[owner])
