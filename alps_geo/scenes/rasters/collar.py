"""Values that mean no data, and the collar that compression made of them at a scene's border.

Lossy compression turns a border of nodata into values around it. What looks alike inside, such as
dark water, is data: a scene is walked through once, and only what hangs together with its border
counts. Kept is a coarse grid of cells, so that memory is bounded, and a pixel's validity does not
depend on the window that is read.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterioWindow
from scipy import ndimage

from ...errors import ReadError, SceneError
from ..grid import Grid, Window

#: Side of a cell, in pixels: dark places that a narrower neck joins to the collar are data.
CELL = 16
#: How far the collar goes on from cells that are full of it, along pixels that touch, and how wide
#: a border without such cells may be.
REACH = 24
#: Share of a cell's pixels that are near nodata where it belongs to a collar.
FULL = 7 / 8
#: Pixels walked through at a time; multiples of `CELL`.
_WALK = 512, 8192
#: What cannot be read is cut up to find what can be, down to this side.
_LEAST = 64
_TOUCHING = np.ones((3, 3), bool)

#: Reads a window: where pixels are near nodata or masked, and where they are masked.
ReadMarks = Callable[[Window], tuple[NDArray[np.bool_], NDArray[np.bool_]]]


@dataclass(frozen=True)
class Nearness:
    """What is near nodata.

    Attributes
    ----------
    tolerance : float
    values : tuple of (int, float)
        Bands, counted from 1, and what means no data in them.
    """

    tolerance: float
    values: tuple[tuple[int, float], ...]

    def read(self, dataset: DatasetReader, part: RasterioWindow) -> NDArray[np.bool_]:
        """Return where all bands of a window are near nodata (or NaN), shape (height, width)."""
        near = np.ones((int(part.height), int(part.width)), bool)
        for band, value in self.values:
            pixels = dataset.read(band, window=part)
            far = (pixels < value - self.tolerance) | (pixels > value + self.tolerance)
            near &= ~far
            if not near.any():
                break
        return near


@dataclass(frozen=True)
class Collar:
    """Where a raster's border of nearly nodata is.

    Attributes
    ----------
    height, width : int
        Of the raster, in pixels.
    cells : bytes
        One bit for each cell of `CELL` pixels, compressed.
    """

    height: int
    width: int
    cells: bytes

    @classmethod
    def pack(cls, grid: Grid, flooded: NDArray[np.bool_]) -> Collar:
        """Make a collar from its cells, shape (ceil(height / CELL), ceil(width / CELL))."""
        return cls(grid.height, grid.width, zlib.compress(np.packbits(flooded).tobytes()))

    @property
    def flooded(self) -> NDArray[np.bool_]:
        """The cells that are full of it, shape (ceil(height / CELL), ceil(width / CELL))."""
        return _unpack(self.cells, -(-self.height // CELL), -(-self.width // CELL))

    def seen_from(self, window: Window) -> Window | None:
        """Return the pixels that tell about those of a window, None where no collar is near."""
        seen = window.grow(REACH, self.height, self.width)
        edges = seen.row, seen.col, self.height - seen.row_stop, self.width - seen.col_stop
        rows = slice(seen.row // CELL, -(-seen.row_stop // CELL))
        cols = slice(seen.col // CELL, -(-seen.col_stop // CELL))
        return seen if 0 in edges or self.flooded[rows, cols].any() else None

    def find(self, near: NDArray[np.bool_], seen: Window) -> NDArray[np.bool_]:
        """Return which pixels belong to the collar, right for those `REACH` inside the window.

        Parameters
        ----------
        near : ndarray of bool, shape (height, width)
            Pixels that are near nodata or masked.
        seen : Window
            Their place; at the raster's border nothing is missing.
        """
        rows = np.arange(seen.row, seen.row_stop) // CELL
        cols = np.arange(seen.col, seen.col_stop) // CELL
        core: NDArray[np.bool_] = self.flooded[np.ix_(rows, cols)]
        core[0] |= seen.row == 0
        core[-1] |= seen.row_stop == self.height
        core[:, 0] |= seen.col == 0
        core[:, -1] |= seen.col_stop == self.width
        core &= near
        if not core.any():
            return core
        found: NDArray[np.bool_] = ndimage.binary_dilation(core, _TOUCHING, REACH, mask=near)
        return found


@lru_cache(maxsize=8)
def _unpack(cells: bytes, rows: int, cols: int) -> NDArray[np.bool_]:
    bits = np.unpackbits(np.frombuffer(zlib.decompress(cells), np.uint8), count=rows * cols)
    return bits.reshape(rows, cols).astype(bool)


def find_collar(grid: Grid, read: ReadMarks) -> Collar:
    """Walk through a raster, and find its border of nearly nodata.

    Full cells count where full cells join them to the raster's border, or to an area that a mask
    or alpha makes invalid. What cannot be read is no collar: reading it later says more.

    Parameters
    ----------
    grid : Grid
        Of the file.
    read : callable
    """
    shape = -(-grid.height // CELL), -(-grid.width // CELL)
    full, masked = np.zeros(shape, bool), np.zeros(shape, bool)
    for windows in grid.window.bands(*_WALK):
        for window in windows:
            _look(window, read, full, masked)
    seeds = masked
    seeds[[0, -1]] = seeds[:, [0, -1]] = True
    labels, count = ndimage.label(full)
    chosen = np.zeros(count + 1, bool)
    chosen[labels[seeds]] = True
    chosen[0] = False
    return Collar.pack(grid, chosen[labels])


def _look(
    window: Window, read: ReadMarks, full: NDArray[np.bool_], masked: NDArray[np.bool_]
) -> None:
    """Note which cells of a window are full, and which wholly masked."""
    try:
        near, hidden = read(window)
    except ReadError:
        side = max(window.height, window.width) // 2 // CELL * CELL
        if side >= _LEAST:
            for part in (part for band in window.bands(side, side) for part in band):
                _look(part, read, full, masked)
        return
    rows = slice(window.row // CELL, -(-window.row_stop // CELL))
    cols = slice(window.col // CELL, -(-window.col_stop // CELL))
    full[rows, cols] = _cell_shares(near) >= FULL
    masked[rows, cols] = _cell_shares(hidden) == 1


def _cell_shares(flags: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the share of each cell's pixels that are True; the last cells may be smaller."""
    height, width = flags.shape
    tops, lefts = np.arange(0, height, CELL), np.arange(0, width, CELL)
    counts = np.add.reduceat(flags, tops, axis=0, dtype=np.int32)
    counts = np.add.reduceat(counts, lefts, axis=1)
    heights, widths = np.diff(np.append(tops, height)), np.diff(np.append(lefts, width))
    shares: NDArray[np.float64] = counts / np.outer(heights, widths)
    return shares


