"""Masks of the same object in neighbouring tiles become one segment of the scene.

Masks that `matching` finds to be the same belong to one segment. Its pixels are, in each core,
those its own tile saw, and past the core, on the sides where a mask ends within what its tile sees,
the rest of that mask. So a straight border is left only where a mask runs out of its tile and no
neighbour saw the rest; such masks are painted below all others, and `lines` moves their borders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .._columns import Columns
from .._memory import return_freed_memory
from ..models.masks import Masks
from ..progress import NoProgress, Progress
from ..scenes.grid import Window
from ..scenes.spans import Spans
from ..scenes.tiles import Tile
from .matching import Match, TileView, match_tiles, reach_of_masks, view_tile

ReadMasks = Callable[[int], Masks]


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
    ends : ndarray of bool, shape (n_masks, 4)
        Sides (upper, left, lower, right) on which the mask counts past its tile's core.
    weight : ndarray of int32, shape (n_masks,)
        Pixels with which the mask counts in its segment's features and scores.
    area : ndarray of int64, shape (n_segments + 1,)
        Pixels of each segment before others are painted on top.
    predicted_iou, stability : ndarray of float32, shape (n_segments + 1,)
        Means over the segment's masks.
    below : ndarray of bool, shape (n_segments + 1,)
        True where the segment is one mask that runs out of its tile, and no neighbour's matches.
    n_stitched, n_whole, n_cut : int
        Segments made of several tiles' masks, seen whole by one tile, and cut at a core's border
        because no neighbour saw the rest.
    """

    offsets: NDArray[np.int64]
    segment: NDArray[np.int64]
    ends: NDArray[np.bool_]
    weight: NDArray[np.int32]
    area: NDArray[np.int64]
    predicted_iou: NDArray[np.float32]
    stability: NDArray[np.float32]
    below: NDArray[np.bool_]
    n_stitched: int
    n_whole: int
    n_cut: int

    @property
    def n_segments(self) -> int:
        """Number of segments, hidden ones included."""
        return len(self.area) - 1

    @cached_property
    def rank(self) -> NDArray[np.int64]:
        """Place of each segment in painting order, shape (n_segments + 1,).

        Large first, small on top; ties by predicted IoU, the better on top, then by number. What
        is cut at the border of a core comes before all: on top, it would end in a straight line.
        """
        numbers = np.arange(len(self.area))
        order = np.lexsort((numbers, self.predicted_iou, -self.area, ~self.below))
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        return rank

    def masks_of(self, tile_index: int) -> slice:
        """Return the numbers of a tile's masks."""
        return slice(int(self.offsets[tile_index]), int(self.offsets[tile_index + 1]))

    def reach_of(self, tile_index: int, tile: Tile) -> NDArray[np.int32]:
        """Return where each mask of a tile counts, as `reach_of_masks` does."""
        return reach_of_masks(tile, self.ends[self.masks_of(tile_index)])


def stitch(tiles: Sequence[Tile], read: ReadMasks, progress: Progress | None = None) -> Stitching:
    """Join the masks of a scene's tiles into segments.

    Parameters
    ----------
    tiles : sequence of Tile
        All tiles of the scene, row by row; in which order they were computed plays no part.
    read : callable
        Number of a tile -> Masks, in the tile window's coordinates. Called once per tile, in order.
    progress : Progress, optional

    Returns
    -------
    Stitching
    """
    parts, matches = _compare_tiles(tiles, read, progress or NoProgress())
    sizes = [len(part.area) for part in parts]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    facts = _Facts.concatenate(parts)
    del parts
    return_freed_memory()
    return _group(offsets, facts, matches)


def _compare_tiles(
    tiles: Sequence[Tile], read: ReadMasks, progress: Progress
) -> tuple[list[_Facts], list[Match]]:
    """Return what is kept of each tile's masks, and which of them neighbours see too."""
    scene = _bounds(tiles)
    places = {(tile.row, tile.col): index for index, tile in enumerate(tiles)}
    columns = 1 + max((tile.col for tile in tiles), default=0)
    facts: list[_Facts] = []
    matches: list[Match] = []
    # Of the tile before all masks, of those since the one above what the row below sees of them.
    seen: dict[int, TileView] = {}
    for index, tile in enumerate(tiles):
        masks = read(index)
        view = view_tile(tile, masks, scene, tiles[0].core)
        facts.append(_facts(view, masks))
        for down, right in ((-1, -1), (-1, 0), (-1, 1), (0, -1)):
            neighbour = places.get((tile.row + down, tile.col + right))
            if neighbour is not None:
                matches.append(match_tiles((neighbour, index), seen[neighbour], view))
        if index:
            seen[index - 1] = _lower_strip(seen[index - 1], tiles, places)
        seen[index] = view
        seen.pop(index - columns - 1, None)
        progress.step(index + 1, len(tiles))
    return facts, matches


def _lower_strip(
    view: TileView, tiles: Sequence[Tile], places: dict[tuple[int, int], int]
) -> TileView:
    """Return what the tiles of the row below see of a tile's masks."""
    tile = view.tile
    below = places.get((tile.row + 1, tile.col))
    first = tile.window.row_stop if below is None else tiles[below].window.row
    height = tile.window.row_stop - first
    return view.cut(Window(first, tile.window.col, height, tile.window.width))


