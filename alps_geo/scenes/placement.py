"""From the CRS of polygons or rasters onto the pixel grid of a scene, also across 180 degrees.

Polygons are clipped to the surroundings of the grid in their own CRS before they go to that of the
grid: far from it, projections have no coordinates, or wrong ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.enums import TransformDirection
from pyproj.exceptions import ProjError

from ..errors import AlpsGeoError
from .antimeridian import (
    encircles_pole,
    horizontal,
    joined_across,
    period_of,
    shifted,
    turned,
    unwrapped,
)
from .grid import Grid

#: The grid is looked at in this many points down and across, to find where it lies elsewhere.
LATTICE = 33
#: Lines as long as the surroundings of the grid get this many pieces before they are bent.
PIECES = 256
#: Polygons that cannot go to another CRS as a whole go in cells, this many down and across.
CELLS = 32
#: Inaccuracy that goes without saying, in metres: what WGS 84 itself leaves open.
SLIGHT_M = 2
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Purpose:
    """What data from a file are for, as messages call it.

    Attributes
    ----------
    noun : str
        `the area of interest`
    error : type of AlpsGeoError
        What is raised where that cannot be.
    """

    noun: str
    error: type[AlpsGeoError]


@dataclass
class Placed:
    """Polygons on a grid.

    Attributes
    ----------
    shapes : ndarray of shapely polygons, shape (n,)
        In pixel coordinates (col, row); only those that touch the grid.
    owners : ndarray of int64, shape (n,)
        The index of the polygon that each is, or is a part of.
    lost : ndarray of int64
        The indices of polygons of which a part has no coordinates in the CRS of the grid.
    """

    shapes: NDArray[np.object_]
    owners: NDArray[np.int64]
    lost: NDArray[np.int64]


@dataclass(frozen=True)
class Placement:
    """How coordinates of one CRS come onto a grid.

    Attributes
    ----------
    source : CRS or None
        None where neither side has a CRS.
    grid : Grid
    transformer : Transformer or None
        None where both are in the same CRS.
    """

    source: CRS | None
    grid: Grid
    transformer: Transformer | None = field(compare=False)

    @cached_property
    def source_period(self) -> float | None:
        """What can be added to x without leaving the place, in units of the source."""
        return None if self.source is None else period_of(self.source)

    @cached_property
    def grid_period(self) -> float | None:
        """The same for the grid."""
        return None if self.grid.crs is None else period_of(self.grid.crs)

    @cached_property
    def box(self) -> Box:
        """Bounds of the grid's surroundings in the source; across 180 degrees they go on beyond.

        Raises
        ------
        ProjError
            If no point of the grid has coordinates there.
        """
        side = np.linspace(0, 1, LATTICE)
        corners = np.stack(
            np.meshgrid(side * self.grid.width, side * self.grid.height), axis=-1
        ).reshape(-1, 2)
        x, y = self.grid.to_ground(corners).reshape(LATTICE, LATTICE, 2).transpose(2, 0, 1)
        if self.transformer is None:
            return float(x.min()), float(y.min()), float(x.max()), float(y.max())
        x, y = self.transformer.transform(x, y, direction=TransformDirection.INVERSE)
        x, y = np.where(np.isfinite(x + y), (x, y), np.nan)
        if not np.isfinite(x).any():
            raise ProjError("no point of the grid has coordinates in the other CRS")
        return _surroundings(x, y, self.source_period)

    def boxes(self) -> list[Box]:
        """Return the box, and where it lies for coordinates a turn of the globe away."""
        west, south, east, north = self.box
        period = self.source_period
        shifts = [0.0] if period is None else [0.0, period, -period]
        return [(west + shift, south, east + shift, north) for shift in shifts]

    def caveat(self, ground: str) -> str:
        """Return what is to be said of the accuracy; empty where it is better than a pixel.

        Parameters
        ----------
        ground : str
            What messages call the file that the grid belongs to.
        """
        if self.transformer is None:
            return ""
        west, south, east, north = self.box
        self.transformer.transform((west + east) / 2, (south + north) / 2)
        try:
            operation = self.transformer.get_last_used_operation()
        except ProjError:
            # None was needed: the coordinates stay.
            return ""
        if "allpark" in operation.description:
            return (
                f"between its CRS and that of {ground} no accurate transformation is known, so that"
                " it may lie some hundred metres off"
            )
        pixel = self.grid.pixel_size_m
        if pixel is None or operation.accuracy <= max(pixel, SLIGHT_M):
            return ""
        return (
            f"between its CRS and that of {ground} the best transformation at hand is good to"
            f" {operation.accuracy:g} m, and a pixel is {pixel:.3g} m; 'pyproj sync' fetches grids"
            " for better ones"
        )

    def place(self, shapes: NDArray[np.object_]) -> Placed:
        """Put valid polygons onto the grid.

        Parameters
        ----------
        shapes : ndarray of shapely polygons, shape (n,)
            In coordinates of the source.
        """
        owners = np.arange(len(shapes), dtype=np.int64)
        lost = np.zeros(0, np.int64)
        if self.transformer is not None and len(shapes):
            shapes, owners = self._clip(shapes)
            shapes, owners, lost = self._transform(shapes, owners)
        elif self.grid_period is not None:
            # What lies across 180 degrees may be written on the other side.
            shapes, owners = turned(shapes, owners, self.grid_period)
        pixels = shapely.transform(shapes, self._to_pixels)
        pixels, owners = polygons_of(pixels, owners)
        near = shapely.intersects(pixels, shapely.box(0, 0, self.grid.width, self.grid.height))
        return Placed(pixels[near], owners[near], lost)

    def place_points(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Put points onto the grid.

        Parameters
        ----------
        points : ndarray of float64, shape (n, 2)
            x and y in the source.

        Returns
        -------
        ndarray of float64, shape (n, 2)
            Pixel coordinates (col, row), also outside of the grid; NaN where there are none.
        """
        x, y = points.T
        if self.transformer is not None:
            if self.source_period is not None:
                x = self.box[0] + (x - self.box[0]) % self.source_period
            x, y = self.transformer.transform(x, y)
        if self.grid_period is not None:
            corners = np.array([(0, 0), (0, 1), (1, 0), (1, 1)]) @ np.diag(
                [self.grid.width, self.grid.height]
            )
            west = self.grid.to_ground(corners.astype(np.float64))[:, 0].min()
            x = west + (x - west) % self.grid_period
        there = np.isfinite(x + y)
        return self._to_pixels(np.where(there, (x, y), np.nan).T)

    def _clip(self, shapes: NDArray[np.object_]) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
        """Return what lies around the grid, moved by a turn of the globe where that is needed."""
        found, owners = [], []
        bounds = shapely.bounds(shapes)
        west, south, east, north = self.box
        area = shapely.box(*self.box)
        for box in self.boxes():
            shift = west - box[0]
            low, high = bounds[:, 0] + shift, bounds[:, 2] + shift
            near = np.flatnonzero(
                (low <= east) & (high >= west) & (bounds[:, 1] <= north) & (bounds[:, 3] >= south)
            )
            moved = shifted(shapes[near], shift)
            beyond = (low < west) | (high > east) | (bounds[:, 1] < south) | (bounds[:, 3] > north)
            cut = beyond[near]
            moved[cut] = shapely.intersection(moved[cut], area)
            parts, places = polygons_of(moved, near)
            found.append(parts)
            owners.append(places)
        return np.concatenate(found), np.concatenate(owners)

    def _transform(
        self, shapes: NDArray[np.object_], owners: NDArray[np.int64]
    ) -> tuple[NDArray[np.object_], NDArray[np.int64], NDArray[np.int64]]:
        """Return polygons in the grid's CRS, whose they are, and whose are not whole."""
        west, south, east, north = self.box
        step = max(east - west, north - south) / PIECES
        dense = shapely.segmentize(shapes, step) if step > 0 else shapes
        bent = shapely.transform(dense, self._to_grid_crs)
        whole = np.isfinite(shapely.bounds(bent)).all(axis=1)
        lost = np.unique(owners[~whole])
        bent, kept = bent[whole], owners[whole]
        if not whole.all():
            cells, places = _cut_up(dense[~whole], owners[~whole], self.box)
            cells = shapely.transform(cells, self._to_grid_crs)
            finite = np.isfinite(shapely.bounds(cells)).all(axis=1)
            bent = np.concatenate([bent, cells[finite]])
            kept = np.concatenate([kept, places[finite]])
        if self.grid_period is not None:
            bent = joined_across(bent, self.grid_period, self.grid.is_geographic)
            bent, kept = turned(bent, kept, self.grid_period)
        return bent, kept, lost

    def _to_grid_crs(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.transformer is None or not len(points):
            return points
        return np.stack(self.transformer.transform(points[:, 0], points[:, 1]), axis=1)

    def _to_pixels(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        inverse = ~self.grid.transform
        matrix = np.array([[inverse.a, inverse.d], [inverse.b, inverse.e]])
        placed: NDArray[np.float64] = points @ matrix + np.array([inverse.c, inverse.f])
        return placed


def connect(path: str, source: CRS | None, grid: Grid, purpose: Purpose, ground: str) -> Placement:
    """Find the way from the CRS of a file onto a grid.

    Parameters
    ----------
    path : str
        The file, as messages name it.
    source : CRS or None
        Its CRS.
    grid : Grid
    purpose : Purpose
    ground : str
        What messages call the file that the grid belongs to.

    Raises
    ------
    AlpsGeoError
        Of the kind that `purpose` names, where there is none: only one side has a CRS, it is a
        local one, or one of another celestial body.
    """
    if source is None and grid.crs is None:
        return Placement(None, grid, None)
    if source is None:
        raise purpose.error(
            f"{path}: {purpose.noun} has no CRS, so that it cannot be laid over {ground}; assign"
            " the one that its coordinates are in, such as in QGIS (Assign projection)"
        )
    if grid.crs is None:
        raise purpose.error(
            f"{ground}: has no CRS, so that {path} cannot be laid over it; give it one with"
            " rio edit-info"
        )
    first, second = horizontal(source), horizontal(grid.crs)
    if same_crs(first, second):
        return Placement(source, grid, None)
    try:
        transformer = Transformer.from_crs(first, second, always_xy=True)
    except ProjError as error:
        raise purpose.error(
            f"{path}: there is no transformation between its CRS ({_named(source)}) and that of"
            f" {ground} ({_named(grid.crs)}); bring both into one CRS, or assign the right ones"
            " where a file names a wrong one"
        ) from error
    return Placement(source, grid, transformer)


def _named(crs: CRS) -> str:
    code = crs.to_authority()
    return crs.name if code is None else f"{crs.name}, {code[0]}:{code[1]}"


def same_crs(first: CRS, second: CRS) -> bool:
    """Tell whether coordinates of two CRSs mean the same; local ones are known by their names."""
    if first.equals(second, ignore_axis_order=True):
        return True
    units = [[axis.unit_conversion_factor for axis in crs.axis_info] for crs in (first, second)]
    return (
        first.is_engineering
        and second.is_engineering
        and first.name.casefold() == second.name.casefold()
        and units[0] == units[1]
    )


def _surroundings(x: NDArray[np.float64], y: NDArray[np.float64], period: float | None) -> Box:
    """Return bounds of a lattice of points with a margin of its widest cell; NaN is nowhere."""
    if period is not None:
        # Along the first column, then along each row: neighbours are less than half a turn apart.
        x = unwrapped(x, period)
    margin_x, margin_y = _widest_step(x), _widest_step(y)
    west, east = float(np.nanmin(x)) - margin_x, float(np.nanmax(x)) + margin_x
    south, north = float(np.nanmin(y)) - margin_y, float(np.nanmax(y)) + margin_y
    if period is not None and (east - west >= period or encircles_pole(x, period)):
        west, east = -period / 2, period / 2
        if abs(period - 360) < 1e-9:
            poles = _nearest_poles(y) if encircles_pole(x, period) else []
            south, north = max(-90, min([south, *poles])), min(90, max([north, *poles]))
    return west, south, east, north


def _widest_step(values: NDArray[np.float64]) -> float:
    steps = [np.abs(np.diff(values, axis=axis)) for axis in (0, 1)]
    return max(float(np.nanmax(step)) if np.isfinite(step).any() else 0.0 for step in steps)


def _nearest_poles(y: NDArray[np.float64]) -> list[float]:
    return [90.0 if np.nanmean(y) > 0 else -90.0]


def _cut_up(
    shapes: NDArray[np.object_], owners: NDArray[np.int64], box: Box
) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Return polygons in the cells of a lattice over a box."""
    found, places = [shapes[:0]], [owners[:0]]
    for cell in _cells(box):
        parts, of = polygons_of(shapely.intersection(shapes, cell), owners)
        found.append(parts)
        places.append(of)
    return np.concatenate(found), np.concatenate(places)


def _cells(box: Box) -> Iterator[shapely.Polygon]:
    xs = np.linspace(box[0], box[2], CELLS + 1)
    ys = np.linspace(box[1], box[3], CELLS + 1)
    for west, east in pairwise(xs):
        for south, north in pairwise(ys):
            yield shapely.box(west, south, east, north)


def polygons_of(
    shapes: NDArray[np.object_], owners: NDArray[np.int64]
) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Return all valid polygons in geometries of any kind, one by one, and whose they are."""
    shapes = shapes.copy()
    invalid = ~shapely.is_valid(shapes)
    shapes[invalid] = shapely.make_valid(shapes[invalid])
    for _ in range(_depth(shapes)):
        shapes, of = shapely.get_parts(shapes, return_index=True)
        owners = owners[of]
    kept = (shapely.get_type_id(shapes) == 3) & ~shapely.is_empty(shapes)
    return shapes[kept], owners[kept]


def _depth(shapes: NDArray[np.object_]) -> int:
    """Return how often parts must be taken until there are no parts of parts."""
    depth = 0
    while len(shapes) and (shapely.get_type_id(shapes) > 3).any():
        shapes, depth = shapely.get_parts(shapes), depth + 1
    return depth
