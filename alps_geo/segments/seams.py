"""The lines between tiles' cores: where two tiles disagree, labels end at a border that one saw.

Two tiles may see different things across the line between their cores, each going on where the
other takes over: labels would then change in a straight line. What both see as one piece of ground,
the one as part of segment a, the other of b, is therefore given to a or b as a whole, wherever that
leaves fewer straight borders.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label

from ..scenes.grid import Window
from ..scenes.tiles import Tile

Ids = NDArray[np.uint32]
Flags = NDArray[np.bool_]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Patch:
    """Pixels that change from one segment to another, a row per pixel.

    Attributes
    ----------
    rows, cols : ndarray of int64, shape (n_pixels,)
        In the scene.
    before, after : ndarray of uint32, shape (n_pixels,)
    """

    rows: Counts
    cols: Counts
    before: Ids
    after: Ids

    def apply(self, ids: Ids, window: Window) -> None:
        """Change those pixels of a window that still belong to the segment before.

        Parameters
        ----------
        ids : ndarray of uint32, shape (height, width)
            Changed in place.
        window : Window
            Holds all pixels of the patch.
        """
        places = self.rows - window.row, self.cols - window.col
        ids[places] = np.where(ids[places] == self.before, self.after, ids[places])


def seen_beyond(tile: Tile) -> int:
    """Return how many pixels a tile sees past its core, at its lower or right side."""
    seen, core = tile.window, tile.core
    return max(seen.row_stop - core.row_stop, seen.col_stop - core.col_stop)


def strip_between(first: Tile, second: Tile) -> Window | None:
    """Return what both of two tiles side by side see of their cores; None where there is nothing.

    Parameters
    ----------
    first, second : Tile
        The second is right of the first or below it.
    """
    shared = first.window.intersect(second.window)
    height = second.core.row_stop - first.core.row
    width = second.core.col_stop - first.core.col
    return shared and shared.intersect(Window(first.core.row, first.core.col, height, width))


def settle(
    tiles: tuple[Tile, Tile], seen: Window, painted: Ids, views: tuple[Ids, Ids]
) -> tuple[Patch, Patch]:
    """Decide which of two tiles side by side gives the labels of what lies on their line.

    Parameters
    ----------
    tiles : (Tile, Tile)
        The second is right of the first or below it.
    seen : Window
        What `strip_between` returns, and a pixel around it, as far as the scene goes.
    painted : ndarray of uint32, shape (height, width) of `seen`
        Segments as they would be, 0 for none.
    views : (ndarray of uint32, ndarray of uint32), shape (height, width)
        Segments that each tile sees, 0 for none.

    Returns
    -------
    (Patch, Patch)
        What changes in the core of each.
    """
    one, two = views
    strip = strip_between(*tiles)
    inside = np.zeros(one.shape, bool) if strip is None else _within(strip, seen)
    here, there = (inside & _within(tile.core, seen) for tile in tiles)
    differ = inside & (one > 0) & (two > 0) & (one != two)
    differ &= painted == np.where(here, one, two)
    keys = np.where(differ, (one.astype(np.int64) << 32) + two, 0)
    pieces = label(keys, background=0, connectivity=1)  # type: ignore[no-untyped-call]
    count = int(pieces.max()) + 1
    crossing = _count_sides(pieces, here, there, count)
    # Beyond the strip, a piece goes on unless a tile that sees so far saw it end.
    goes_on = [(~_within(tile.window, seen), view) for tile, view in zip(tiles, views, strict=True)]
    first_loose, second_loose = (
        _count_sides(pieces, part, ~inside, count, goes_on) for part in (there, here)
    )
    # Equal otherwise, so few pixels as possible change.
    in_here, in_there = (np.bincount(pieces[part], minlength=count) for part in (here, there))
    better = (first_loose < second_loose) | ((first_loose == second_loose) & (in_there <= in_here))
    useful = np.minimum(first_loose, second_loose) < crossing
    useful[0] = False
    return (
        _patch(here & (useful & ~better)[pieces], seen, one, two),
        _patch(there & (useful & better)[pieces], seen, two, one),
    )


def _within(part: Window, seen: Window) -> Flags:
    """Return where in a window another one is."""
    flags = np.zeros((seen.height, seen.width), bool)
    common = part.intersect(seen)
    if common is not None:
        flags[common.shift(-seen.row, -seen.col).slices] = True
    return flags


def _count_sides(
    pieces: NDArray[np.integer],
    part: Flags,
    other: Flags,
    count: int,
    views: list[tuple[Flags, Ids]] | None = None,
) -> Counts:
    """Count the pixel sides by which each piece goes on from one part of the image to another.

    Without views, those to pixels of the same piece; with them, those to pixels which no view shows
    to be another segment's, given where each view knows nothing and what it shows elsewhere.
    """
    total = np.zeros(count, np.int64)
    for near, far in _neighbours():
        same = part[near] & other[far] & (pieces[near] > 0)
        if views is None:
            same &= pieces[near] == pieces[far]
        for unknown, view in views or []:
            same &= unknown[far] | (view[near] == view[far])
        total += np.bincount(pieces[near][same], minlength=count)
    return total


def _neighbours() -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Give pairs of indices that put every pixel beside each of its four neighbours."""
    every, but_last, but_first = slice(None), slice(None, -1), slice(1, None)
    for one, two in ((but_last, but_first), (but_first, but_last)):
        yield (one, every), (two, every)
        yield (every, one), (every, two)


def _patch(where: Flags, seen: Window, before: Ids, after: Ids) -> Patch:
    rows, cols = np.nonzero(where)
    return Patch(rows + seen.row, cols + seen.col, before[where], after[where])
