"""How coordinates lie on the ellipsoid: longitude and latitude, and how far a CRS stretches there.

Nothing here changes the datum: a CRS is compared with its own ellipsoid, so no grid is needed.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

#: A CRS whose lengths or areas are off by more than this does not tell metres.
TOLERANCE = 0.01
# Side of the squares that are measured, in metres: long enough to be exact.
_SIDE_M = 100.0
# Corners of such a square, and its sides and diagonals as pairs of them.
_CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=float)
_LINES = ((0, 1), (0, 3), (0, 2), (1, 3))


def metres_per_unit(crs: CRS) -> float | None:
    """Return the metres per unit of the coordinates; None in degrees."""
    if crs.is_geographic or not crs.axis_info:
        return None
    return float(crs.axis_info[0].unit_conversion_factor)


def to_degrees(crs: CRS, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn coordinates into degrees of longitude and latitude; infinite where there are none.

    Parameters
    ----------
    crs : pyproj.CRS
    points : ndarray of float, shape (n, 2)
        x and y, as rasters and layers have them.

    Returns
    -------
    ndarray of float, shape (n, 2)
    """
    if crs.is_geographic:
        # Not all geographic systems count in degrees: that of old French maps counts in grads.
        return points * math.degrees(crs.axis_info[0].unit_conversion_factor)
    transformer = _unprojection(crs)
    if transformer is None:
        return np.full_like(points, np.inf)
    x, y = transformer.transform(points[:, 0], points[:, 1])
    # A system of grads or of another meridian counts so too; its own ellipsoid does not mind.
    return np.stack([x, y], axis=1) * _degrees_of(crs)


def scale(crs: CRS, points: NDArray[np.float64]) -> float | None:
    """Return how many times longer lengths are in the CRS than on the ground, where most off.

    Parameters
    ----------
    crs : pyproj.CRS
    points : ndarray of float, shape (n, 2)
        Where to measure, in ground coordinates.

    Returns
    -------
    float or None
        A length's factor, or the root of an area's; None where the CRS is geographic, or no map
        of the ellipsoid.
    """
    unit, geod = metres_per_unit(crs), crs.get_geod()
    if unit is None or geod is None or _unprojection(crs) is None:
        return None
    corners = points[:, np.newaxis] + _CORNERS * _SIDE_M / unit
    placed = to_degrees(crs, corners.reshape(-1, 2)).reshape(-1, 4, 2)
    placed = placed[np.isfinite(placed).all(axis=(1, 2))]
    factors = []
    for square in placed:
        for start, stop in _LINES:
            _, _, metres = geod.inv(*square[start], *square[stop])
            factors.append(_SIDE_M * math.dist(_CORNERS[start], _CORNERS[stop]) / max(metres, 1e-9))
        area, _ = geod.polygon_area_perimeter(*square.T)
        factors.append(math.sqrt(_SIDE_M**2 / max(abs(area), 1e-9)))
    return max(factors, key=lambda factor: abs(math.log(factor)), default=None)


@lru_cache(maxsize=8)
def _unprojection(crs: CRS) -> Transformer | None:
    """Return what turns a CRS's coordinates into those of its own geographic CRS, if it has one."""
    try:
        flat = crs.to_2d()
        geodetic = flat.geodetic_crs
        if geodetic is None or not (flat.is_projected or flat.is_bound):
            return None
        return Transformer.from_crs(flat, geodetic, always_xy=True)
    except ProjError:
        return None


def _degrees_of(crs: CRS) -> float:
    # pyproj gives degrees, whatever the geographic CRS counts in.
    geodetic = crs.geodetic_crs
    unit = geodetic.axis_info[0].unit_conversion_factor if geodetic is not None else math.radians(1)
    return math.degrees(unit)
