"""Which masks of two neighbouring tiles show the same object.

Masks are split into their connected parts inside the strip that both tiles see, and parts are
matched one to one by their IoU there. Only parts that lie on both sides of the line between the
tiles' cores count, and masks that one tile sees whole: so two objects are never joined because a
third touches both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..models.masks import Masks
from ..scenes.grid import Window
from ..scenes.spans import Spans
from ..scenes.tiles import Tile

#: Parts of masks with at least this IoU in the strip that tiles share are the same object.
MIN_IOU = 0.5
#: A mask is taken from a tile that does not own it where the owner's masks cover less of it.
MIN_COVER = 0.5
#: A mask lies inside what two tiles share if at least this share of its pixels does.
HELD_SHARE = 0.9


@dataclass(frozen=True)
class TileView:
    """What stitching needs to know of a tile's masks, in scene coordinates.

    Attributes
    ----------
    tile : Tile
    numbers : ndarray of int64, shape (n_masks,)
        Which of the tile's masks they are.
    spans : Spans
        All their pixels, or those in a window.
    boxes : ndarray of int32, shape (n_masks, 4)
        Row, col, row_stop, col_stop.
        These, and all that follows, of whole masks.
    areas : ndarray of int64, shape (n_masks,)
    ends : ndarray of bool, shape (n_masks, 4)
        Whether the mask stays clear of the window's upper, left, lower and right border; always so
        of a border that is the scene's as well.
    owner : ndarray of int64, shape (n_masks, 2)
        Row and column, in the grid of tiles, of the tile whose core holds the mask's middle.
    """

    tile: Tile
    numbers: NDArray[np.int64]
    spans: Spans
    boxes: NDArray[np.int32]
    areas: NDArray[np.int64]
    ends: NDArray[np.bool_]
    owner: NDArray[np.int64]

    @property
    def whole(self) -> NDArray[np.bool_]:
        """True where the tile sees all of the mask's object, shape (n_masks,)."""
        return np.asarray(self.ends.all(axis=1))

    @property
    def owned(self) -> NDArray[np.bool_]:
        """True where this very tile is the mask's owner, shape (n_masks,)."""
        owned: NDArray[np.bool_] = (self.owner == [self.tile.row, self.tile.col]).all(axis=1)
        return owned

    def cut(self, window: Window) -> TileView:
        """Return the masks that may have pixels in a window, with these pixels only."""
        row, col, row_stop, col_stop = self.boxes.T
        meets = (row < window.row_stop) & (row_stop > window.row)
        chosen = np.flatnonzero(meets & (col < window.col_stop) & (col_stop > window.col))
        return TileView(
            self.tile,
            self.numbers[chosen],
            self.spans.take(chosen).clip(window),
            self.boxes[chosen],
            self.areas[chosen],
            self.ends[chosen],
            self.owner[chosen],
        )


def view_tile(tile: Tile, masks: Masks, scene: Window, first_core: Window) -> TileView:
    """Bring a tile's masks to the scene's coordinates.

    Parameters
    ----------
    tile : Tile
    masks : Masks
        In the tile window's coordinates.
    scene, first_core : Window
        The scene, and the core of its first tile, which is as large as any.

    Returns
    -------
    TileView
    """
    spans = masks.spans.shift(tile.window.row, tile.window.col)
    box, seen = spans.boxes, tile.window
    ends = np.ones((len(spans), 4), bool)
    ends[:, 0] = (box[:, 0] > seen.row) | (seen.row == 0)
    ends[:, 1] = (box[:, 1] > seen.col) | (seen.col == 0)
    ends[:, 2] = (box[:, 2] < seen.row_stop) | (seen.row_stop == scene.height)
    ends[:, 3] = (box[:, 3] < seen.col_stop) | (seen.col_stop == scene.width)
    # Every core but the last of a row or column is as large as the first.
    owner = (box[:, :2] + box[:, 2:]) // 2 // [first_core.height, first_core.width]
    return TileView(
        tile, np.arange(len(spans)), spans, box, spans.areas, ends, owner.astype(np.int64)
    )