def _bounds(tiles: Sequence[Tile]) -> Window:
    height = max((tile.core.row_stop for tile in tiles), default=0)
    width = max((tile.core.col_stop for tile in tiles), default=0)
    return Window(0, 0, height, width)


@dataclass(frozen=True)
class _Facts(Columns):
    """What is kept of every mask when its pixels are let go, a row per mask."""

    area: NDArray[np.int32]  # within reach
    core_area: NDArray[np.int32]
    first: NDArray[np.int64]  # within reach
    predicted_iou: NDArray[np.float32]
    stability: NDArray[np.float32]
    ends: NDArray[np.bool_]
    cut: NDArray[np.bool_]  # runs out of what its tile sees, beyond the core
    owned: NDArray[np.bool_]


def _facts(view: TileView, masks: Masks) -> _Facts:
    inside = view.spans.clip(view.tile.core).areas
    reached = view.spans.clip_each(reach_of_masks(view.tile, view.ends))
    return _Facts(
        reached.areas.astype(np.int32),
        inside.astype(np.int32),
        _first_pixels(reached),
        masks.predicted_iou,
        masks.stability,
        view.ends,
        ~view.whole & (view.areas > inside),
        view.owned,
    )


def _first_pixels(spans: Spans) -> NDArray[np.int64]:
    """Return a number per set that sorts like (row, column) of its first pixel."""
    first = np.full(len(spans), np.iinfo(np.int64).max)
    filled = np.diff(spans.offsets) > 0
    row, col, _ = spans.values[spans.offsets[:-1][filled]].astype(np.int64).T
    first[filled] = (row << 32) + col
    return first


def _group(offsets: NDArray[np.int64], facts: _Facts, matches: Sequence[Match]) -> Stitching:
    """Give groups of matched masks numbers, and decide which pixels of each mask count."""
    count = len(facts.area)
    group, alone = _components(offsets, count, matches)
    adopted = np.zeros(count, bool)
    for match in matches:
        for index, missed in zip(match.tiles, match.missed, strict=True):
            adopted[missed + offsets[index]] = True
    inside = facts.core_area > 0
    full = _representatives(group, facts) & (~alone | facts.owned | adopted | inside)
    led = np.zeros(group.max(initial=-1) + 1, bool)
    led[group[full]] = True
    # Masks in several cores are counted once per pixel, a single one as far as it reaches.
    parts = np.where(alone & inside, facts.area, facts.core_area)
    weight = np.where(led[group], np.where(full, facts.area, 0), parts)
    area = np.bincount(group, weight, minlength=len(led)).astype(np.int64)
    counts = full | inside
    first = np.full(len(led), np.iinfo(np.int64).max)
    np.minimum.at(first, group[counts], facts.first[counts])
    scores = [
        np.bincount(group, weight * score, minlength=len(led)) / np.maximum(area, 1)
        for score in (facts.predicted_iou, facts.stability)
    ]
    useful = np.flatnonzero(area > 0)
    order = useful[np.lexsort((-scores[0][useful], -area[useful], first[useful]))]
    number = np.zeros(len(led), np.int64)
    number[order] = np.arange(1, len(order) + 1)
    tiles_of = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    n_tiles = _distinct(group[counts], tiles_of[counts], len(led))[order]
    below = np.zeros(len(led), bool)
    below[group[facts.cut & alone]] = True
    return Stitching(
        offsets,
        np.where(counts, number[group], 0),
        facts.ends,
        weight,
        np.append(0, area[order]),
        np.append(0, scores[0][order]).astype(np.float32),
        np.append(0, scores[1][order]).astype(np.float32),
        np.append(False, below[order]),
        n_stitched=int(np.count_nonzero(n_tiles > 1)),
        n_whole=int(np.count_nonzero((n_tiles == 1) & led[order])),
        n_cut=int(np.count_nonzero((n_tiles == 1) & ~led[order])),
    )


def _components(
    offsets: NDArray[np.int64], count: int, matches: Sequence[Match]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the group of each mask, and whether it has that group for itself."""
    pairs = [match.pairs + offsets[list(match.tiles), np.newaxis] for match in matches]
    first, second = np.concatenate([*pairs, np.zeros((2, 0), np.int64)], axis=1)
    graph = sparse.coo_array((np.ones(len(first), np.int8), (first, second)), (count, count))
    _, group = sparse.csgraph.connected_components(graph, directed=False)
    return group.astype(np.int64), np.bincount(group)[group] == 1


def _representatives(group: NDArray[np.int64], facts: _Facts) -> NDArray[np.bool_]:
    """Flag one whole mask of each group that has any: the owner's own, else the first."""
    whole = facts.ends.all(axis=1)
    order = np.lexsort((np.arange(len(group)), ~facts.owned, ~whole, group))
    _, firsts = np.unique(group[order], return_index=True)
    chosen = np.zeros(len(group), bool)
    chosen[order[firsts]] = True
    return chosen & whole


def _distinct(group: NDArray[np.int64], value: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Count the distinct values of each group."""
    values = int(value.max(initial=0)) + 1
    pairs = np.unique(group * values + value)
    return np.bincount(pairs // values, minlength=count)