def check_nodata(nodata: float | None, dtype: str, name: str) -> None:
    """Refuse a value that no pixel can have: it would mask nothing, without a word."""
    if nodata is None or np.dtype(dtype).kind == "f":
        return
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    if not (least <= nodata <= most and float(nodata).is_integer()):
        raise SceneError(
            f"{name}: `nodata` {nodata:g} cannot be in {dtype} pixels; choose a whole number from"
            f" {least} to {most}"
        )


def find_nearness(
    tolerance: float | None,
    chosen: float | None,
    declared: Sequence[float | None],
    alpha: int | None,
    name: str,
) -> Nearness | None:
    """Return what is near nodata, None where nothing but nodata itself is.

    Parameters
    ----------
    tolerance, chosen : float or None
        What the user gave as `nodata_tolerance` and `nodata`.
    declared : sequence of (float or None)
        What the file declares as nodata, for each of its bands.
    alpha : int or None
        The band that masks, counted from 1.
    name : str
        What messages call the file.

    Raises
    ------
    SceneError
        If no number means no data.
    """
    if tolerance is None:
        return None
    values = [
        (band, value if chosen is None else chosen)
        for band, value in enumerate(declared, start=1)
        if band != alpha
    ]
    known = [(band, value) for band, value in values if value is not None and math.isfinite(value)]
    if len(known) < len(values):
        raise SceneError(
            f"{name}: `nodata_tolerance` {tolerance:g} needs a number that means no data, and the"
            " file does not declare one for every band; give it as `nodata`",
            code="scene.no_nodata",
            path=name,
            setting="nodata_tolerance",
        )
    # Nothing is added to nodata itself by a tolerance of 0: the walk can be saved.
    return Nearness(tolerance, tuple(known)) if tolerance else None
