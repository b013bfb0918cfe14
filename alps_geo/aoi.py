"""Where to label: the polygons of a vector file on a scene's grid."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from rasterio.features import rasterize
from rasterio.transform import Affine

from .errors import SceneError
from .grid import Grid, Window

#: Lines are cut into this many pieces or more before they are bent into another CRS.
PIECES = 64


@dataclass(frozen=True)
class Aoi:
    """An area of interest.

    Attributes
    ----------
    path : str
        The vector file it was read from.
    polygons : tuple of bytes
        Each polygon as WKB in pixel coordinates (col, row) of the scene's grid.
    """

    path: str
    polygons: tuple[bytes, ...]

    def inside(self, window: Window) -> NDArray[np.bool_]:
        """Return which pixels of a window have their centre inside, shape (height, width)."""
        shapes = shapely.from_wkb(np.array(self.polygons, object))
        left, top, right, bottom = shapely.bounds(shapes).T
        near = (left < window.col_stop) & (right > window.col)
        near &= (top < window.row_stop) & (bottom > window.row)
        if not near.any():
            return np.zeros((window.height, window.width), bool)
        burnt: NDArray[np.uint8] = rasterize(
            list(shapes[near]),
            (window.height, window.width),
            transform=Affine.translation(window.col, window.row),
            dtype="uint8",
        )
        return burnt.astype(bool)

    @property
    def digest(self) -> str:
        """A hash of the polygons."""
        return hashlib.sha256(b"".join(self.polygons)).hexdigest()


def read_aoi(path: str, grid: Grid, scene: str) -> Aoi:
    """Read the polygons of a vector file, in any CRS, onto a scene's grid.

    Parameters
    ----------
    path : str
        Any vector file that GDAL reads; the first layer with polygons counts.
    grid : Grid
    scene : str
        How messages call the scene.

    Raises
    ------
    SceneError
        If the file cannot be read, has no CRS, no polygons, or none that touches the scene.
    """
    shapes, crs = _read_polygons(path)
    pixels = _to_pixels(shapes, grid, _transformer(path, crs, grid, scene), path)
    extent = shapely.box(0, 0, grid.width, grid.height)
    pixels = pixels[shapely.intersects(pixels, extent)]
    if not len(pixels):
        raise SceneError(
            f"{path}: the area of interest does not touch {scene}; give polygons inside the scene"
        )
    return Aoi(path, tuple(shapely.to_wkb(pixels)))


def _read_polygons(path: str) -> tuple[NDArray[Any], str | None]:
    """Return polygons and their CRS, None where the file names none."""
    # Imported late: a run without an area of interest needs no vector library.
    from pyogrio.errors import DataLayerError, DataSourceError

    remote = path.startswith("/vsi") or "://" in path
    if not remote and not Path(path).exists():
        raise SceneError(f"{path}: the area of interest does not exist; check the path")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what GDAL says of fields does not matter here
            shapes, crs = _first_polygons(path)
    except (DataSourceError, DataLayerError, OSError) as error:
        reason = " ".join(str(error).split())
        raise SceneError(
            f"{path}: the area of interest cannot be read as a vector file"
            f" (GeoPackage, GeoJSON, Shapefile, ...): {reason}"
        ) from error
    except shapely.errors.GEOSException as error:
        raise SceneError(f"{path}: the area of interest has a damaged geometry: {error}") from error
    if not len(shapes):
        raise SceneError(
            f"{path}: the area of interest has no polygons; lines and points enclose nothing"
        )
    return shapes, crs


def _first_polygons(path: str) -> tuple[NDArray[Any], str | None]:
    """Return the polygons and the CRS of the first layer that has any."""
    import pyogrio

    for name, kind in pyogrio.list_layers(path):
        if kind is None or "Point" in kind or "Line" in kind:
            continue
        meta, _, wkb, _ = pyogrio.raw.read(path, layer=name, columns=[], force_2d=True)
        shapes = _polygons_of(wkb)
        if len(shapes):
            return shapes, meta["crs"]
    return np.array([], object), None


def _polygons_of(wkb: NDArray[Any] | None) -> NDArray[Any]:
    """Return all valid polygons, one by one."""
    if wkb is None:
        return np.array([], object)
    shapes = shapely.from_wkb(wkb)
    shapes = shapes[~shapely.is_missing(shapes)]
    polygonal = np.isin(shapely.get_type_id(shapes), [3, 6, 7])
    return _valid_parts(shapes[polygonal])


def _valid_parts(shapes: NDArray[Any]) -> NDArray[Any]:
    parts = shapely.get_parts(shapely.make_valid(shapes))
    parts = shapely.get_parts(parts)  # a repaired polygon may be a multipolygon in a collection
    kept: NDArray[Any] = parts[(shapely.get_type_id(parts) == 3) & ~shapely.is_empty(parts)]
    return kept


def _transformer(path: str, crs: str | None, grid: Grid, scene: str) -> Transformer | None:
    """Return what turns the polygons' coordinates into the scene's, None where they agree."""
    if crs is None and grid.crs is None:
        return None
    if crs is None:
        raise SceneError(
            f"{path}: the area of interest has no CRS; give it one, such as with"
            f" ogr2ogr -a_srs EPSG:4326 out.gpkg {path}"
        )
    if grid.crs is None:
        raise SceneError(
            f"{scene}: has no CRS, so that {path} cannot be placed on it; give the scene one with"
            " gdal_edit.py -a_srs, or leave the area of interest out"
        )
    source = CRS.from_user_input(crs)
    return None if source == grid.crs else Transformer.from_crs(source, grid.crs, always_xy=True)


def _to_pixels(
    shapes: NDArray[Any], grid: Grid, transformer: Transformer | None, path: str
) -> NDArray[Any]:
    """Return polygons in pixel coordinates (col, row)."""
    if transformer is not None:
        left, top, right, bottom = shapely.total_bounds(shapes)
        shapes = shapely.segmentize(shapes, max(right - left, bottom - top) / PIECES)
    inverse = ~grid.transform
    matrix = np.array([[inverse.a, inverse.d], [inverse.b, inverse.e]])

    def place(points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn ground coordinates into pixel coordinates."""
        if transformer is not None:
            points = np.stack(transformer.transform(points[:, 0], points[:, 1]), axis=1)
        placed: NDArray[np.float64] = points @ matrix + np.array([inverse.c, inverse.f])
        return placed

    try:
        with np.errstate(invalid="ignore"):
            placed = shapely.transform(shapes, place)
            finite = np.isfinite(shapely.bounds(placed)).all(axis=1)
            return _valid_parts(placed[finite])
    except (ProjError, shapely.errors.GEOSException) as error:
        raise SceneError(
            f"{path}: the area of interest reaches beyond where the scene's CRS has coordinates;"
            " cut it down to the scene's surroundings"
        ) from error
