"""Masks of instances as numbers: run lengths, and outlines of one ring."""

from __future__ import annotations

import numpy as np
import rasterio.features
import shapely
from numpy.typing import NDArray


def encode_runs(mask: NDArray[np.bool_]) -> list[int]:
    """Return the run lengths of a mask, column by column, beginning with what is outside (COCO).

    Parameters
    ----------
    mask : ndarray of bool, shape (height, width)
    """
    flat = mask.T.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    stops = np.concatenate([[0], changes, [flat.size]])
    runs = np.diff(stops).tolist()
    return [0, *runs] if flat[0] else runs


def outline_rings(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the outline of a mask as one ring, along the borders of pixels.

    Holes and further parts are joined to it by a line that is walked there and back, which has no
    area: filled by the rule of even and odd crossings, the ring is the mask.

    Parameters
    ----------
    mask : ndarray of bool, shape (height, width)

    Returns
    -------
    ndarray of float64, shape (n_points, 2)
        Columns x and y, in pixels; the last point is not the first once more.
    """
    shapes = rasterio.features.shapes(mask.astype(np.uint8), mask, connectivity=4)
    polygons = [shapely.geometry.shape(shape) for shape, _ in shapes]
    rings = [
        np.asarray(ring.coords)[:-1]
        for polygon in sorted(polygons, key=lambda polygon: -polygon.area)
        for ring in (polygon.exterior, *polygon.interiors)
    ]
    joined = rings[0]
    for ring in rings[1:]:
        joined = _join(joined, ring)
    return joined


def _join(ring: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Insert a ring into another where their corners are nearest."""
    distances = np.abs(ring[:, np.newaxis] - other[np.newaxis]).sum(axis=2)
    here, there = np.unravel_index(int(distances.argmin()), distances.shape)
    turned = np.concatenate([other[there:], other[: there + 1]])
    return np.concatenate([ring[: here + 1], turned, ring[here:]])
