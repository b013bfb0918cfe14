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
from .spectral import Signs, find_lights

#: AlphaEarth's embeddings have this many bands of int8, with squared values and a gap of their own.
_EMBEDDING_BANDS, _EMBEDDING_GAP, _EMBEDDING_SCALE = 64, -128.0, 127.5
#: Where files say which satellite they are of.
_SENSORS = ("SPACECRAFT_ID", "SPACECRAFT_NAME", "SATELLITE", "SENSOR", "SENSOR_ID", "platform")


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
    light : str
        Which part of the light it measures, such as `nir`; empty where that is not known.
    unit : str
        Of the measurements, as the file says.
    is_whole : bool
        True where the file has whole numbers, which only `scale` makes measurements of.
    """

    number: int
    name: str
    nodata: float | None
    scale: float = 1.0
    offset: float = 0.0
    is_squared: bool = False
    light: str = ""
    unit: str = ""
    is_whole: bool = False

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


@lru_cache(maxsize=64)
def describe_bands(raster: Raster) -> tuple[Measured, ...]:
    """Return what the file says of all its bands of real numbers, without a mask."""
    with opened(raster.path) as dataset:
        count, dtypes = dataset.count, dataset.dtypes
        is_embedding = count == _EMBEDDING_BANDS and set(dtypes) == {"int8"}
        lights = find_lights(
            [_signs(dataset, band) for band in range(1, count + 1)],
            [raster.stem, *(dataset.tags().get(key, "") for key in _SENSORS)],
        )
        return tuple(
            Measured(
                number=band,
                name=(dataset.descriptions[band - 1] or "").strip(),
                nodata=_EMBEDDING_GAP if is_embedding else _nodata(raster, dataset, band),
                scale=float(dataset.scales[band - 1]),
                offset=float(dataset.offsets[band - 1]),
                is_squared=is_embedding,
                light=lights[band - 1],
                unit=(dataset.units[band - 1] or "").strip(),
                is_whole=np.dtype(dtypes[band - 1]).kind in "iu",
            )
            for band in range(1, count + 1)
            if band != raster.alpha and not dtypes[band - 1].startswith("complex")
        )


def name_bands(bands: Sequence[Measured]) -> tuple[str, ...]:
    """Return what to call bands, each otherwise: by their descriptions, if these differ."""
    named = [band.name for band in bands]
    if all(named) and len(set(named)) == len(named):
        return tuple(named)
    return tuple(f"band_{band.number}" for band in bands)


def _signs(dataset: DatasetReader, band: int) -> Signs:
    """Return what tells a band's light."""
    tags: dict[str, str] = {}
    # ENVI lists the wavelengths of all bands in one text: {0.44, 0.55, ...}.
    for key, text in dataset.tags(ns="ENVI").items():
        listed = [part.strip() for part in text.strip("{} ").split(",")]
        if key.lower() == "wavelength" and len(listed) == dataset.count:
            tags["wavelength"] = listed[band - 1]
        elif key.lower().startswith("wavelength_unit"):
            tags["wavelength_units"] = text
    for namespace in ("IMAGERY", None):
        # Rasterio takes eo:common_name=red apart at the colon.
        found = [f"{key}={text}" for key, text in dataset.tags(band, ns=namespace).items()]
        pairs = [text.replace("eo=", "eo:", 1).partition("=") for text in found]
        tags |= {key.lower(): text for key, _, text in pairs}
    return Signs(
        (dataset.descriptions[band - 1] or "").strip(), tags, dataset.colorinterp[band - 1].name
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
