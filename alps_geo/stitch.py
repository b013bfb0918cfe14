"""Masks of the same object in neighbouring tiles become one segment of the scene.

Neighbouring tiles share a strip. Masks are split into their connected parts inside it, and parts
are matched one to one by their IoU there; masks with matched parts belong to one segment. Only
parts that lie on both sides of the line between the tiles' cores count, and masks that one tile
sees whole: so two objects are never joined because a third touches both.

A segment's pixels are, in each core, those its own tile saw; and where one tile saw the object
whole, all pixels of that mask (the tile whose core holds the middle of the mask comes first).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .grid import Window
from .masks import Masks
from .progress import NoProgress, Progress
from .runs import Runs
from .tiles import Tile

#: Parts of masks with at least this IoU in the strip that tiles share are the same object.
MIN_IOU = 0.5
#: A mask is taken from a tile that does not own it where the owner's masks cover less of it.
MIN_COVER = 0.5
#: A mask lies inside what two tiles share if at least this share of its pixels does.
HELD_SHARE = 0.9

ReadMasks = Callable[[int], Masks]


@dataclass(frozen=True)
class TileView:
    """What stitching needs to know of a tile's masks, in scene coordinates.

    Attributes
    ----------
    tile : Tile
    runs : Runs
    boxes : ndarray of int32, shape (n_masks, 4)
        Row, col, row_stop, col_stop.
    areas : ndarray of int64, shape (n_masks,)
    whole : ndarray of bool, shape (n_masks,)
        True where the mask stays clear of the borders that the window has inside the scene.
    owner : ndarray of int64, shape (n_masks, 2)
        Row and column, in the grid of tiles, of the tile whose core holds the mask's middle.
    """

    tile: Tile
    runs: Runs
    boxes: NDArray[np.int32]
    areas: NDArray[np.int64]
    whole: NDArray[np.bool_]
    owner: NDArray[np.int64]

    @property
    def owned(self) -> NDArray[np.bool_]:
        """True where this very tile is the mask's owner, shape (n_masks,)."""
        owned: NDArray[np.bool_] = (self.owner == [self.tile.row, self.tile.col]).all(axis=1)
        return owned


@dataclass(frozen=True)
class Stitching:
    """Which masks make which segment.

    Masks are numbered through all tiles, in the order of the tiles; segments from 1, by their
    first pixel, row by row. Entry 0 of the segments' columns is unused.

    Attributes
    ----------
    offsets : ndarray of int64, shape (n_tiles + 1,)
        The masks of tile `i` are numbers `offsets[i]` to `offsets[i + 1] - 1`.
    segment : ndarray of int64, shape (n_masks,)
        Segment of each mask; 0 where the mask is of no use.
    full : ndarray of bool, shape (n_masks,)
        True where all pixels of the mask count, False where only those in its tile's core do.
    weight : ndarray of int64, shape (n_masks,)
        Pixels with which the mask counts in its segment's features and scores.
    area : ndarray of int64, shape (n_segments + 1,)
        Pixels of each segment before others are painted on top.
    predicted_iou, stability : ndarray of float32, shape (n_segments + 1,)
        Means over the segment's masks.
    n_stitched, n_whole, n_cut : int
        Segments made of several tiles' masks, seen whole by one tile, and cut at a core's border
        because no neighbour saw the rest.
    """

    offsets: NDArray[np.int64]
    segment: NDArray[np.int64]
    full: NDArray[np.bool_]
    weight: NDArray[np.int64]
    area: NDArray[np.int64]
    predicted_iou: NDArray[np.float32]
    stability: NDArray[np.float32]
    n_stitched: int
    n_whole: int
    n_cut: int

    @property
    def n_segments(self) -> int:
        """Number of segments, hidden ones included."""
        return len(self.area) - 1

    @property
    def rank(self) -> NDArray[np.int64]:
        """Place of each segment in painting order, shape (n_segments + 1,).

        Large first, small on top; ties by predicted IoU, the better on top, then by number.
        """
        order = np.lexsort((np.arange(len(self.area)), self.predicted_iou, -self.area))
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        return rank

    def masks_of(self, tile_index: int) -> slice:
        """Return the numbers of a tile's masks."""
        return slice(int(self.offsets[tile_index]), int(self.offsets[tile_index + 1]))


