"""Around the globe: periods of coordinates, and polygons across 180 degrees or a pole."""

from __future__ import annotations

import math

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer


def horizontal(crs: CRS) -> CRS:
    """Return a CRS without heights: where pixels and polygons lie does not depend on them."""
    while crs.is_compound:
        crs = crs.sub_crs_list[0]
    if crs.is_bound and crs.source_crs is not None and crs.source_crs.is_compound:
        return horizontal(crs.source_crs)
    return crs.to_2d() if len(crs.axis_info) == 3 and not crs.is_geocentric else crs


def period_of(crs: CRS) -> float | None:
    """Return how much x grows on one turn around the globe, None where it does not tell.

    Longitudes have a period, and so has x in cylindrical projections such as Mercator's.
    """
    crs = horizontal(crs)
    if crs.is_geographic:
        return 2 * math.pi / float(crs.axis_info[0].unit_conversion_factor)
    if crs.is_bound and crs.source_crs is not None:
        return period_of(crs.source_crs)
    operation = crs.coordinate_operation
    if not crs.is_projected or operation is None or crs.geodetic_crs is None:
        return None
    method = operation.method_name
    if not ("Mercator" in method or "Cylindrical" in method):
        return None
    if "Transverse" in method or "Oblique" in method:
        return None
    transformer = Transformer.from_crs(crs.geodetic_crs, crs, always_xy=True)
    half_turn = math.pi / float(crs.geodetic_crs.axis_info[0].unit_conversion_factor)
    x, _ = transformer.transform(np.array([-1.0, 0.0, 1.0]) * half_turn / 180, np.zeros(3))
    # One of the steps may cross the edge of the map.
    step = float(np.abs(np.diff(x)).min())
    return step * 360 if math.isfinite(step) and step > 0 else None


def unwrapped(x: NDArray[np.float64], period: float) -> NDArray[np.float64]:
    """Return x of a lattice without leaps of a period between neighbours; NaN is nowhere."""
    if np.isnan(x).any():
        # Points off the globe have no neighbours: all are brought near one that is on it.
        middle = x[np.isfinite(x)][np.count_nonzero(np.isfinite(x)) // 2]
        near: NDArray[np.float64] = x - period * np.round((x - middle) / period)
        return near
    first = np.unwrap(x[:, 0], period=period)
    rows = np.unwrap(x, period=period, axis=1)
    whole: NDArray[np.float64] = rows + (first - rows[:, 0])[:, np.newaxis]
    return whole


def encircles_pole(x: NDArray[np.float64], period: float) -> bool:
    """Tell whether the edge of an unwrapped lattice runs around the globe."""
    edge = np.concatenate([x[0], x[1:, -1], x[-1, -2::-1], x[-2::-1, 0]])
    edge = edge[np.isfinite(edge)]
    if not len(edge):
        return False
    around = np.unwrap(edge, period=period)
    return bool(abs(around[-1] - around[0]) > period / 2)


def shifted(shapes: NDArray[np.object_], shift: float) -> NDArray[np.object_]:
    """Return polygons moved along x."""
    moved: NDArray[np.object_] = shapes.copy()
    if not shift:
        return moved
    moved = shapely.transform(shapes, lambda points: points + np.array([shift, 0]))
    return moved


def turned(
    shapes: NDArray[np.object_], owners: NDArray[np.int64], period: float
) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Return polygons where they are, and one turn of the globe to either side."""
    copies = [shifted(shapes, shift) for shift in (0, period, -period)]
    return np.concatenate(copies), np.tile(owners, 3)


def joined_across(
    shapes: NDArray[np.object_], period: float, is_geographic: bool
) -> NDArray[np.object_]:
    """Mend polygons that the edge of the map tore: their corners lie on both sides of it."""
    west, _, east, _ = shapely.bounds(shapes).T
    for at in np.flatnonzero(east - west > period / 2):
        shapes[at] = _joined_polygon(shapes[at], period, is_geographic)
    return shapes


def _joined_polygon(shape: shapely.Polygon, period: float, is_geographic: bool) -> shapely.Polygon:
    shell = _joined_ring(np.array(shape.exterior.coords), period, is_geographic)
    middle = (shell[:, 0].min() + shell[:, 0].max()) / 2
    holes = []
    for ring in shape.interiors:
        hole = _joined_ring(np.array(ring.coords), period, is_geographic)
        apart = (hole[:, 0].min() + hole[:, 0].max()) / 2 - middle
        hole[:, 0] -= period * round(apart / period)
        holes.append(hole)
    return shapely.Polygon(shell, holes)


def _joined_ring(
    ring: NDArray[np.float64], period: float, is_geographic: bool
) -> NDArray[np.float64]:
    """Return a ring whose neighbouring corners are neighbours; one around a pole includes it."""
    ring[:, 0] = np.unwrap(ring[:, 0], period=period)
    if abs(ring[-1, 0] - ring[0, 0]) < period / 2:
        return ring
    pole = math.copysign(period / 4, ring[:, 1].mean()) if is_geographic else ring[:, 1].max()
    cap = [[ring[-1, 0], pole], [ring[0, 0], pole], ring[0]]
    return np.concatenate([ring, cap])
