"""Where the pixels of a raster file are on the ground: told, or refused with what to do first.

Pixel numbers never pass for coordinates, and a model of the sensor (RPC, ground control points,
arrays of longitudes and latitudes) is no map: only a geotransform on the ground is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyproj import CRS
from pyproj.exceptions import CRSError

from ...errors import SceneError
from ...progress import Notice
from ..crs import require_understood
from ..grid import Grid
from .geokeys import read_code

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

#: Longitudes go once more around where scenes cross 180 degrees; beyond are no degrees.
_MAX_DEGREES = (361.0, 91.0)


def find_grid(dataset: DatasetReader, name: str) -> tuple[Grid, list[str]]:
    """Return the pixel grid of an open raster, and what to warn of.

    Parameters
    ----------
    dataset : DatasetReader
    name : str
        What messages call it.

    Returns
    -------
    grid : Grid
        Without a CRS where the raster is not georeferenced.
    warnings : list of str

    Raises
    ------
    SceneError
        If only a model of the sensor says where the pixels are, or pixels have no area.
    """
    placed = not dataset.transform.is_identity
    model = _sensor_model(dataset)
    if model is not None and not _on_the_ground(dataset):
        raise SceneError(
            f"{name}: {model[1]}; warp it to a map first, such as by Warp (reproject) in QGIS",
            code=f"scene.{model[0]}_only",
            path=name,
        )
    if dataset.transform.is_degenerate:
        raise SceneError(
            f"{name}: its geotransform {tuple(dataset.transform)[:6]} gives pixels no area; give"
            " it the right one (rio edit-info)"
        )
    crs, flaw = _find_crs(dataset)
    # Points in a file beside the image hide its CRS.
    has_code = dataset.driver == "GTiff" and not dataset.gcps[0]
    require_understood(name, crs, read_code(dataset.name) if has_code else None)
    if not placed:
        flaw, crs = "no geotransform", None
    text = Notice(
        f"{name}: not georeferenced: {flaw}; area_m2 will be empty", code="scene.no_crs", path=name
    )
    grid = Grid(crs, dataset.transform, dataset.height, dataset.width)
    return grid, [text] if crs is None else []


def _sensor_model(dataset: DatasetReader) -> tuple[str, str] | None:
    """Return the kind of what but a geotransform tells the place, and how to say so."""
    # GDAL shows them alike wherever they come from: tags, files beside the image, VRT, .aux.xml.
    if dataset.gcps[0]:
        return "gcps", "is georeferenced by ground control points only"
    domains = dataset.tag_namespaces()
    if "RPC" in domains:
        return "rpc", "has an RPC sensor model and is not orthorectified"
    if "GEOLOCATION" in domains:
        return (
            "geolocation",
            "is georeferenced by arrays of longitudes and latitudes (geolocation) only",
        )
    return None


def _on_the_ground(dataset: DatasetReader) -> bool:
    """Return whether the geotransform means places on the ground, not numbers of pixels."""
    place = dataset.transform
    steps = sorted(abs(value) for value in (place.a, place.b, place.d, place.e))
    # Pixels of 1, y up or down, turned or not, from the image's own corner: those are counted.
    reach = max(dataset.height, dataset.width) + 1
    if steps == [0, 0, 1, 1] and max(abs(place.c), abs(place.f)) <= reach:
        return False
    crs, _ = _find_crs(dataset)
    if crs is None or not crs.is_geographic:
        return True
    corners = [(0, 0), (0, dataset.height), (dataset.width, 0), (dataset.width, dataset.height)]
    ground = [place * corner for corner in corners]
    return all(abs(x) <= _MAX_DEGREES[0] and abs(y) <= _MAX_DEGREES[1] for x, y in ground)


def _find_crs(dataset: DatasetReader) -> tuple[CRS | None, str]:
    if not dataset.crs:
        return None, "no CRS"
    try:
        return CRS.from_wkt(dataset.crs.to_wkt()), ""
    except CRSError:
        return None, "a CRS that PROJ does not understand"
