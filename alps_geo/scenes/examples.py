"""Examples of classes: points, lines and polygons of a vector file on a scene's grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.transform import Affine

from ..errors import ReferenceDataError
from .grid import Grid, Window, cut
from .placement import Placement, Purpose, polygons_of
from .vectorfiles import Source, geometry_layers, open_layer, parse_source
from .vectors import connect_layer

PURPOSE = Purpose("the file of examples", ReferenceDataError)
#: The field that counts where none is named and there are several.
USUAL_FIELD = "class"
#: Side of the windows that are read at a time, in pixels.
WINDOW = 1024
#: Lines have a point at least every so many pixels, so that none is left out that they cross.
_STEP = 0.5
#: Lines as long as the surroundings of the grid get this many pieces before they are bent.
_PIECES = 256
POINT, LINE, POLYGON = 0, 1, 2

ReadWindow = Callable[[Window], NDArray[np.uint32]]


@dataclass(frozen=True)
class ExampleShapes:
    """The features of a file that touch a grid.

    Attributes
    ----------
    shown : str
        How messages call the file.
    names : ndarray of object, shape (n_features,)
        The class of each feature; None where it has none.
    points : ndarray of float64, shape (n_points, 2)
        Pixel coordinates (col, row) of points, and of the points of lines.
    point_owners : ndarray of int64, shape (n_points,)
        The feature of each.
    polygons : ndarray of shapely polygons, shape (n_polygons,)
        In pixel coordinates.
    polygon_owners : ndarray of int64, shape (n_polygons,)
    kinds : ndarray of int64, shape (n_features,)
        `POINT`, `LINE` or `POLYGON`, whichever is the highest that a feature has.
    """

    shown: str
    names: NDArray[np.object_]
    points: NDArray[np.float64]
    point_owners: NDArray[np.int64]
    polygons: NDArray[np.object_]
    polygon_owners: NDArray[np.int64]
    kinds: NDArray[np.int64]

    def count_pixels(self, read: ReadWindow, grid: Grid) -> pd.DataFrame:
        """Count the pixels that features have of each segment.

        Parameters
        ----------
        read : callable
            Window to segment ids, 0 where there is none.
        grid : Grid

        Returns
        -------
        DataFrame
            Columns owner, segment_id, pixels; features without a pixel of a segment are not there.
        """
        parts = [*self._at_points(read, grid), *self._in_polygons(read, grid)]
        table = pd.DataFrame(
            np.concatenate(parts) if parts else np.zeros((0, 3), np.int64),
            columns=["owner", "segment_id", "pixels"],
        )
        found = table[table.segment_id > 0].groupby(["owner", "segment_id"], as_index=False)
        summed: pd.DataFrame = found.sum()
        return summed

    def _at_points(self, read: ReadWindow, grid: Grid) -> Iterator[NDArray[np.int64]]:
        cells = np.floor(self.points).astype(np.int64)
        # A point on the last border of the grid is in its last pixel.
        size = np.array([grid.width, grid.height])
        cells = np.where(self.points == size, size - 1, cells)
        inside = ((cells >= 0) & (cells < size)).all(axis=1)
        pixels = np.unique(np.column_stack([self.point_owners, cells])[inside], axis=0)
        owners, cols, rows = pixels.T
        blocks, which = np.unique(
            np.column_stack([rows, cols]) // WINDOW, axis=0, return_inverse=True
        )
        for number, (row, col) in enumerate((blocks * WINDOW).tolist()):
            mine = which.ravel() == number
            window = Window(row, col, min(WINDOW, grid.height - row), min(WINDOW, grid.width - col))
            found = read(window)[rows[mine] - row, cols[mine] - col]
            yield np.column_stack([owners[mine], found, np.ones(len(found), np.int64)])

    def _in_polygons(self, read: ReadWindow, grid: Grid) -> Iterator[NDArray[np.int64]]:
        for polygon, owner in zip(self.polygons, self.polygon_owners.tolist(), strict=True):
            left, top, right, bottom = polygon.bounds
            row, col = int(top), int(left)
            reach = Window(row, col, int(bottom) + 1 - row, int(right) + 1 - col)
            around = reach.intersect(grid.window)
            for window in [] if around is None else cut(around, WINDOW, WINDOW):
                burnt = rasterize(
                    [polygon],
                    (window.height, window.width),
                    transform=Affine.translation(window.col, window.row),
                    dtype="uint8",
                )
                segments, counts = np.unique(read(window)[burnt > 0], return_counts=True)
                yield np.column_stack(
                    [np.full(len(segments), owner), segments.astype(np.int64), counts]
                )


def read_shapes(path: str, field: str | None, grid: Grid, scene: str) -> ExampleShapes:
    """Read points, lines and polygons in any CRS onto a scene's grid.

    Parameters
    ----------
    path : str
        Any vector source, `file|layername=…` too.
    field : str or None
        Has the classes; by default the only field, or `class`.
    grid : Grid
    scene : str
        How messages call the scene.

    Raises
    ------
    ReferenceDataError
        If the file cannot be read or laid over the scene, or has no such field.
    """
    source = parse_source(path, PURPOSE)
    layer = open_layer(source, _choose_layer(source), PURPOSE)
    column = choose_field(source.shown, layer.fields, field)
    way, boxes = connect_layer(source, layer, grid, PURPOSE, scene)
    features = layer.read(boxes, column)
    shapes, owners = _pieces(features.shapes)
    kinds = np.full(len(features.shapes), -1, np.int64)
    dimensions = shapely.get_dimensions(shapes)
    np.maximum.at(kinds, owners, dimensions)
    areas, area_owners = polygons_of(shapes[dimensions == 2], owners[dimensions == 2])
    placed = way.place(areas)
    points, point_owners = _points(way, shapes, owners)
    values = features.values if features.values is not None else np.zeros(0)
    names = np.array([name_of(value, source.shown, column) for value in values], object)
    return ExampleShapes(
        source.shown,
        names,
        points,
        point_owners,
        placed.shapes,
        area_owners[placed.owners],
        kinds,
    )


def choose_field(shown: str, known: tuple[str, ...], field: str | None) -> str:
    """Return the field with the classes: the one named, the only one, or `class`.

    Raises
    ------
    ReferenceDataError
        If it is not there; the message names those that are.
    """
    if field is not None and field in known:
        return field
    if field is None and USUAL_FIELD in known:
        return USUAL_FIELD
    if field is None and len(known) == 1:
        return known[0]
    if not known:
        raise ReferenceDataError(
            f"{shown}: has no field that could hold classes; add a field of text, such as"
            f" {USUAL_FIELD!r}, and fill it in"
        )
    wrong = f"has no field {field!r}" if field else "has several fields, none called 'class'"
    raise ReferenceDataError(
        f"{shown}: {wrong}; choose the one with the classes by `field`: {', '.join(known)}",
        code="settings.field",
        setting="field",
        found=field,
        allowed=list(known),
    )


def name_of(value: Any, shown: str, field: str) -> str | None:  # noqa: ANN401 - what a field holds
    """Return the class that a value of a field means; None where it is empty.

    Raises
    ------
    ReferenceDataError
        If it is neither text nor a number.
    """
    if isinstance(value, list | dict | bytes | np.ndarray):
        raise ReferenceDataError(
            f"{shown}: field {field} holds {type(value).__name__} values, which name no classes;"
            " choose a field of text or numbers by `field`"
        )
    if isinstance(value, str):
        return value.strip() or None
    if value is None or pd.isna(value):
        return None
    return f"{value:g}" if isinstance(value, float) else str(value)


def _choose_layer(source: Source) -> str:
    known = geometry_layers(source, PURPOSE)
    if source.layer is not None and source.layer in known:
        return source.layer
    if source.layer is None and len(known) == 1:
        return known[0]
    if not known:
        raise ReferenceDataError(
            f"{source.shown}: has no points, lines or polygons; a table needs the columns"
            " segment_id and class, and the ending .csv"
        )
    wrong = f"no layer {source.layer!r}" if source.layer else f"{len(known)} layers"
    raise ReferenceDataError(
        f"{source.shown}: has {wrong}; name one, such as {source.shown}|layername={known[0]}:"
        f" {', '.join(known)}"
    )


def _pieces(shapes: NDArray[np.object_]) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Return points, lines and polygons one by one, and the feature of each."""
    owners = np.flatnonzero(~shapely.is_missing(shapes) & ~shapely.is_empty(shapes))
    pieces = shapes[owners]
    while len(pieces) and (shapely.get_type_id(pieces) > 3).any():
        pieces, of = shapely.get_parts(pieces, return_index=True)
        owners = owners[of]
    finite = np.isfinite(shapely.bounds(pieces)).all(axis=1)
    return pieces[finite], owners[finite].astype(np.int64)


