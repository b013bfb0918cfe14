"""Polygons with fewer corners: shared edges are simplified once, cell by cell of a fixed grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from .._columns import Columns
from ..progress import Progress
from ..scenes.grid import Window
from .outlines import (
    ReadSegments,
    as_multipolygons,
    find_vertices,
    link_outlines,
    read_beyond,
)

# More than there are segments, as those are counted by int32 elsewhere.
_ELSEWHERE = np.uint32(2**31)


@dataclass(frozen=True)
class Pieces(Columns):
    """What lies of segments in the cells of a grid, a row per segment and cell.

    Attributes
    ----------
    owners : ndarray of uint32, shape (n,)
        Segments; 0 is what has none.
    geometry : ndarray of shapely.MultiPolygon or shapely.Polygon, shape (n,)
        In pixel corners (col, row).
    """

    owners: NDArray[np.uint32]
    geometry: NDArray[np.object_]

    @classmethod
    def concatenate(cls, parts: Sequence[Pieces]) -> Pieces:
        """Put several sets of pieces one after another."""
        if not parts:
            return cls(np.zeros(0, np.uint32), np.zeros(0, object))
        return super().concatenate(parts)


def scan_pieces(
    read: ReadSegments, height: int, width: int, cell: int, tolerance: float, progress: Progress
) -> Iterator[Pieces]:
    """Outline and simplify what lies in each cell, a row of cells at a time.

    Cells meet in straight lines, whose corners all stay: pieces fit together whatever is in
    memory, and an edge keeps one corner more where it crosses such a line.

    Parameters
    ----------
    read : callable
        Window to segment ids, ndarray of uint32, shape (window.height, window.width).
    height, width : int
        Of the scene, in pixels.
    cell : int
        Side of the cells, in pixels.
    tolerance : float
        Square root of the area of the triangles that are cut off, in pixels.
    progress : Progress

    Yields
    ------
    Pieces
        Those of segments that lie in a row of cells.
    """
    for band in Window(0, 0, height, width).bands(cell, cell):
        found = []
        for row, col, rows, cols in band:
            around = Window(row - 1, col - 1, rows + 2, cols + 2)
            labels = read_beyond(read, around, height, width)
            found.append(_simplify_cell(labels, row, col, tolerance))
        yield Pieces.concatenate(found)
        progress.step(band[0].row_stop, height)


def _simplify_cell(labels: NDArray[np.uint32], row: int, col: int, tolerance: float) -> Pieces:
    """Return the pieces of a cell, given with the pixels around it."""
    # What has no segment is a piece too: its edges are shared. All that is around the cell counts
    # as something else, so that corners of both sides stand on its border.
    around = np.full(labels.shape, _ELSEWHERE)
    around[1:-1, 1:-1] = 0
    vertices = find_vertices(labels + np.uint32(1) + around, row, col)
    owners, geometry = link_outlines(vertices.take(vertices.owners < _ELSEWHERE))
    simple = shapely.coverage_simplify(geometry, tolerance, simplify_boundary=False)
    return Pieces(owners - np.uint32(1), simple).take(owners > 1)


def join_pieces(pieces: Pieces) -> tuple[NDArray[np.uint32], NDArray[np.object_]]:
    """Join the pieces of each segment.

    Parameters
    ----------
    pieces : Pieces
        All those of the segments concerned.

    Returns
    -------
    owners : ndarray of uint32, shape (n,)
        Ascending.
    geometry : ndarray of shapely.MultiPolygon, shape (n,)
        In pixel corners (col, row).
    """
    pieces = pieces.take(np.argsort(pieces.owners, kind="stable"))
    owners, first, counts = np.unique(pieces.owners, return_index=True, return_counts=True)
    geometry = pieces.geometry[first]
    for place in np.flatnonzero(counts > 1):
        some = slice(first[place], first[place] + counts[place])
        geometry[place] = shapely.coverage_union_all(pieces.geometry[some])
    return owners, as_multipolygons(geometry)
