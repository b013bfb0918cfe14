"""Outlines of segments: from a label image to closed rings along pixel edges; pixel corners only.

Polygons are traced here rather than by GDAL: corners are found block by block and linked as whole
numbers, so that block borders leave no trace, and all of a scene is linked by a few sorts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import sparse

from .._columns import Columns
from ..progress import Progress
from ..scenes.grid import Window

ReadSegments = Callable[[Window], NDArray[np.uint32]]

# Directions of travel; even ones run along rows. An outline has its segment on the left.
EAST, NORTH, WEST, SOUTH = range(4)
# Edges that meet in a pixel corner, as bits, and the four pixels around it.
_UP, _RIGHT, _DOWN, _LEFT = 1, 2, 4, 8
_ALL = _UP | _RIGHT | _DOWN | _LEFT
_NW, _NE, _SE, _SW = (0, 0), (0, 1), (1, 1), (1, 0)

# How an outline passes a corner: edges that are there, edges that are not, a pixel of its segment,
# direction in, direction out.
_PASSES = (
    # Around one pixel; two pixels that touch in the corner only are passed one by one.
    (_UP | _LEFT, 0, _NW, EAST, NORTH),
    (_UP | _RIGHT, 0, _NE, SOUTH, EAST),
    (_DOWN | _RIGHT, 0, _SE, WEST, SOUTH),
    (_DOWN | _LEFT, 0, _SW, NORTH, WEST),
    # Around three pixels.
    (_DOWN | _RIGHT, _UP | _LEFT, _NW, NORTH, EAST),
    (_DOWN | _LEFT, _UP | _RIGHT, _NE, EAST, SOUTH),
    (_UP | _LEFT, _DOWN | _RIGHT, _SE, SOUTH, WEST),
    (_UP | _RIGHT, _DOWN | _LEFT, _SW, WEST, NORTH),
    # Straight on, where two others meet: without a vertex here, neighbours would not share edges,
    # and would come apart when they are simplified or projected.
    (_ALL & ~_UP, _UP, _NW, EAST, EAST),
    (_ALL & ~_DOWN, _DOWN, _SE, WEST, WEST),
    (_ALL & ~_LEFT, _LEFT, _SW, NORTH, NORTH),
    (_ALL & ~_RIGHT, _RIGHT, _NE, SOUTH, SOUTH),
)


@dataclass(frozen=True)
class Vertices(Columns):
    """Places where outlines turn or meet others, in any order.

    Attributes
    ----------
    owners : ndarray of uint32, shape (n,)
        The segment whose outline it is.
    rows, cols : ndarray of int32, shape (n,)
        The pixel corner; (0, 0) is the upper left one of the scene.
    inward, outward : ndarray of int8, shape (n,)
        Direction in which the outline arrives and leaves.
    """

    owners: NDArray[np.uint32]
    rows: NDArray[np.int32]
    cols: NDArray[np.int32]
    inward: NDArray[np.int8]
    outward: NDArray[np.int8]

    @classmethod
    def concatenate(cls, parts: Sequence[Vertices]) -> Vertices:
        """Put several sets of vertices one after another."""
        if not parts:
            zeros = np.zeros(0, np.int32)
            nowhere = np.zeros(0, np.int8)
            return cls(zeros.astype(np.uint32), zeros, zeros, nowhere, nowhere)
        return super().concatenate(parts)


def find_vertices(labels: NDArray[np.uint32], row: int, col: int) -> Vertices:
    """Find where outlines turn or meet, at the corners between the pixels of an image.

    Parameters
    ----------
    labels : ndarray of uint32, shape (height + 1, width + 1)
        Segment per pixel, 0 is none; corners on the image's own border are left to neighbours.
    row, col : int
        The corner between the first two rows and columns.
    """
    sideways, downward = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    up, down, left, right = sideways[:-1], sideways[1:], downward[:, :-1], downward[:, 1:]
    rows, cols = np.nonzero((up | down) & (left | right))
    edges = (
        up[rows, cols] * np.uint8(_UP)
        + right[rows, cols] * np.uint8(_RIGHT)
        + down[rows, cols] * np.uint8(_DOWN)
        + left[rows, cols] * np.uint8(_LEFT)
    )
    found = []
    for present, absent, place, inward, outward in _PASSES:
        at = np.flatnonzero(edges & (present | absent) == present)
        owners = labels[rows[at] + place[0], cols[at] + place[1]]
        at, owners = at[owners > 0], owners[owners > 0]
        found.append(
            Vertices(
                owners,
                (rows[at] + row).astype(np.int32),
                (cols[at] + col).astype(np.int32),
                np.full(len(at), inward, np.int8),
                np.full(len(at), outward, np.int8),
            )
        )
    return Vertices.concatenate(found)


def scan_vertices(
    read: ReadSegments, height: int, width: int, block: tuple[int, int], progress: Progress
) -> Iterator[Vertices]:
    """Find the vertices of a scene, a band of blocks at a time.

    Parameters
    ----------
    read : callable
        Window to segment ids, ndarray of uint32, shape (window.height, window.width).
    height, width : int
        Of the scene, in pixels.
    block : (int, int)
        Height and width of the blocks that are read, in pixels.
    progress : Progress

    Yields
    ------
    Vertices
        Those at the corners above the band's rows; the last band has those below as well.
    """
    for band in Window(0, 0, height, width).bands(*block):
        found = []
        for row, col, rows, cols in band:
            # A corner needs the pixels above and left of it; those below and right are the next
            # block's, but for the scene's last.
            last_row, last_col = int(row + rows == height), int(col + cols == width)
            seen = Window(row - 1, col - 1, 1 + rows + last_row, 1 + cols + last_col)
            found.append(find_vertices(read_beyond(read, seen, height, width), row, col))
        yield Vertices.concatenate(found)
        progress.step(band[0].row_stop, height)


def read_beyond(read: ReadSegments, window: Window, height: int, width: int) -> NDArray[np.uint32]:
    """Return the segments of a window that may reach beyond the scene, where there is none: 0."""
    seen = window.grow(0, height, width)
    above, left = seen.row - window.row, seen.col - window.col
    below, right = window.row_stop - seen.row_stop, window.col_stop - seen.col_stop
    return np.pad(read(seen), ((above, below), (left, right)))


def link_outlines(vertices: Vertices) -> tuple[NDArray[np.uint32], NDArray[np.object_]]:
    """Link vertices into polygons, one multipolygon per segment.

    Parts are 4-connected; they and their holes may touch in corners. The result is valid by OGC
    rules and the same for vertices in any order.

    Parameters
    ----------
    vertices : Vertices
        All vertices of the segments concerned.

    Returns
    -------
    owners : ndarray of uint32, shape (n,)
        Ascending.
    geometry : ndarray of shapely.MultiPolygon, shape (n,)
        In pixel corners (col, row).
    """
    owners, ranks = np.unique(vertices.owners, return_inverse=True)
    if not len(owners):
        return owners, np.zeros(0, object)
    order = np.lexsort((vertices.cols, vertices.rows, ranks))
    vertices, ranks = vertices.take(order), ranks[order]
    following = _following(vertices, ranks)
    traced = _cycles(following)
    cycles = traced
    # An outline that meets itself in a corner encloses a hole there, which becomes its own ring.
    same = (np.diff(ranks) == 0) & (np.diff(vertices.rows) == 0) & (np.diff(vertices.cols) == 0)
    first = np.flatnonzero(same & (np.diff(traced) == 0))
    if len(first):
        following[first], following[first + 1] = following[first + 1], following[first]
        cycles = _cycles(following)
    rings = _Rings.walk(vertices, ranks, following, cycles, traced)
    return owners, rings.polygons(len(owners))


def _following(vertices: Vertices, ranks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each vertex the next one of its outline, shape (n,)."""
    following = np.empty(len(vertices), np.int64)
    for axis, line, place in ((0, vertices.rows, vertices.cols), (1, vertices.cols, vertices.rows)):
        # Straight pieces of one outline on one line, in one direction, do not overlap: in order
        # of place, their beginnings and their ends come in pairs.
        sides = []
        for direction in (vertices.outward, vertices.inward):
            chosen = np.flatnonzero(direction % 2 == axis)
            key = ranks[chosen] * 2 + direction[chosen] // 2
            key = key * (int(line.max()) + 1) + line[chosen]
            key = key * (int(place.max()) + 1) + place[chosen]
            sides.append(chosen[np.argsort(key)])
        following[sides[0]] = sides[1]
    return following


