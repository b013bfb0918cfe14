"""The one reader of polygons: areas of interest and reference polygons, onto a pixel grid.

Geometries are repaired first, then clipped, then reprojected (`placement`); what cannot be used is
counted and told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError, ProjError

from ..errors import AlpsGeoError
from .grid import Grid
from .placement import Box, Placement, Purpose, connect, polygons_of
from .vectorfiles import Features, Layer, Source

#: Most that longitudes can be, in degrees, with a turn of the globe more.
MAX_LONGITUDE = 540


@dataclass(frozen=True)
class GridPolygons:
    """Polygons on a grid, and the features that they are of.

    Attributes
    ----------
    shapes : ndarray of shapely polygons, shape (n,)
        Valid, in pixel coordinates (col, row); all touch the grid.
    owners : ndarray of int64, shape (n,)
        The feature of each.
    areas : ndarray of float64, shape (n_features,)
        Of whole features, in the file's own CRS.
    values : ndarray, shape (n_features,), or None
        Of the column that was asked for.
    outside : int
        Features that do not touch the grid.
    notes : tuple of str
        What the user should know, such as what else was left out and why.
    """

    shapes: NDArray[np.object_]
    owners: NDArray[np.int64]
    areas: NDArray[np.float64]
    values: NDArray[Any] | None
    outside: int
    notes: tuple[str, ...]


class OutsideError(Exception):
    """There are polygons, but none touches the grid."""


class NoPolygonsError(Exception):
    """The layer has no polygons anywhere."""


def place_layer(
    source: Source,
    layer: Layer,
    grid: Grid,
    purpose: Purpose,
    ground: str,
    column: str | None = None,
) -> GridPolygons:
    """Read the polygons of a layer that touch a grid, onto it.

    Parameters
    ----------
    source : Source
    layer : Layer
    grid : Grid
    purpose : Purpose
    ground : str
        What messages call the file that the grid belongs to.
    column : str, optional
        A field whose values are read, too.

    Raises
    ------
    AlpsGeoError
        Of the purpose's kind, if the polygons cannot be laid over the grid.
    OutsideError
        If none touches it; the message says where they are.
    NoPolygonsError
        If there are none.
    """
    way, boxes = connect_layer(source, layer, grid, purpose, ground)
    features = layer.read(boxes, column)
    polygons, owners, notes = _repaired(source, features)
    placed = way.place(polygons)
    if not len(placed.shapes):
        if len(placed.lost):
            raise _beyond(source, purpose, ground)
        raise _missed(source, layer, way, purpose, ground)
    lost = np.unique(owners[placed.lost])
    if len(lost):
        notes.append(
            f"{source.shown}: {_count(len(lost), 'polygon')} of {purpose.noun} reach beyond where"
            f" the CRS of {ground} has coordinates; what lies there was left out"
        )
    caveat = way.caveat(ground)
    if caveat:
        notes.append(f"{source.shown}: {caveat}")
    areas = np.zeros(len(features.shapes))
    np.add.at(areas, owners, shapely.area(polygons))
    touching = owners[placed.owners]
    used = np.unique(touching)
    outside = np.setdiff1d(owners, used).size + (layer.count or 0) - len(features.shapes)
    return GridPolygons(
        placed.shapes, touching, areas, features.values, max(0, outside), tuple(notes)
    )


def connect_layer(
    source: Source, layer: Layer, grid: Grid, purpose: Purpose, ground: str
) -> tuple[Placement, list[Box]]:
    """Find the way from a layer onto a grid, and where the grid lies in the layer.

    Parameters
    ----------
    source, layer, grid, purpose, ground
        As of `place_layer`.

    Raises
    ------
    AlpsGeoError
        Of the purpose's kind, if there is no way.
    """
    way = connect(source.shown, _crs_of(source, layer, purpose), grid, purpose, ground)
    return way, _boxes(source, way, purpose, ground)


def _crs_of(source: Source, layer: Layer, purpose: Purpose) -> CRS | None:
    """Return a layer's CRS; what GeoPackage calls undefined is none."""
    if layer.crs is None:
        return None
    try:
        crs = CRS.from_user_input(layer.crs)
    except CRSError as error:
        raise purpose.error(
            f"{source.shown}: the CRS of {purpose.noun} is not one that PROJ understands; assign"
            " the right one, such as in QGIS (Assign projection)"
        ) from error
    return None if crs.name.lower().startswith("undefined") else crs


def _boxes(source: Source, way: Placement, purpose: Purpose, ground: str) -> list[Box]:
    try:
        return way.boxes()
    except ProjError as error:
        raise _beyond(source, purpose, ground) from error


def _beyond(source: Source, purpose: Purpose, ground: str) -> AlpsGeoError:
    return purpose.error(
        f"{source.shown}: {purpose.noun} reaches beyond where the CRS of {ground} has coordinates;"
        " check the CRS of both, or cut it down to the surroundings"
    )


def _repaired(
    source: Source, features: Features
) -> tuple[NDArray[np.object_], NDArray[np.int64], list[str]]:
    """Return valid polygons, their features, and what was left out."""
    shapes, damaged = features.shapes, features.damaged
    empty = (shapely.is_missing(shapes) | shapely.is_empty(shapes)) & ~damaged
    finite = np.isfinite(shapely.bounds(shapes)).all(axis=1)
    damaged = damaged | (~empty & ~finite)
    usable = np.flatnonzero(~empty & ~damaged)
    polygons, owners = polygons_of(shapes[usable], usable)
    without = np.setdiff1d(usable, owners)
    # A collection of points is no more a polygon than a point; a polygon without area was one.
    flat = shapely.get_dimensions(shapes[without]) < 2
    counts = {
        "lines or points": int(flat.sum()),
        "empty": int(empty.sum()),
        "beyond repair": int(damaged.sum() + (~flat).sum()),
    }
    told = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    return polygons, owners, [f"{source.shown}: left out {told}"] if told else []


def _missed(
    source: Source, layer: Layer, way: Placement, purpose: Purpose, ground: str
) -> Exception:
    """Return why no polygon touches the grid."""
    polygons, _, _ = _repaired(source, layer.read(None, None))
    if not len(polygons):
        return NoPolygonsError(source.shown)
    west, south, east, north = shapely.total_bounds(polygons)
    crs = way.source
    name = "no CRS" if crs is None else crs.name
    in_degrees = crs is not None and crs.is_geographic
    if in_degrees and (max(-south, north) > 90.001 or max(-west, east) > MAX_LONGITUDE):
        return purpose.error(
            f"{source.shown}: {purpose.noun} has coordinates such as ({west:.10g}, {south:.10g}),"
            f" which are no degrees, but its CRS is said to be {name} (GeoJSON without a CRS is"
            " always in degrees); assign the CRS that they are in, and save it as a GeoPackage"
        )
    box = way.box
    return OutsideError(
        f"it lies at x {_span(west, east)}, y {_span(south, north)}, and {ground} at"
        f" x {_span(box[0], box[2])}, y {_span(box[1], box[3])} ({name})"
    )


def _span(low: float, high: float) -> str:
    return f"{low:.6g} to {high:.6g}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