def stitch(tiles: Sequence[Tile], read: ReadMasks, progress: Progress | None = None) -> Stitching:
    """Join the masks of a scene's tiles into segments.

    Parameters
    ----------
    tiles : sequence of Tile
        All tiles of the scene, row by row; in which order they were computed plays no part.
    read : callable
        Number of a tile -> Masks, in the tile window's coordinates. Called once per tile.
    progress : Progress, optional

    Returns
    -------
    Stitching
    """
    progress = progress or NoProgress()
    scene = _bounds(tiles)
    places = {(tile.row, tile.col): index for index, tile in enumerate(tiles)}
    columns = 1 + max((tile.col for tile in tiles), default=0)
    facts: dict[int, _Facts] = {}
    matches: list[_Match] = []

    @lru_cache(maxsize=columns + 3)
    def view(index: int) -> TileView:
        """Read a tile's masks; those of a row of tiles are kept."""
        masks = read(index)
        seen = _view(tiles[index], masks, scene, tiles[0].core)
        facts[index] = _facts(seen, masks)
        return seen

    for index, tile in enumerate(tiles):
        view(index)
        for down, right in ((0, 1), (1, -1), (1, 0), (1, 1)):
            neighbour = places.get((tile.row + down, tile.col + right))
            if neighbour is not None:
                matches.append(_match(index, neighbour, view))
        progress.step(index + 1, len(tiles))
    sizes = [len(facts[index].area) for index in range(len(tiles))]
    table = _Facts.concatenate([facts.pop(index) for index in range(len(tiles))])
    view.cache_clear()
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return _group(offsets, table, matches)


def _bounds(tiles: Sequence[Tile]) -> Window:
    height = max((tile.core.row_stop for tile in tiles), default=0)
    width = max((tile.core.col_stop for tile in tiles), default=0)
    return Window(0, 0, height, width)


def _view(tile: Tile, masks: Masks, scene: Window, first_core: Window) -> TileView:
    runs = masks.runs.shift(tile.window.row, tile.window.col)
    box, seen = runs.boxes, tile.window
    whole = (
        ((box[:, 0] > seen.row) | (seen.row == 0))
        & ((box[:, 1] > seen.col) | (seen.col == 0))
        & ((box[:, 2] < seen.row_stop) | (seen.row_stop == scene.height))
        & ((box[:, 3] < seen.col_stop) | (seen.col_stop == scene.width))
    )
    # Every core but the last of a row or column is as large as the first.
    owner = (box[:, :2] + box[:, 2:]) // 2 // [first_core.height, first_core.width]
    return TileView(tile, runs, box, runs.areas, whole, owner.astype(np.int64))


