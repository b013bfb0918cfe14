"""Segments as polygons: exact along pixel edges or simplified together; areas in square metres.

A scene's polygons tile the plane: neighbours share their edges vertex by vertex, holes are kept,
and rasterising the unsimplified polygons gives the segment raster back. They are made band by band,
as those of a whole scene do not fit in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
import shapely
from numpy.typing import NDArray

from .._columns import Columns
from .._memory import return_freed_memory
from ..progress import NoProgress, Progress
from ..scenes.ellipsoid import to_degrees
from ..scenes.grid import Grid
from ..scenes.spans import Spans
from .outlines import (
    ReadSegments,
    Vertices,
    as_multipolygons,
    find_vertices,
    link_outlines,
    scan_vertices,
)
from .simplification import Pieces, join_pieces, scan_pieces

# Vertices that are linked at once: some 50 MB of work space.
_CHUNK_VERTICES = 250_000
# Pixels of masks that are outlined at once: some 100 MB.
_CHUNK_PIXELS = 4_000_000
# Larger cells keep fewer corners, and more polygons in memory.
_CELL = 512
# Longer edges, in degrees, would leave the rows of pixels for a great circle.
_LONGEST_EDGE = 1.0
# The same where a CRS is projected, in its metres: lines on maps bend more than parallels.
_LONGEST_EDGE_M = 5000.0

_Parts = TypeVar("_Parts", Vertices, Pieces)


@dataclass(frozen=True)
class Polygons(Columns):
    """The outlines of segments, a row per segment.

    Attributes
    ----------
    segment_id : ndarray of uint32, shape (n,)
        Ascending.
    geometry : ndarray of shapely.MultiPolygon, shape (n,)
        In ground coordinates; shells run counter-clockwise.
    area_m2 : ndarray of float64, shape (n,)
        Planar where the CRS is projected; geodesic where it is geographic, or stretches more than
        1 % there; NaN where there is none.
    """

    segment_id: NDArray[np.uint32]
    geometry: NDArray[np.object_]
    area_m2: NDArray[np.float64]

    @classmethod
    def concatenate(cls, parts: Sequence[Polygons]) -> Polygons:
        """Put polygons of different segments together, sorted by segment."""
        if not parts:
            return cls(np.zeros(0, np.uint32), np.zeros(0, object), np.zeros(0))
        together = super().concatenate(parts)
        return together.take(np.argsort(together.segment_id, kind="stable"))

    def to_wkb(self) -> NDArray[np.object_]:
        """Return the geometries as well-known binary, shape (n,)."""
        wkb: NDArray[np.object_] = shapely.to_wkb(self.geometry)
        return wkb

    @classmethod
    def from_wkb(
        cls,
        segment_id: NDArray[np.integer],
        wkb: NDArray[np.object_],
        area_m2: NDArray[np.floating],
    ) -> Polygons:
        """Make polygons from well-known binary, each array of shape (n,)."""
        return cls(segment_id.astype(np.uint32), shapely.from_wkb(wkb), area_m2.astype(np.float64))


def polygonize(
    read: ReadSegments,
    grid: Grid,
    *,
    block: int = 2048,
    band: int | None = None,
    progress: Progress | None = None,
) -> Iterator[Polygons]:
    """Outline a scene's segments along pixel edges, each as soon as it ends.

    Parameters
    ----------
    read : callable
        Window to segment ids, ndarray of uint32, shape (window.height, window.width); 0 is none.
    grid : Grid
    block : int
        Side of the blocks that are read, in pixels; it does not change the result. Each is read
        twice.
    band : int, optional
        Rows of the blocks, `block` unless given: the outlines in a band are in memory together.
    progress : Progress, optional
        Is told the rows that are done.

    Yields
    ------
    Polygons
        Segments that end in a band of blocks, ascending within the band: one multipolygon per
        segment id, whose parts are 4-connected.
    """
    shape = (band or block, block)
    scan = scan_vertices(read, grid.height, grid.width, shape, progress or NoProgress())
    # The corners below a band's last row come with the next band.
    for vertices in _as_they_end(scan, Vertices.concatenate, read, grid, shape, late=1):
        yield _place(*_link_in_chunks(vertices), grid)


def polygonize_simplified(
    read: ReadSegments,
    grid: Grid,
    tolerance: float,
    *,
    cell: int = _CELL,
    progress: Progress | None = None,
) -> Iterator[Polygons]:
    """Outline a scene's segments with fewer corners, each as soon as it ends.

    Edges that segments share, also with what has none, are simplified once, so that polygons tile
    the plane as before.

    Parameters
    ----------
    read, grid, progress
        As in `polygonize`.
    tolerance : float
        About the square root, in pixels, of the area of the triangles that are cut off, so that 1
        removes pixel steps and 5 rounds bends of some 5 x 5 pixels.
    cell : int
        Side of the cells that are simplified at once, in pixels; an edge keeps a corner where it
        crosses from one to another.

    Yields
    ------
    Polygons
        As those of `polygonize`.
    """
    shape = (cell, cell)
    scan = scan_pieces(read, grid.height, grid.width, cell, tolerance, progress or NoProgress())
    for pieces in _as_they_end(scan, Pieces.concatenate, read, grid, shape):
        yield _place(*join_pieces(pieces), grid)


def _as_they_end(
    scan: Iterator[_Parts],
    concatenate: Callable[[list[_Parts]], _Parts],
    read: ReadSegments,
    grid: Grid,
    block: tuple[int, int],
    late: int = 0,
) -> Iterator[_Parts]:
    """Give the parts of segments together when they are complete, from parts band by band.

    They are `late` bands after the last one that a segment lies in.
    """
    last_bands = _find_last_bands(read, grid, block)
    waiting, bands = concatenate([]), math.ceil(grid.height / block[0])
    for number, found in enumerate(scan):
        waiting = concatenate([waiting, found])
        ended = (last_bands[waiting.owners] <= number - late) | (number == bands - 1)
        yield waiting.take(ended)
        waiting = waiting.take(~ended)
        return_freed_memory()


def outline_masks(spans: Spans, grid: Grid) -> NDArray[np.object_]:
    """Outline sets of pixels that may overlap, each for itself.

    Parameters
    ----------
    spans : Spans
        In the pixel coordinates of the grid.
    grid : Grid

    Returns
    -------
    ndarray of shapely.MultiPolygon, shape (len(spans),)
        In ground coordinates; empty where a set is.
    """
    geometry = np.full(len(spans), shapely.MultiPolygon(), object)
    boxes = spans.boxes.astype(np.int64)
    heights, widths = (boxes[:, 2:] - boxes[:, :2]).T
    # Sets of like width go on one canvas, one below another, so that little of it stays empty.
    order = np.argsort(widths, kind="stable")
    groups = np.cumsum((heights + 1)[order] * (widths + 2)[order]) // _CHUNK_PIXELS
    for group in np.split(order, np.flatnonzero(np.diff(groups)) + 1):
        vertices = _find_mask_vertices(spans.take(group), boxes[group])
        owners, corners = link_outlines(vertices)
        geometry[group[owners - 1]] = _to_ground(corners, grid)
    return geometry


def _find_mask_vertices(spans: Spans, boxes: NDArray[np.int64]) -> Vertices:
    """Return the vertices of sets, set `i` as segment `i + 1`."""
    heights, widths = (boxes[:, 2:] - boxes[:, :2]).T
    # A row and a column of nothing around each set, so that sets do not meet.
    tops = np.cumsum(heights + 1) - heights
    canvas = np.zeros((int(np.sum(heights + 1)) + 1, int(widths.max(initial=0)) + 2), np.uint32)
    owners = np.repeat(np.arange(len(spans)), spans.areas)
    rows, cols = spans.pixels()
    down, right = tops - boxes[:, 0], 1 - boxes[:, 1]
    canvas[rows + down[owners], cols + right[owners]] = owners + 1
    found = find_vertices(canvas, 1, 1)
    sets = found.owners.astype(np.int64) - 1
    return Vertices(
        found.owners,
        (found.rows - down[sets]).astype(np.int32),
        (found.cols - right[sets]).astype(np.int32),
        found.inward,
        found.outward,
    )


def _find_last_bands(read: ReadSegments, grid: Grid, block: tuple[int, int]) -> NDArray[np.int32]:
    """Return the last band of blocks that each segment id lies in."""
    last_bands = np.zeros(1, np.int32)
    for band, windows in enumerate(grid.window.bands(*block)):
        for window in windows:
            labels = read(window)
            missing = int(labels.max()) + 1 - len(last_bands)
            if missing > 0:
                # Twice as many as needed, so that the table is seldom copied.
                last_bands = np.pad(last_bands, (0, missing + len(last_bands)))
            last_bands[labels] = band
    return last_bands


def _link_in_chunks(vertices: Vertices) -> tuple[NDArray[np.uint32], NDArray[np.object_]]:
    """Return segment ids and their multipolygons in pixel corners, linked some at a time."""
    vertices = vertices.take(np.argsort(vertices.owners, kind="stable"))
    begins = np.flatnonzero(np.diff(vertices.owners)) + 1
    chunks = np.diff(begins // _CHUNK_VERTICES, prepend=0) > 0
    edges = [0, *begins[chunks].tolist(), len(vertices)]
    parts = [link_outlines(vertices.take(slice(start, stop))) for start, stop in pairwise(edges)]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _place(segment_id: NDArray[np.uint32], corners: NDArray[np.object_], grid: Grid) -> Polygons:
    geometry = _to_ground(corners, grid)
    return Polygons(segment_id, geometry, _areas_m2(corners, geometry, grid))


def _to_ground(corners: NDArray[np.object_], grid: Grid) -> NDArray[np.object_]:
    geometry = shapely.transform(corners, grid.to_ground)
    # Counter-clockwise on the ground too, where the grid is mirrored.
    oriented: NDArray[np.object_] = shapely.orient_polygons(geometry)
    return oriented


def _areas_m2(
    corners: NDArray[np.object_], geometry: NDArray[np.object_], grid: Grid
) -> NDArray[np.float64]:
    """Return areas in square metres, NaN where the CRS does not tell them, shape (n,)."""
    if grid.areas == "geodesic":
        return _geodesic_areas(geometry, grid)
    unit = grid.metres_per_unit
    if unit is None:
        return np.full(len(geometry), math.nan)
    # Areas in pixels are exact, those of far-off ground coordinates are not.
    areas: NDArray[np.float64] = shapely.area(corners) * abs(grid.transform.determinant) * unit**2
    return areas


def _geodesic_areas(geometry: NDArray[np.object_], grid: Grid) -> NDArray[np.float64]:
    geod = grid.geod
    if grid.crs is None or geod is None or not len(geometry):
        return np.full(len(geometry), math.nan)
    unit = grid.metres_per_unit
    if unit is None:
        longest = _LONGEST_EDGE / math.degrees(grid.crs.axis_info[0].unit_conversion_factor)
    else:
        longest = _LONGEST_EDGE_M / unit
    geometry = as_multipolygons(shapely.segmentize(geometry, longest))
    _, ground, offsets = shapely.to_ragged_array(geometry)
    longitude, latitude = np.ascontiguousarray(to_degrees(grid.crs, ground[:, :2]).T)
    # Beyond where the CRS has coordinates, an area is not known.
    longitude[~np.isfinite(longitude)] = math.nan
    latitude = np.clip(latitude, -90, 90)
    edges = offsets[0].tolist()
    rings = np.array(
        [
            geod.polygon_area_perimeter(longitude[start:stop], latitude[start:stop])[0]
            for start, stop in pairwise(edges)
        ]
    )
    # Holes run clockwise, so that their areas are negative.
    unknown = np.isnan(rings)
    ends = offsets[1][offsets[2]]
    sums = np.concatenate([[0], np.cumsum(np.where(unknown, 0, rings))])[ends]
    # A CRS whose axes point south and west turns rings round.
    areas: NDArray[np.float64] = np.abs(np.diff(sums))
    areas[np.diff(np.concatenate([[0], np.cumsum(unknown)])[ends]) > 0] = math.nan
    return areas