def _points(
    way: Placement, shapes: NDArray[np.object_], owners: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return points, and lines as points so close that they miss no pixel, on the grid."""
    dimensions = shapely.get_dimensions(shapes)
    at = way.place_points(shapely.get_coordinates(shapes[dimensions == 0]))
    line_points, line_owners = _along_lines(way, shapes[dimensions == 1], owners[dimensions == 1])
    points = np.concatenate([at, line_points])
    of = np.concatenate([owners[dimensions == 0], line_owners])
    there = np.isfinite(points).all(axis=1)
    return points[there], of[there]


def _along_lines(
    way: Placement, lines: NDArray[np.object_], owners: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    if not len(lines):
        return np.zeros((0, 2)), owners
    area = shapely.union_all([shapely.box(*box) for box in way.boxes()])
    pieces, of = shapely.get_parts(shapely.intersection(lines, area), return_index=True)
    west, south, east, north = way.box
    pieces = shapely.segmentize(pieces, max(east - west, north - south) / _PIECES)
    bent = shapely.transform(pieces, way.place_points)
    usable = shapely.get_dimensions(bent) == 1
    places, number = shapely.get_coordinates(bent, return_index=True)
    usable[number[~np.isfinite(places).all(axis=1)]] = False
    dense = shapely.segmentize(bent[usable], _STEP)
    points, number = shapely.get_coordinates(dense, return_index=True)
    return points, owners[of][usable][number]
