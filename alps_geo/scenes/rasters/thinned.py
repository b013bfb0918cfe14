"""A raster as a small picture: GDAL averages its pixels, from overviews where there are some."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterioWindow

from ..grid import Window
from .measured import Measured
from .raster import Raster

#: Pixels of the file that one read covers at most, but for the width of a row of the picture.
_PIXELS_AT_ONCE = 2**22

Shape = tuple[int, int]


def read_thinned(
    raster: Raster, window: Window, shape: Shape
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read red, green and blue of a window as a picture of some shape.

    Validity is that of single pixels; a collar of nearly nodata counts as data.

    Parameters
    ----------
    raster : Raster
    window : Window
        Inside the file's grid.
    shape : (int, int)
        Height and width, of at least one pixel.

    Returns
    -------
    pixels : ndarray, shape (3, height, width)
    valid : ndarray of bool, shape (height, width)

    Raises
    ------
    ReadError
        Naming the file, the window and GDAL's reason.
    """
    # GDAL knows nothing of what the user says is no data, and would mix it in.
    how = Resampling.average if raster.chosen_nodata is None else Resampling.nearest

    def read(dataset: DatasetReader, part: RasterioWindow, size: Shape) -> NDArray[np.float64]:
        """Read the bands, and whether they are valid as a fourth one."""
        different = sorted(set(raster.bands))
        # All at once: a file mostly stores the bands of a pixel together.
        found = dataset.read(
            different, window=part, out_shape=(len(different), *size), resampling=how
        ).astype(np.float64)
        bands = found[[different.index(band) for band in raster.bands]]
        valid = _read_valid(raster, dataset, part, size) & np.isfinite(bands).all(axis=0)
        return np.concatenate([bands, valid[np.newaxis]])

    found = _in_bands(raster, window, shape, read)
    return found[:3], found[3] > 0


def read_thinned_bands(
    raster: Raster, bands: Sequence[Measured], window: Window, shape: Shape
) -> NDArray[np.float64]:
    """Read bands of a window as measurements, single pixels for all; NaN where there is none.

    Returns
    -------
    ndarray of float64, shape (n_bands, height, width)
    """

    def read(dataset: DatasetReader, part: RasterioWindow, size: Shape) -> NDArray[np.float64]:
        """Read from the open file."""
        numbers = [
            band.convert(dataset.read(band.number, window=part, out_shape=size)) for band in bands
        ]
        valid = _read_valid(raster, dataset, part, size)
        return np.where(valid, np.stack(numbers), np.nan)

    return _in_bands(raster, window, shape, read)


def _in_bands(
    raster: Raster,
    window: Window,
    shape: Shape,
    read: Callable[[DatasetReader, RasterioWindow, Shape], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Read some rows of the picture at a time: GDAL keeps all pixels that it averages."""
    height, width = shape
    rows = max(1, _PIXELS_AT_ONCE * height // (window.height * window.width))
    parts = []
    for first in range(0, height, rows):
        stop = min(first + rows, height)
        top = window.row + first * window.height // height
        bottom = window.row + max(stop * window.height // height, top - window.row + 1)
        part = Window(top, window.col, bottom - top, window.width)

        def read_part(
            dataset: DatasetReader, place: RasterioWindow, size: Shape = (stop - first, width)
        ) -> NDArray[np.float64]:
            return read(dataset, place, size)

        parts.append(raster.guard(part, read_part))
    return np.concatenate(parts, axis=1)


def _read_valid(
    raster: Raster, dataset: DatasetReader, part: RasterioWindow, size: Shape
) -> NDArray[np.bool_]:
    """Return which single pixels hold data, as `Raster.read` says of all."""
    valid = np.ones(size, bool)
    if raster.mask == "dataset":
        valid &= dataset.read_masks(raster.bands[0], window=part, out_shape=size) > 0
    if raster.alpha is not None:
        valid &= dataset.read(raster.alpha, window=part, out_shape=size) > 0
    if raster.mask == "nodata" or raster.chosen_nodata is not None:
        known = np.zeros(size, bool)
        for band in raster.bands:
            if raster.chosen_nodata is None:
                known |= dataset.read_masks(band, window=part, out_shape=size) > 0
            else:
                number = dataset.read(band, window=part, out_shape=size)
                known |= number != raster.chosen_nodata
        valid &= known
    return valid
