"""Where pixels are: windows in pixel coordinates, and the grid that ties them to the ground."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Geod

from . import ellipsoid


class Window(NamedTuple):
    """A rectangle of whole pixels: first row and column, then height and width."""

    row: int
    col: int
    height: int
    width: int

    @property
    def row_stop(self) -> int:
        """The first row below the window."""
        return self.row + self.height

    @property
    def col_stop(self) -> int:
        """The first column right of the window."""
        return self.col + self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """The window as an index into an array with rows and columns."""
        return slice(self.row, self.row_stop), slice(self.col, self.col_stop)

    def grow(self, margin: int, height: int, width: int) -> Window:
        """Return the window with a margin on each side, clipped to `height` x `width`."""
        row, col = max(0, self.row - margin), max(0, self.col - margin)
        row_stop = min(height, self.row_stop + margin)
        col_stop = min(width, self.col_stop + margin)
        return Window(row, col, row_stop - row, col_stop - col)

    def shrink(self, margin: int) -> Window:
        """Return the window without a margin on each side; it may be empty."""
        height, width = self.height - 2 * margin, self.width - 2 * margin
        if height <= 0 or width <= 0:
            return Window(self.row, self.col, 0, 0)
        return Window(self.row + margin, self.col + margin, height, width)

    def intersect(self, other: Window) -> Window | None:
        """Return what both windows share, None where they share no pixel."""
        row, col = max(self.row, other.row), max(self.col, other.col)
        height = min(self.row_stop, other.row_stop) - row
        width = min(self.col_stop, other.col_stop) - col
        return Window(row, col, height, width) if height > 0 and width > 0 else None

    def bands(self, rows: int, cols: int) -> Iterator[list[Window]]:
        """Cut the window into blocks; the last ones may be smaller.

        Yields
        ------
        list of Window
            The blocks of a band, which is up to `rows` high.
        """
        for row in range(self.row, self.row_stop, rows):
            height = min(rows, self.row_stop - row)
            yield [
                Window(row, col, height, min(cols, self.col_stop - col))
                for col in range(self.col, self.col_stop, cols)
            ]

    def shift(self, rows: int, cols: int) -> Window:
        """Return the window moved down and to the right."""
        return Window(self.row + rows, self.col + cols, self.height, self.width)


@dataclass(frozen=True)
class Grid:
    """The pixel grid of a scene.

    Attributes
    ----------
    crs : pyproj.CRS or None
        None where the scene has no coordinate reference system.
    transform : affine.Affine
        (col, row) of a pixel's upper left corner to (x, y) on the ground; all six numbers count.
    height, width : int
        In pixels.
    """

    crs: CRS | None
    transform: Affine
    height: int
    width: int

    def to_json(self) -> dict[str, Any]:
        """Return the grid as JSON values."""
        return {
            "crs": None if self.crs is None else self.crs.to_wkt(),
            "transform": list(self.transform)[:6],
            "height": self.height,
            "width": self.width,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Grid:
        """Make a grid of what `to_json` returned."""
        crs = None if values["crs"] is None else CRS.from_wkt(values["crs"])
        return cls(crs, Affine(*values["transform"]), values["height"], values["width"])

    @property
    def window(self) -> Window:
        """The whole grid as a window."""
        return Window(0, 0, self.height, self.width)

    def to_ground(self, corners: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn pixel corners (col, row) into ground coordinates (x, y).

        Parameters
        ----------
        corners : ndarray of float, shape (n, 2)

        Returns
        -------
        ndarray of float, shape (n, 2)
        """
        # Not as a product of matrices: for two columns, BLAS takes ten times as long.
        to, ground = self.transform, np.empty_like(corners)
        for axis, (across, down, offset) in enumerate(((to.a, to.b, to.c), (to.d, to.e, to.f))):
            ground[:, axis] = corners[:, 0] * across + corners[:, 1] * down + offset
        return ground

    @property
    def is_geographic(self) -> bool:
        """True where coordinates are degrees of longitude and latitude."""
        return self.crs is not None and self.crs.is_geographic

    @property
    def metres_per_unit(self) -> float | None:
        """Metres per unit of the coordinates; None in degrees and without a CRS."""
        return None if self.crs is None else ellipsoid.metres_per_unit(self.crs)

    @property
    def scale(self) -> float | None:
        """How many times longer lengths are in the CRS than on the ground, where most off.

        None where the CRS is geographic, no map of the ellipsoid, or missing.
        """
        return _scale(self)

    @property
    def is_stretched(self) -> bool:
        """True where the CRS' metres are no metres on the ground, as in Web Mercator far north."""
        scale = self.scale
        return scale is not None and abs(scale - 1) > ellipsoid.TOLERANCE

    @property
    def areas(self) -> str | None:
        """How areas are measured: 'planar', 'geodesic', or None where they cannot be told."""
        if self.crs is None or (self.metres_per_unit is None and not self.is_geographic):
            return None
        return "geodesic" if self.is_geographic or self.is_stretched else "planar"

    @property
    def pixel_size_m(self) -> float | None:
        """Mean side of a pixel on the ground, in metres, amid the grid; None without a CRS."""
        if self.crs is None:
            return None
        unit = self.metres_per_unit
        if unit is not None and not self.is_stretched:
            return math.sqrt(abs(self.transform.determinant)) * unit
        middle = np.array([self.width / 2, self.height / 2])
        corners = self.to_ground(middle + np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=float))
        corners = ellipsoid.to_degrees(self.crs, corners)
        geod = self.geod
        if geod is None or not (np.abs(corners[:, 1]) <= 90).all():
            return None
        area, _ = geod.polygon_area_perimeter(*corners.T)
        return math.sqrt(abs(area))

    @property
    def geod(self) -> Geod | None:
        """The ellipsoid of the CRS, for geodesic areas and lengths."""
        return None if self.crs is None else self.crs.get_geod()

    def crop(self, window: Window) -> Grid:
        """Return the grid of a window's pixels."""
        transform = self.transform * Affine.translation(window.col, window.row)
        return Grid(self.crs, transform, window.height, window.width)

    def resample(self, pixel_size_m: float) -> Grid:
        """Return the grid over the same ground with another pixel size.

        Raises
        ------
        ValueError
            If the pixel size is not known in metres.
        """
        present = self.pixel_size_m
        if present is None:
            raise ValueError("a grid without a CRS has no pixel size in metres")
        factor = present / pixel_size_m
        height, width = max(1, round(self.height * factor)), max(1, round(self.width * factor))
        scale = Affine.scale(self.width / width, self.height / height)
        return Grid(self.crs, self.transform * scale, height, width)


def cut(window: Window, height: int, width: int) -> Iterator[Window]:
    """Yield the parts of a window, row by row, at most `height` by `width` each."""
    for row in range(window.row, window.row_stop, height):
        for col in range(window.col, window.col_stop, width):
            stop = min(row + height, window.row_stop), min(col + width, window.col_stop)
            yield Window(row, col, stop[0] - row, stop[1] - col)


@lru_cache(maxsize=16)
def _scale(grid: Grid) -> float | None:
    if grid.crs is None:
        return None
    shares = np.linspace(0, 1, 5)
    cols, rows = np.meshgrid(shares * grid.width, shares * grid.height)
    return ellipsoid.scale(grid.crs, grid.to_ground(np.stack([cols.ravel(), rows.ravel()], axis=1)))