def reach_of_masks(tile: Tile, ends: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return where each mask of a tile counts: in its core, and past it where the mask ends.

    Parameters
    ----------
    tile : Tile
    ends : ndarray of bool, shape (n_masks, 4)
        As in `TileView`.

    Returns
    -------
    ndarray of int32, shape (n_masks, 4)
        Row, col, row_stop, col_stop.
    """
    window, core = (
        np.array([some.row, some.col, some.row_stop, some.col_stop], np.int32)
        for some in (tile.window, tile.core)
    )
    return np.where(ends, window, core)


@dataclass(frozen=True)
class Match:
    """What comparing two tiles gave, in numbers of their own masks.

    Attributes
    ----------
    tiles : (int, int)
    pairs : ndarray of int64, shape (2, n)
        Masks of the first and of the second tile that show the same object.
    missed : (ndarray of int64, ndarray of int64)
        Whole masks of each that belong to the other, which has no mask there.
    """

    tiles: tuple[int, int]
    pairs: NDArray[np.int64]
    missed: tuple[NDArray[np.int64], NDArray[np.int64]]


def match_tiles(tiles: tuple[int, int], first: TileView, second: TileView) -> Match:
    """Compare what two tiles see of the strip that they share.

    Parameters
    ----------
    tiles : (int, int)
        Their numbers.
    first, second : TileView
        What they see, at least in that strip.

    Returns
    -------
    Match
    """
    shared = first.tile.window.intersect(second.tile.window)
    if shared is None:
        nothing = np.zeros(0, np.int64)
        return Match(tiles, np.zeros((2, 0), np.int64), (nothing, nothing))
    a, b = first.cut(shared), second.cut(shared)
    one, two = _pair(_Parts.find(a, b, shared), _Parts.find(b, a, shared))
    missed = a.numbers[_missed(a, b, shared)], b.numbers[_missed(b, a, shared)]
    return Match(tiles, np.stack([a.numbers[one], b.numbers[two]]), missed)


@dataclass(frozen=True)
class _Parts:
    """The connected parts of a tile's masks inside a shared window, a row per part."""

    matrix: sparse.csr_array
    mask: NDArray[np.int64]
    area: NDArray[np.int64]
    mask_area: NDArray[np.int64]
    here: NDArray[np.bool_]  # has pixels in the core of the mask's own tile
    there: NDArray[np.bool_]  # has pixels in the other tile's core
    whole: NDArray[np.bool_]  # belongs to a mask that its tile sees whole

    @classmethod
    def find(cls, view: TileView, other: TileView, shared: Window) -> _Parts:
        """Find the parts of the masks of `view` in what both tiles see."""
        parts, mask = view.spans.connected_parts()
        here, there = (parts.clip(tile.core).areas > 0 for tile in (view.tile, other.tile))
        matrix = parts.shift(-shared.row, -shared.col).matrix(shared.height, shared.width)
        whole, mask_area = view.whole[mask], view.areas[mask]
        return cls(matrix, mask, parts.areas, mask_area, here, there, whole)

    @property
    def held(self) -> NDArray[np.bool_]:
        """True for masks in their own core that lie inside the shared window, but for a rest."""
        seen = np.bincount(self.mask, self.area)[self.mask]
        return self.here & (seen >= HELD_SHARE * self.mask_area)

    @property
    def inside(self) -> NDArray[np.bool_]:
        """True for whole masks that lie inside the shared window."""
        inside: NDArray[np.bool_] = self.whole & (self.area == self.mask_area)
        return inside


def _pair(a: _Parts, b: _Parts) -> NDArray[np.int64]:
    """Match parts one to one by IoU, best first; return masks of `a` and `b`, shape (2, n)."""
    common = (a.matrix @ b.matrix.T).tocoo()
    one, two = common.coords
    shared = common.data.astype(np.int64)
    both_cross = (a.here & a.there)[one] & (b.here & b.there)[two]
    # What one tile sees whole, the other sees only where both do; nothing of it lies outside.
    painted = (a.whole[one] & b.held[two]) | (b.whole[two] & a.held[one])
    inside = a.inside[one] | b.inside[two]
    sizes = (a.area[one] + b.area[two], a.mask_area[one] + b.mask_area[two])
    overlap = shared / (np.where(inside, sizes[1], sizes[0]) - shared)
    good = (both_cross | painted | inside) & (overlap >= MIN_IOU)
    one, two, overlap = one[good], two[good], overlap[good]
    # Equal parts of nested masks: the larger belong together.
    order = np.lexsort((two, one, -(a.mask_area[one] + b.mask_area[two]), -overlap))
    taken_a, taken_b = np.zeros(len(a.area), bool), np.zeros(len(b.area), bool)
    pairs = []
    for number in order:
        if not taken_a[one[number]] and not taken_b[two[number]]:
            taken_a[one[number]] = taken_b[two[number]] = True
            pairs.append((a.mask[one[number]], b.mask[two[number]]))
    matched: NDArray[np.int64] = np.array(pairs, np.int64).reshape(-1, 2).T
    return matched


def _missed(view: TileView, owner: TileView, shared: Window) -> NDArray[np.int64]:
    """Return whole masks of `view` that lie with `owner`, where its own masks cover little."""
    theirs = (view.owner == [owner.tile.row, owner.tile.col]).all(axis=1) & view.whole
    candidates = np.flatnonzero(theirs)
    if not len(candidates):
        return candidates
    cover = _cover(view.spans.take(candidates), owner.spans, shared)
    missed: NDArray[np.int64] = candidates[cover < MIN_COVER * view.areas[candidates]]
    return missed


def _cover(spans: Spans, others: Spans, window: Window) -> NDArray[np.int64]:
    """Return how many pixels of each set lie in any of the other sets, all inside a window."""
    # Spans open and close along the rows; a column more, because the last may close there.
    covered = np.zeros((window.height, window.width + 1), np.int64)
    row, start, stop = others.shift(-window.row, -window.col).values.T
    np.add.at(covered, (row, start), 1)
    np.add.at(covered, (row, stop), -1)
    counts = np.zeros((window.height, window.width + 1), np.int64)
    np.cumsum(covered.cumsum(axis=1)[:, :-1] > 0, axis=1, out=counts[:, 1:])
    row, start, stop = spans.shift(-window.row, -window.col).values.T
    sums = np.concatenate([[0], np.cumsum(counts[row, stop] - counts[row, start])])
    return np.asarray(np.diff(sums[spans.offsets]))
