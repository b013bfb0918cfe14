"""Reference polygons with a class each, rasterised window by window onto the grid of the labels.

A pixel belongs to a polygon that holds its centre; where polygons overlap, the smaller one wins,
as in painting labels. All polygons that touch the labels are held in memory, their pixels not.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyogrio
import rasterio.features
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from .errors import ReferenceDataError
from .grid import Grid, Window

#: Edges are cut to this part of the layer's extent before they go to another CRS.
PIECES = 64


@dataclass
class PolygonClasses:
    """Polygons with a class each, rasterised where they are asked for.

    Attributes
    ----------
    grid : Grid
    geometry : ndarray of shapely geometries, shape (n,)
        In the grid's CRS, large before small.
    classes : ndarray of int64, shape (n,)
        Number of each polygon's name.
    names : tuple of str
    notes : list of str
    """

    grid: Grid
    geometry: NDArray[np.object_]
    classes: NDArray[np.int64]
    names: tuple[str, ...]
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Index the polygons by place."""
        self._tree = shapely.STRtree(self.geometry)

    def read(self, window: Window) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return class numbers and where there are any, each of shape (height, width)."""
        # In order, because later polygons are burnt over earlier ones.
        near = np.sort(self._tree.query(_footprint(self.grid, window), predicate="intersects"))
        burnt = np.zeros((window.height, window.width), np.int32)
        if len(near):
            rasterio.features.rasterize(
                zip(self.geometry[near], (self.classes[near] + 1).tolist(), strict=True),
                out=burnt,
                transform=self.grid.transform * Affine.translation(window.col, window.row),
            )
        return burnt.astype(np.int64) - 1, burnt > 0

    def class_name(self, number: int) -> str:
        """Return the attribute's value as text."""
        return self.names[number]


def read_polygons(
    path: str, grid: Grid, *, attribute: str | None = None, layer: str | None = None
) -> PolygonClasses:
    """Read the polygons of a vector layer that touch a grid, in the grid's CRS.

    Parameters
    ----------
    path : str
    grid : Grid
    attribute : str, optional
        Column that holds the classes; not needed where there is only one.
    layer : str, optional
        Not needed where there is only one.

    Raises
    ------
    ReferenceDataError
        If the layer or the attribute is not there, or no polygon touches the grid.
    """
    layer = _choose_layer(path, layer)
    info = pyogrio.read_info(path, layer=layer)
    attribute = _choose_attribute(path, list(info["fields"]), attribute)
    crs = _layer_crs(path, info["crs"], grid)
    table = pyogrio.read_dataframe(
        path, layer=layer, columns=[attribute], bbox=_bounds_in(grid, crs)
    )
    polygonal = np.isin(table.geometry.geom_type, ["Polygon", "MultiPolygon"])
    if len(table) and not polygonal.any():
        raise ReferenceDataError(
            f"{path} has no polygons but {table.geometry.geom_type.iloc[0]} features; give a layer"
            " of polygons"
        )
    table = table[polygonal & ~table.geometry.is_empty.to_numpy()]
    if crs is not None and crs != grid.crs:
        west, south, east, north = table.total_bounds
        # Straight edges bend in another CRS, so they get more corners.
        table = table.set_geometry(
            table.geometry.segmentize(max(east - west, north - south) / PIECES)
        ).to_crs(grid.crs)
    table = table[np.isfinite(table.geometry.bounds).all(axis=1)]
    table = table[table.geometry.intersects(_footprint(grid, grid.window))]
    if table.empty:
        raise ReferenceDataError(f"no polygon of {path} overlaps the labels; check its CRS")
    unknown = table[attribute].isna()
    classes, names = _number_classes(table.loc[~unknown, attribute])
    geometry = table.geometry[~unknown].to_numpy()
    order = np.argsort(-shapely.area(geometry), kind="stable")
    notes = [f"{int(unknown.sum())} polygons without a {attribute} were left out"]
    return PolygonClasses(
        grid, geometry[order], classes[order], names, notes if unknown.any() else []
    )


def _choose_layer(path: str, layer: str | None) -> str:
    try:
        known = [str(name) for name in pyogrio.list_layers(path)[:, 0]]
    except (DataSourceError, DataLayerError) as error:
        raise ReferenceDataError(
            f"{path} is neither a raster nor a vector layer that GDAL reads"
        ) from error
    if layer is None and len(known) == 1:
        return known[0]
    if layer in known:
        return str(layer)
    wrong = f"has no layer {layer!r}" if layer else f"has {len(known)} layers"
    raise ReferenceDataError(f"{path} {wrong}; choose one with --layer: {', '.join(known)}")


def _choose_attribute(path: str, known: list[str], attribute: str | None) -> str:
    if attribute is None and len(known) == 1:
        return known[0]
    if attribute in known:
        return str(attribute)
    if not known:
        raise ReferenceDataError(f"{path} has no field that could hold classes")
    wrong = f"has no field {attribute!r}" if attribute else "is a vector layer"
    raise ReferenceDataError(f"{path} {wrong}; choose its classes with --field: {', '.join(known)}")


def _layer_crs(path: str, text: str | None, grid: Grid) -> CRS | None:
    if (text is None) != (grid.crs is None):
        who = path if text is None else "the label raster"
        raise ReferenceDataError(
            f"{who} has no CRS, so labels and reference cannot be laid over each other;"
            " assign the right one (ogr2ogr -a_srs, gdal_edit.py -a_srs)"
        )
    return None if text is None else CRS.from_user_input(text)


def _bounds_in(grid: Grid, crs: CRS | None) -> tuple[float, float, float, float] | None:
    """Return the grid's bounds in another CRS; None where they cannot be told."""
    bounds: tuple[float, float, float, float] = _footprint(grid, grid.window).bounds
    if grid.crs is None or crs is None:
        return bounds
    try:
        transformer = Transformer.from_crs(grid.crs, crs, always_xy=True)
        west, south, east, north = transformer.transform_bounds(*bounds)
    except ProjError:
        return None
    # Across the antimeridian west is greater than east: no box can say that.
    usable = np.isfinite([west, south, east, north]).all() and west <= east
    return (west, south, east, north) if usable else None


def _footprint(grid: Grid, window: Window) -> shapely.Polygon:
    row, col, row_stop, col_stop = window.row, window.col, window.row_stop, window.col_stop
    corners = [[col, row], [col_stop, row], [col_stop, row_stop], [col, row_stop]]
    return shapely.Polygon(grid.to_ground(np.array(corners, dtype=float)))


def _number_classes(values: pd.Series) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return a number per value and the names by number; whole floats are named as integers."""
    numbers, distinct = pd.factorize(values, sort=True)
    whole = [
        int(value) if isinstance(value, float) and value.is_integer() else value
        for value in distinct.tolist()
    ]
    return numbers.astype(np.int64), tuple(str(value) for value in whole)