@dataclass(frozen=True)
class _Facts:
    """What is kept of every mask when its pixels are let go, a row per mask."""

    area: NDArray[np.int64]
    core_area: NDArray[np.int64]
    first: NDArray[np.int64]
    core_first: NDArray[np.int64]
    predicted_iou: NDArray[np.float32]
    stability: NDArray[np.float32]
    whole: NDArray[np.bool_]
    owned: NDArray[np.bool_]

    @classmethod
    def concatenate(cls, parts: Sequence[_Facts]) -> _Facts:
        """Put tables one below another."""
        names = [item.name for item in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _facts(view: TileView, masks: Masks) -> _Facts:
    inside = view.runs.clip(view.tile.core)
    return _Facts(
        view.areas,
        inside.areas,
        _first_pixels(view.runs),
        _first_pixels(inside),
        masks.predicted_iou,
        masks.stability,
        view.whole,
        view.owned,
    )


def _first_pixels(runs: Runs) -> NDArray[np.int64]:
    """Return a number per set that sorts like (row, column) of its first pixel."""
    first = np.full(len(runs), np.iinfo(np.int64).max)
    filled = np.diff(runs.offsets) > 0
    row, col, _ = runs.values[runs.offsets[:-1][filled]].astype(np.int64).T
    first[filled] = (row << 32) + col
    return first


@dataclass(frozen=True)
class _Match:
    """What comparing two tiles gave, in numbers of their own masks."""

    tiles: tuple[int, int]
    pairs: NDArray[np.int64]
    missed: tuple[NDArray[np.int64], NDArray[np.int64]]


def _match(first: int, second: int, view: Callable[[int], TileView]) -> _Match:
    a, b = view(first), view(second)
    shared = a.tile.window.intersect(b.tile.window)
    if shared is None:
        nothing = np.zeros(0, np.int64)
        return _Match((first, second), np.zeros((2, 0), np.int64), (nothing, nothing))
    (a, in_first), (b, in_second) = (_near(seen, shared) for seen in (a, b))
    one, two = _pair(_Parts.find(a, b, shared), _Parts.find(b, a, shared))
    missed = in_first[_missed(a, b, shared)], in_second[_missed(b, a, shared)]
    return _Match((first, second), np.stack([in_first[one], in_second[two]]), missed)


def _near(view: TileView, window: Window) -> tuple[TileView, NDArray[np.int64]]:
    """Return what a tile sees of a window, and the numbers of those masks."""
    row, col, row_stop, col_stop = view.boxes.T
    meets = (row < window.row_stop) & (row_stop > window.row)
    chosen = np.flatnonzero(meets & (col < window.col_stop) & (col_stop > window.col))
    near = TileView(
        view.tile,
        view.runs.take(chosen),
        view.boxes[chosen],
        view.areas[chosen],
        view.whole[chosen],
        view.owner[chosen],
    )
    return near, chosen


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
        parts, mask = view.runs.clip(shared).connected_parts()
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
    covered = np.zeros((shared.height, shared.width), np.float32)
    covered[owner.runs.clip(shared).shift(-shared.row, -shared.col).pixels()] = 1
    chosen = view.runs.take(candidates).clip(shared).shift(-shared.row, -shared.col)
    cover = chosen.matrix(shared.height, shared.width) @ covered.ravel()
    missed: NDArray[np.int64] = candidates[cover < MIN_COVER * view.areas[candidates]]
    return missed


def _group(offsets: NDArray[np.int64], facts: _Facts, matches: Sequence[_Match]) -> Stitching:
    """Give groups of matched masks numbers, and decide which pixels of each mask count."""
    count = len(facts.area)
    group, alone = _components(offsets, count, matches)
    adopted = np.zeros(count, bool)
    for match in matches:
        for index, missed in zip(match.tiles, match.missed, strict=True):
            adopted[missed + offsets[index]] = True
    full = _representatives(group, facts) & (~alone | facts.owned | adopted)
    led = np.zeros(group.max(initial=-1) + 1, bool)
    led[group[full]] = True
    weight = np.where(led[group], np.where(full, facts.area, 0), facts.core_area)
    area = np.bincount(group, weight, minlength=len(led)).astype(np.int64)
    first = np.full(len(led), np.iinfo(np.int64).max)
    np.minimum.at(first, group, np.where(full, facts.first, facts.core_first))
    scores = [
        np.bincount(group, weight * score, minlength=len(led)) / np.maximum(area, 1)
        for score in (facts.predicted_iou, facts.stability)
    ]
    useful = np.flatnonzero(area > 0)
    order = useful[np.lexsort((-scores[0][useful], -area[useful], first[useful]))]
    number = np.zeros(len(led), np.int64)
    number[order] = np.arange(1, len(order) + 1)
    painting = weight.astype(bool) | (facts.core_area > 0)
    tiles_of = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    n_tiles = _distinct(group[painting], tiles_of[painting], len(led))[order]
    return Stitching(
        offsets,
        number[group],
        full,
        weight,
        np.append(0, area[order]),
        np.append(0, scores[0][order]).astype(np.float32),
        np.append(0, scores[1][order]).astype(np.float32),
        n_stitched=int(np.count_nonzero(n_tiles > 1)),
        n_whole=int(np.count_nonzero((n_tiles == 1) & led[order])),
        n_cut=int(np.count_nonzero((n_tiles == 1) & ~led[order])),
    )


def _components(
    offsets: NDArray[np.int64], count: int, matches: Sequence[_Match]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the group of each mask, and whether it has that group for itself."""
    pairs = [match.pairs + offsets[list(match.tiles), np.newaxis] for match in matches]
    first, second = np.concatenate([*pairs, np.zeros((2, 0), np.int64)], axis=1)
    graph = sparse.coo_array((np.ones(len(first), np.int8), (first, second)), (count, count))
    _, group = sparse.csgraph.connected_components(graph, directed=False)
    return group.astype(np.int64), np.bincount(group)[group] == 1


def _representatives(group: NDArray[np.int64], facts: _Facts) -> NDArray[np.bool_]:
    """Flag one whole mask of each group that has any: the owner's own, else the first."""
    order = np.lexsort((np.arange(len(group)), ~facts.owned, ~facts.whole, group))
    _, firsts = np.unique(group[order], return_index=True)
    chosen = np.zeros(len(group), bool)
    chosen[order[firsts]] = True
    return chosen & facts.whole


def _distinct(group: NDArray[np.int64], value: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Count the distinct values of each group."""
    pairs = np.unique(np.stack([group, value]), axis=1)
    return np.bincount(pairs[0], minlength=count)
