"""Which segment every pixel of a scene belongs to: segments painted tile by tile, on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window as RasterWindow
from scipy import ndimage

from .._files import replacing
from .._memory import return_freed_memory
from ..errors import RunError
from ..progress import NoProgress, Progress
from ..scenes.grid import Grid, Window
from ..scenes.spans import Spans
from ..scenes.tiles import Tile
from .seams import Patch, seen_beyond, settle, strip_between
from .stitching import Stitching
from .tile_results import TileResult

#: Block size of the segment raster, in pixels: cores of the usual tiles are made of whole blocks.
BLOCK = 256
#: Blocks that GDAL keeps, in bytes: a row of them in a raster of 60,000 pixels' width; those of
#: wider ones are read more than once, which takes little time beside the rest.
CACHE_BYTES = 64 * 2**20
#: Tiles after which freed memory is handed back: reading and painting them leaves holes.
TILES_BETWEEN = 8


@dataclass(frozen=True)
class Coverage:
    """How many pixels have a label, and why the others have none.

    Attributes
    ----------
    labelled : int
        Pixels that a segment covers, filled ones included.
    no_mask : int
        Valid pixels where the model found nothing, or nothing large enough.
    gated : int
        Valid pixels where it found only masks above the filtering gate's share.
    outside : int
        Pixels without data or outside the area of interest.
    filled : int
        Pixels that `--fill` gave to the nearest segment.
    unreadable : int
        Pixels of tiles that could not be read and were skipped.
    """

    labelled: int = 0
    no_mask: int = 0
    gated: int = 0
    outside: int = 0
    filled: int = 0
    unreadable: int = 0

    def __add__(self, other: Coverage) -> Coverage:
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Coverage(*(one + two for one, two in pairs))


@dataclass(frozen=True)
class SegmentRaster:
    """The segment of every pixel, a raster in the run folder.

    Attributes
    ----------
    path : Path
        GeoTIFF, uint32; 0 where there is no segment.
    """

    path: Path

    @contextmanager
    def open(self) -> Iterator[Callable[[Window], NDArray[np.uint32]]]:
        """Give a function that reads a window: Window -> ndarray of uint32, (height, width).

        Raises
        ------
        RunError
            If the raster is missing or damaged.
        """
        with bounded_cache():
            try:
                dataset = rasterio.open(self.path)
            except rasterio.errors.RasterioIOError as error:
                raise RunError(f"{self.path} cannot be read; run `label()` again") from error
            with dataset:
                yield lambda window: dataset.read(1, window=_raster_window(window))

    def read_thinned(self, height: int, width: int) -> NDArray[np.uint32]:
        """Return the segments of single pixels, evenly spread, shape (height, width).

        Raises
        ------
        RunError
            If the raster is missing or damaged.
        """
        try:
            with bounded_cache(), rasterio.open(self.path) as dataset:
                found: NDArray[np.uint32] = dataset.read(1, out_shape=(height, width))
        except rasterio.errors.RasterioError as error:
            raise RunError(f"{self.path} cannot be read; run `label()` again") from error
        return found


@dataclass(frozen=True)
class Painting:
    """What painting a scene gave.

    Attributes
    ----------
    visible : ndarray of int64, shape (n_segments + 1,)
        Pixels of each segment that are on top; entry 0 is unused.
    coverage : Coverage
    """

    visible: NDArray[np.int64]
    coverage: Coverage


def bounded_cache() -> rasterio.Env:
    """Return a context in which GDAL keeps few blocks: its own bound is a share of all memory."""
    return rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES)


def _raster_window(window: Window) -> RasterWindow:
    return RasterWindow(window.col, window.row, window.width, window.height)


@contextmanager
def _create(path: Path, height: int, width: int) -> Iterator[rasterio.io.DatasetWriter]:
    # Any place will do, but rasterio warns of rasters that have none.
    place = Affine.scale(2, -2)
    profile = {"driver": "GTiff", "dtype": "uint32", "count": 1, "transform": place}
    layout = {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "bigtiff": "if_safer"}
    with rasterio.open(
        path, "w", height=height, width=width, compress="deflate", zlevel=1, **profile, **layout
    ) as dataset:
        yield dataset


def paint_scene(
    path: Path,
    grid: Grid,
    tiles: Sequence[Tile],
    read: Callable[[int], TileResult],
    stitching: Stitching,
    *,
    fill: int = 0,
    progress: Progress | None = None,
) -> Painting:
    """Paint all segments of a scene, large first and small on top, tile core by tile core.

    Parameters
    ----------
    path : Path
        The raster to write.
    grid : Grid
    tiles : sequence of Tile
    read : callable
        Number of a tile -> TileResult.
    stitching : Stitching
    fill : int
        Give unlabelled valid pixels to the nearest segment within this many pixels.
    progress : Progress, optional

    Returns
    -------
    Painting
    """
    progress = progress or NoProgress()
    visible = np.zeros(stitching.n_segments + 1, np.int64)
    coverage = Coverage()
    with (
        bounded_cache(),
        replacing(path) as temporary,
        _create(temporary, grid.height, grid.width) as raster,
    ):
        cores = paint_cores(grid.window, tiles, read, stitching, fill=fill)
        for done, (tile, ids, part) in enumerate(cores, start=1):
            if done % TILES_BETWEEN == 0:
                return_freed_memory()
            raster.write(ids, 1, window=_raster_window(tile.core))
            shown = ids[ids > 0].astype(np.int64)
            first = int(shown.min()) if len(shown) else 0
            counts = np.bincount(shown - first)
            visible[first : first + len(counts)] += counts
            coverage += part
            progress.step(done, len(tiles))
    return Painting(visible, coverage)


def paint_cores(
    scene: Window,
    tiles: Sequence[Tile],
    read: Callable[[int], TileResult],
    stitching: Stitching,
    *,
    fill: int = 0,
) -> Iterator[tuple[Tile, NDArray[np.uint32], Coverage]]:
    """Paint all segments of a scene, and give each tile's core as soon as it is done.

    Parameters
    ----------
    scene : Window
    tiles, read, stitching, fill
        As in `paint_scene`.

    Yields
    ------
    tile : Tile
    ids : ndarray of uint32, shape (core height, core width)
        Segments, 0 for none.
    coverage : Coverage
        Of the core.
    """
    columns = 1 + max(tile.col for tile in tiles)
    places = {(tile.row, tile.col): index for index, tile in enumerate(tiles)}
    depth = max(fill, 1 + max(map(seen_beyond, tiles)))

    @lru_cache(maxsize=2 * columns + 4)
    def shared_spans(index: int) -> Spans:
        """Return what others need of a tile's masks: little, so that rows of tiles fit."""
        return shift_spans(read(index), tiles[index]).outside(tiles[index].core.shrink(depth))

    settled: dict[int, list[Patch]] = {}
    for index, tile in enumerate(tiles):
        result = read(index)
        spans_of = {index: shift_spans(result, tile)}
        seen = tile.core.grow(fill, scene.height, scene.width)
        near = neighbourhood(tile, places, reach=1 + fill // tiles[0].core.height)
        spans_of |= {other: shared_spans(other) for other in near if other != index}
        segment, spans = gather_window(seen, spans_of, tiles, stitching)
        painted = _paint(seen, segment, spans, stitching.rank)
        for pair, strip in _lines(index, tiles, places):
            border = strip.grow(1, scene.height, scene.width)
            parts = {other: shared_spans(other) for other in _meeting(pair, border, tiles, places)}
            patches = _settle_line(pair, border, parts, tiles, stitching)
            for number, patch in zip(pair, patches, strict=True):
                settled.setdefault(number, []).append(patch)
        for patch in settled.pop(index, []):
            patch.apply(painted, seen)
        yield tile, *_finish_core(painted, seen, tile, result, fill)


def _lines(
    index: int, tiles: Sequence[Tile], places: dict[tuple[int, int], int]
) -> Iterator[tuple[tuple[int, int], Window]]:
    """Give the tiles right of a tile and below it, each with what both see of their cores."""
    tile = tiles[index]
    for place in ((tile.row, tile.col + 1), (tile.row + 1, tile.col)):
        if place in places:
            strip = strip_between(tile, tiles[places[place]])
            if strip is not None:
                yield (index, places[place]), strip


def _meeting(
    pair: tuple[int, int],
    window: Window,
    tiles: Sequence[Tile],
    places: dict[tuple[int, int], int],
) -> list[int]:
    """Return the numbers of the tiles around two that see something of a window."""
    around = {number for end in pair for number in neighbourhood(tiles[end], places, reach=1)}
    return sorted(number for number in around if tiles[number].window.intersect(window))


def _settle_line(
    pair: tuple[int, int],
    seen: Window,
    spans_of: Mapping[int, Spans],
    tiles: Sequence[Tile],
    stitching: Stitching,
) -> tuple[Patch, Patch]:
    """Return what changes in the cores of two tiles side by side."""
    painted = _paint(seen, *gather_window(seen, spans_of, tiles, stitching), stitching.rank)
    views = []
    for index in pair:
        segment = stitching.segment[stitching.masks_of(index)]
        spans = spans_of[index].clip(seen)
        used = (segment > 0) & (np.diff(spans.offsets) > 0)
        views.append(_paint(seen, segment[used], spans.take(used), stitching.rank))
    first, second = (tiles[index] for index in pair)
    return settle((first, second), seen, painted, (views[0], views[1]))


def shift_spans(result: TileResult, tile: Tile) -> Spans:
    """Return the pixels of a tile's masks in the scene's coordinates."""
    return result.masks.spans.shift(tile.window.row, tile.window.col)


def neighbourhood(tile: Tile, places: dict[tuple[int, int], int], *, reach: int) -> list[int]:
    """Return the numbers of the tiles around a tile, itself included."""
    span = range(-reach, reach + 1)
    around = (places.get((tile.row + down, tile.col + right)) for down in span for right in span)
    return [index for index in around if index is not None]


def gather_window(
    seen: Window,
    spans_of: Mapping[int, Spans],
    tiles: Sequence[Tile],
    stitching: Stitching,
) -> tuple[NDArray[np.int64], Spans]:
    """Return the masks that count in a window, and their segments.

    Parameters
    ----------
    seen : Window
    spans_of : mapping of int to Spans
        By the number of each tile that may have pixels there: its masks in the scene's coordinates.
    tiles, stitching
        As in `paint_scene`.

    Returns
    -------
    segment : ndarray of int64, shape (n_masks,)
        A segment may come several times, and its masks may overlap.
    spans : Spans
        One set per mask, in the scene's coordinates, clipped to the window.
    """
    parts, segments = [Spans.concatenate([])], [np.zeros(0, np.int64)]
    for index, spans in spans_of.items():
        chosen = stitching.masks_of(index)
        reach = stitching.reach_of(index, tiles[index])
        # Most masks of a neighbour lie elsewhere: to see that, their boxes are enough.
        box = spans.boxes
        first = np.maximum(np.maximum(box[:, :2], reach[:, :2]), [seen.row, seen.col])
        last = np.minimum(np.minimum(box[:, 2:], reach[:, 2:]), [seen.row_stop, seen.col_stop])
        used = (stitching.segment[chosen] > 0) & (first < last).all(axis=1)
        parts.append(spans.take(used).clip_each(np.concatenate([first, last], axis=1)[used]))
        segments.append(stitching.segment[chosen][used])
    return np.concatenate(segments), Spans.concatenate(parts)


def _paint(
    seen: Window, segment: NDArray[np.int64], spans: Spans, rank: NDArray[np.int64]
) -> NDArray[np.uint32]:
    """Return the segment of every pixel of a window, 0 for none."""
    order = np.argsort(rank[segment], kind="stable")
    placed = spans.take(order).shift(-seen.row, -seen.col)
    ids = np.zeros((seen.height, seen.width), np.uint32)
    # Where an index comes twice, numpy keeps the last value: the smaller segment.
    ids.ravel()[placed.places(seen.width)] = np.repeat(
        segment[order].astype(np.uint32), placed.areas
    )
    return ids


def _finish_core(
    painted: NDArray[np.uint32], seen: Window, tile: Tile, result: TileResult, fill: int
) -> tuple[NDArray[np.uint32], Coverage]:
    """Cut a painted window to the core, fill it if asked to, and count its pixels."""
    core = tile.core.shift(-seen.row, -seen.col).slices
    ids = painted[core]
    invalid, gated = (_core_bitmap(spans, tile) for spans in (result.invalid, result.gated))
    filled = np.zeros(ids.shape, bool)
    if fill and painted.any():
        distance, nearest = ndimage.distance_transform_edt(painted == 0, return_indices=True)
        filled = (ids == 0) & ~invalid & (distance[core] <= fill)
        ids = np.where(filled, painted[tuple(nearest)][core], ids)
    empty = (ids == 0) & ~invalid
    nothing = np.zeros(ids.shape, bool)
    outside = (ids == 0) & invalid
    lost = (nothing, outside) if result.unreadable else (outside, nothing)
    counts = (ids > 0, empty & ~gated, empty & gated, lost[0], filled, lost[1])
    return ids, Coverage(*(int(np.count_nonzero(which)) for which in counts))


def _core_bitmap(spans: Spans, tile: Tile) -> NDArray[np.bool_]:
    core = tile.core.shift(-tile.window.row, -tile.window.col)
    return spans.clip(core).shift(-core.row, -core.col).bitmap(0, core.height, core.width)