def _cycles(following: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the number of the cycle that each vertex is in, shape (n,)."""
    labels: NDArray[np.int32] = sparse.csgraph.connected_components(_graph(following))[1]
    return labels


def _graph(following: NDArray[np.int64]) -> sparse.csr_array:
    count = len(following)
    ones = np.ones(count, np.int8)
    starts = np.arange(count + 1, dtype=np.int32)
    return sparse.csr_array((ones, following.astype(np.int32), starts), (count, count))


@dataclass(frozen=True)
class _Rings:
    """Closed rings, those of a segment one after another.

    Attributes
    ----------
    corners : ndarray of int32, shape (n_corners + n_rings, 2)
        Column and row; the first corner of each ring is repeated at its end.
    offsets : ndarray of int64, shape (n_rings + 1,)
    ranks, outlines : ndarray of int, shape (n_rings,)
        Number of the segment, and of the outline as it was traced: an exterior and the holes that
        touch it have the same.
    areas : ndarray of float64, shape (n_rings,)
        In pixels; negative for holes.
    """

    corners: NDArray[np.int32]
    offsets: NDArray[np.int64]
    ranks: NDArray[np.int64]
    outlines: NDArray[np.int32]
    areas: NDArray[np.float64]

    @classmethod
    def walk(
        cls,
        vertices: Vertices,
        ranks: NDArray[np.int64],
        following: NDArray[np.int64],
        cycles: NDArray[np.int32],
        outlines: NDArray[np.int32],
    ) -> _Rings:
        """Go along each cycle from its upper left vertex."""
        count = len(following)
        firsts = np.empty(int(cycles.max()) + 1, np.int64)
        firsts[cycles[::-1]] = np.arange(count)[::-1]
        firsts.sort()
        before = np.empty(count, np.int64)
        before[following] = np.arange(count)
        # One chain through all cycles: the last vertex of each leads to the first of the next.
        chain = following.copy()
        chain[before[firsts]] = np.roll(firsts, -1)
        order = sparse.csgraph.breadth_first_order(
            _graph(chain), firsts[0], return_predecessors=False
        )
        starts = np.flatnonzero(np.append(True, np.diff(cycles[order]) != 0))
        sizes = np.diff(np.append(starts, count))
        corners = np.stack([vertices.cols, vertices.rows], axis=1)[order]
        closed = np.insert(corners, starts + sizes, corners[starts], axis=0)
        offsets = np.concatenate([[0], np.cumsum(sizes + 1)]).astype(np.int64)
        areas = _signed_areas(closed, offsets)
        return cls(closed, offsets, ranks[firsts], outlines[firsts], areas)

    def polygons(self, count: int) -> NDArray[np.object_]:
        """Return one multipolygon per segment, shape (count,)."""
        shells = np.flatnonzero(self.areas > 0)
        polygons = self._assign(shells)
        # Shells come before their holes, both in the order of their first corners.
        order = np.lexsort((np.arange(len(polygons)), self.areas < 0, polygons))
        sizes = np.diff(self.offsets)[order]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        source = np.repeat(self.offsets[:-1][order] - offsets[:-1], sizes) + np.arange(offsets[-1])
        per_polygon = np.bincount(polygons, minlength=len(shells))
        per_segment = np.bincount(self.ranks[shells], minlength=count)
        geometry: NDArray[np.object_] = shapely.from_ragged_array(
            shapely.GeometryType.MULTIPOLYGON,
            self.corners[source].astype(np.float64),
            tuple(
                np.concatenate([[0], np.cumsum(part)]).astype(np.int64)
                for part in (sizes, per_polygon, per_segment)
            ),
        )
        return geometry

    def _assign(self, shells: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of the shell that each ring is, or is a hole of."""
        numbers = np.arange(len(shells))
        shell_of_outline = np.full(int(self.outlines.max()) + 1, -1)
        shell_of_outline[self.outlines[shells]] = numbers
        assigned = shell_of_outline[self.outlines]
        per_segment = np.bincount(self.ranks[shells])
        last_shell = np.cumsum(per_segment) - 1
        alone = (assigned < 0) & (per_segment[self.ranks] == 1)
        assigned[alone] = last_shell[self.ranks[alone]]
        holes = np.flatnonzero(assigned < 0)
        if len(holes):
            assigned[holes] = self._enclosing(holes, shells)
        return assigned

    def _enclosing(self, holes: NDArray[np.int64], shells: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of the innermost shell of the same segment around each hole."""
        nearby = np.flatnonzero(np.isin(self.ranks[shells], self.ranks[holes]))
        chosen = shells[nearby]
        sizes = np.diff(self.offsets)[chosen]
        ends = np.cumsum(sizes)
        source = np.repeat(self.offsets[:-1][chosen] - (ends - sizes), sizes) + np.arange(ends[-1])
        rings = np.repeat(np.arange(len(chosen)), sizes)
        bodies = shapely.polygons(shapely.linearrings(self.corners[source], indices=rings))
        shapely.prepare(bodies)
        # The pixel above the upper left corner of a hole is the segment's own.
        inside = shapely.points(self.corners[self.offsets[:-1][holes]] + np.array([0.5, -0.5]))
        hole, body = shapely.STRtree(bodies).query(inside)
        alike = self.ranks[holes[hole]] == self.ranks[chosen[body]]
        hole, body = hole[alike], body[alike]
        around = shapely.contains(bodies[body], inside[hole])
        hole, body = hole[around], body[around]
        # Written from the largest to the smallest, the innermost shell stays.
        order = np.argsort(-self.areas[chosen[body]], kind="stable")
        enclosing = np.empty(len(holes), np.int64)
        enclosing[hole[order]] = nearby[body[order]]
        return enclosing


def _signed_areas(corners: NDArray[np.int32], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the areas of closed rings in pixels, positive where the inside is on the left."""
    x, y = corners.T.astype(np.int64)
    crosses = np.append(x[1:] * y[:-1] - x[:-1] * y[1:], 0)
    # Between the end of a ring and the beginning of the next there is no edge.
    crosses[offsets[1:] - 1] = 0
    areas: NDArray[np.float64] = np.add.reduceat(crosses, offsets[:-1]) / 2
    return areas


def as_multipolygons(geometry: NDArray[np.object_]) -> NDArray[np.object_]:
    """Make multipolygons of those that are polygons, shape (n,)."""
    single = shapely.get_type_id(geometry) == shapely.GeometryType.POLYGON
    result: NDArray[np.object_] = geometry.copy()
    result[single] = [shapely.MultiPolygon([polygon]) for polygon in geometry[single]]
    return result
