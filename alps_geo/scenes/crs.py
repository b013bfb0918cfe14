"""Whether results say of their place what the scene says: read back, and compared.

GDAL replaces a system that its data do not know by a local one of the same name, without an error.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
from pyproj import CRS
from pyproj.exceptions import CRSError

from ..errors import LibraryError
from .ellipsoid import metres_per_unit, to_degrees
from .grid import Grid

#: The same place in two systems may differ by this much, in metres: by rounded parameters.
_SAME_M = 0.01


def require_crs(path: Path, wkt: str | None, grid: Grid) -> None:
    """Refuse a result whose CRS is not the scene's.

    Parameters
    ----------
    path : Path
        Of the result, for the message.
    wkt : str or None
        The CRS that was read from it.
    grid : Grid
        Of the scene.

    Raises
    ------
    LibraryError
        If the CRS is another one.
    """
    if grid.crs is None or (wkt is not None and same_crs(CRS.from_wkt(wkt), grid)):
        return
    found = "none" if wkt is None else f"{CRS.from_wkt(wkt).name} ({CRS.from_wkt(wkt).type_name})"
    raise LibraryError(
        f"{path.parent}: GDAL does not write the scene's CRS {grid.crs.name} ({grid.crs.type_name})"
        f" but {found}; install rasterio and pyogrio anew with pip, unset PROJ_DATA and PROJ_LIB,"
        " or warp the scene to a common CRS with rio warp"
    )


def require_package_crs(path: Path, grid: Grid) -> None:
    """Refuse a GeoPackage whose layer `segments` is in another CRS, as `require_crs` does."""
    if grid.crs is None:
        return
    with closing(sqlite3.connect(path)) as database:
        cursor = database.execute(
            "SELECT systems.* FROM gpkg_spatial_ref_sys AS systems JOIN gpkg_contents"
            " USING (srs_id) WHERE table_name = 'segments'"
        )
        columns = [column[0] for column in cursor.description]
        row = dict(zip(columns, cursor.fetchone() or (), strict=False))
    texts = [row.get(name) for name in ("definition_12_063", "definition")]
    require_crs(path, next((text for text in texts if text and text != "undefined"), None), grid)


def same_crs(crs: CRS, grid: Grid) -> bool:
    """Tell whether a CRS gives the grid's pixels the place and the units that its own does.

    Formats keep other names, axes and remarks, so that equal texts are too much to ask.
    """
    wanted = grid.crs
    if wanted is None or crs.equals(wanted, ignore_axis_order=True):
        return True
    if (crs.is_geographic, crs.is_projected or crs.is_bound) != (
        wanted.is_geographic,
        wanted.is_projected or wanted.is_bound,
    ):
        return False
    unit, wanted_unit = metres_per_unit(crs), metres_per_unit(wanted)
    if unit is not None and wanted_unit is not None and abs(unit / wanted_unit - 1) > 1e-9:
        return False
    middle = grid.to_ground(np.array([[grid.width / 2, grid.height / 2]]))
    here, there = to_degrees(crs, middle)[0], to_degrees(wanted, middle)[0]
    geod = wanted.get_geod()
    if geod is None or not np.isfinite([here, there]).all():
        return crs.is_engineering == wanted.is_engineering
    return bool(geod.inv(*here, *there)[2] < _SAME_M)


def require_understood(name: str, crs: CRS | None, code: int | None) -> None:
    """Refuse a scene whose file names a system that GDAL made a local one of.

    Parameters
    ----------
    name : str
        Of the scene, for the message.
    crs : pyproj.CRS or None
        What GDAL understood.
    code : int or None
        EPSG code of the system that the file names; see `geokeys.read_code`.

    Raises
    ------
    LibraryError
        If the file names one, and a local one, or none, was understood.
    """
    if code is None or (crs is not None and not crs.is_engineering):
        return
    try:
        known = CRS.from_epsg(code).name
    except CRSError:
        known = "which PROJ does not know either"
    raise LibraryError(
        f"{name}: its CRS is EPSG:{code} ({known}), but GDAL does not understand it; install"
        " rasterio and pyproj anew with pip, or give the file a CRS with rio edit-info"
    )
