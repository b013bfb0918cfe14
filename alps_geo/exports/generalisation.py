"""Segments made fewer: small ones join a neighbour, neighbours of one class become one polygon."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

#: Columns that become the mean over what was joined, each part weighing by its pixels.
_MEANS = ("predicted_iou", "stability", "confidence")
#: Columns that are added up.
_SUMS = ("area_m2", "area_px")
Borders = list[dict[int, float]]


def absorb_small(segments: GeoDataFrame, areas: NDArray[np.float64], least: float) -> GeoDataFrame:
    """Let segments below a minimum mapping unit join the neighbour with the longest shared border.

    The smallest go first, and what has grown counts with all that it took in. The ground stays
    covered as it was. What has no neighbour stays.

    Parameters
    ----------
    segments : GeoDataFrame
        As of `Run.segments`.
    areas : ndarray of float64, shape (n_segments,)
        In the unit of `least`.
    least : float

    Returns
    -------
    GeoDataFrame
        With a column `segments`, how many each row was made of; class and number are those of the
        neighbour that took others in.
    """
    borders = find_borders(segments)
    keeper = np.arange(len(segments))
    size = areas.astype(np.float64).copy()
    queue = [(area, index) for index, area in enumerate(size) if area < least]
    heapq.heapify(queue)
    while queue:
        area, index = heapq.heappop(queue)
        # It grew, or was taken in, since it was put here.
        if keeper[index] != index or size[index] != area or not borders[index]:
            continue
        # Of equal borders the first neighbour, so that the result depends on nothing else.
        chosen = min(borders[index], key=lambda other: (-borders[index][other], other))
        _join(borders, index, chosen)
        keeper[index] = chosen
        size[chosen] += area
        if size[chosen] < least:
            heapq.heappush(queue, (size[chosen], chosen))
    return _merge(segments, _roots(keeper))


def dissolve(segments: GeoDataFrame) -> GeoDataFrame:
    """Make one polygon of neighbours that have the same class and share a border.

    Parameters
    ----------
    segments : GeoDataFrame
        As of `Run.segments`, or of `absorb_small`.

    Returns
    -------
    GeoDataFrame
        With a column `segments`; the number is that of the largest part.
    """
    classes = segments["class_id"].to_numpy()
    keeper = np.arange(len(segments))
    order = np.argsort(-segments["area_px"].to_numpy(), kind="stable")
    borders = find_borders(segments)
    seen = np.zeros(len(segments), bool)
    for start in order:
        if seen[start]:
            continue
        seen[start] = True
        waiting = [int(start)]
        while waiting:
            for other in borders[waiting.pop()]:
                if not seen[other] and classes[other] == classes[start]:
                    seen[other] = True
                    keeper[other] = start
                    waiting.append(other)
    return _merge(segments, keeper)


def find_borders(segments: GeoDataFrame) -> Borders:
    """Return for each segment the length of the border it shares with each neighbour.

    Parameters
    ----------
    segments : GeoDataFrame

    Returns
    -------
    list of dict of int to float
        Rows of neighbours; in units of the CRS; what only meets in a point is no neighbour.
    """
    shapes = segments.geometry.to_numpy()
    left, right = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    kept = left < right
    left, right = left[kept], right[kept]
    lengths = shapely.length(shapely.intersection(shapes[left], shapes[right]))
    borders: Borders = [{} for _ in shapes]
    for one, two, length in zip(left.tolist(), right.tolist(), lengths.tolist(), strict=True):
        if length > 0:
            borders[one][two] = borders[two][one] = length
    return borders


def _join(borders: Borders, index: int, into: int) -> None:
    """Let one segment's neighbours be those of another."""
    for other, length in borders[index].items():
        del borders[other][index]
        if other != into:
            borders[into][other] = borders[other][into] = borders[into].get(other, 0.0) + length
    borders[index] = {}


def _roots(keeper: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return who keeps each row in the end."""
    while True:
        above = keeper[keeper]
        if (above == keeper).all():
            return keeper
        keeper = above


def _merge(segments: GeoDataFrame, keeper: NDArray[np.int64]) -> GeoDataFrame:
    """Make one row of all that have the same keeper, in the order of the keepers."""
    kept, group = np.unique(keeper, return_inverse=True)
    merged = segments.iloc[kept].reset_index(drop=True)
    counts = segments["segments"].to_numpy() if "segments" in segments else np.ones(len(segments))
    merged["segments"] = np.bincount(group, counts).astype(np.int64)
    weights = segments["area_px"].to_numpy().astype(np.float64)
    total = np.bincount(group, weights)
    for name in _MEANS:
        values = segments[name].to_numpy().astype(np.float64)
        merged[name] = np.bincount(group, values * weights) / total
    for name in _SUMS:
        sums = np.bincount(group, segments[name].to_numpy().astype(np.float64))
        merged[name] = sums.astype(segments[name].dtype)
    shapes = segments.geometry.to_numpy()
    members = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
    joined = [
        shapes[rows[0]] if len(rows) == 1 else shapely.union_all(shapes[rows]) for rows in members
    ]
    return merged.set_geometry(joined, crs=segments.crs)
