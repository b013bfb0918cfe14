"""The bands of a raster as measurements: what each is, and its values with gaps of its own."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterioWindow

from ..grid import Window
from .datasets import SAMPLE_SIDE, opened
from .raster import Raster

#: AlphaEarth's embeddings have this many bands of int8, with squared values and a gap of their own.
_EMBEDDING_BANDS, _EMBEDDING_GAP, _EMBEDDING_SCALE = 64, -128.0, 127.5


@dataclass(frozen=True)
class Measured:
    """A band of measurements.

    Attributes
    ----------
    number : int
        In the file, counted from 1.
    name : str
        The file's description of it; empty where there is none.
    nodata : float or None
        The value of places that were not measured.
    scale, offset : float
        What turns the file's numbers into measurements: number * scale + offset.
    is_squared : bool
        True where numbers are AlphaEarth's int8: sign(x) * (x / 127.5) ** 2.
    """

    number: int
    name: str
    nodata: float | None
    scale: float = 1.0
    offset: float = 0.0
    is_squared: bool = False

    def convert(self, numbers: NDArray[Any]) -> NDArray[np.float64]:
        """Turn the file's numbers into measurements; NaN where there is none."""
        values: NDArray[np.float64] = numbers.astype(np.float64)
        unknown = ~np.isfinite(values)
        if self.nodata is not None:
            # A value that a file of 32 bits cannot hold exactly is there as the nearest it can.
            is_float = numbers.dtype.kind == "f"
            unknown |= numbers == (numbers.dtype.type(self.nodata) if is_float else self.nodata)
        if self.is_squared:
            values = np.copysign(np.square(values / _EMBEDDING_SCALE), values)
        elif (self.scale, self.offset) != (1.0, 0.0):
            values = values * self.scale + self.offset
        values[unknown] = np.nan
        return values


def describe_bands(raster: Raster) -> tuple[Measured, ...]:
    """Return what the file says of all its bands but a mask."""
    with opened(raster.path) as dataset:
        count = dataset.count
        is_embedding = count == _EMBEDDING_BANDS and set(dataset.dtypes) == {"int8"}
        return tuple(
            Measured(
                number=band,
                name=(dataset.descriptions[band - 1] or "").strip(),
                nodata=_EMBEDDING_GAP if is_embedding else _nodata(raster, dataset, band),
                scale=float(dataset.scales[band - 1]),
                offset=float(dataset.offsets[band - 1]),
                is_squared=is_embedding,
            )
            for band in range(1, count + 1)
            if band != raster.alpha
        )


def _nodata(raster: Raster, dataset: DatasetReader, band: int) -> float | None:
    if raster.chosen_nodata is not None:
        return raster.chosen_nodata
    value = dataset.nodatavals[band - 1]
    return None if value is None else float(value)


def read_measured(raster: Raster, bands: Sequence[Measured], window: Window) -> NDArray[np.float64]:
    """Read bands of a window of a file.

    Parameters
    ----------
    raster : Raster
    bands : sequence of Measured
    window : Window
        Inside the file's grid.

    Returns
    -------
    ndarray of float64, shape (n_bands, height, width)
        NaN where a band was not measured, or the file's mask hides all of them.

    Raises
    ------
    ReadError
        Naming the file, the window and GDAL's reason.
    """

    def read(dataset: DatasetReader, part: RasterioWindow) -> NDArray[np.float64]:
        """Read from the open file."""
        values = np.stack([band.convert(dataset.read(band.number, window=part)) for band in bands])
        values[:, raster.read_masked(dataset, part)] = np.nan
        return values

    return raster.guard(window, read)


@lru_cache(maxsize=8)
def typical_values(raster: Raster, bands: tuple[Measured, ...]) -> NDArray[np.float64]:
    """Return about the mean of bands, from nine places spread over the file; 0 where none is.

    Returns
    -------
    ndarray of float64, shape (n_bands,)
        The same for the same file, always.
    """
    sums, counts = np.zeros(len(bands)), np.zeros(len(bands))
    for window in spread_windows(raster.grid.window):
        values = read_measured(raster, bands, window)
        sums += np.nansum(values, axis=(1, 2))
        counts += np.isfinite(values).sum(axis=(1, 2))
    return sums / np.maximum(counts, 1)


def spread_windows(region: Window) -> list[Window]:
    """Return nine small windows spread over a region; fewer where they would be the same."""
    height, width = min(SAMPLE_SIDE, region.height), min(SAMPLE_SIDE, region.width)
    places = {
        Window(
            region.row + int((region.height - height) * down),
            region.col + int((region.width - width) * across),
            height,
            width,
        )
        for down, across in itertools.product((0.1, 0.5, 0.9), repeat=2)
    }
    return sorted(places)
