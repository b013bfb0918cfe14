"""Open datasets of this process, one for each file; what fails, and what is no image."""

from __future__ import annotations

import itertools
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterioWindow

from ...errors import SceneError
from ..grid import Window
from ..paths import file_stamp, shown_name
from .mosaic import MissingSource

#: What reading can raise where a file, not the program, is at fault.
READ_ERRORS = (RasterioError, CPLE_BaseError, OSError)
#: What opens as rasters but is no image: maps drawn by a server without end, catalogues, pages.
REFUSED_DRIVERS = frozenset(
    ["WMS", "WMTS", "WCS", "EEDAI", "PLMOSAIC", "STACIT", "STACTA", "GTI", "PDF", "DERIVED"]
)
#: Beyond this a header is damaged; imaging spectrometers have some hundred bands.
MAX_BANDS = 4096
#: A block is read whole: one above this cannot be read in bounded memory.
MAX_BLOCK_BYTES = 2**30
#: Side of each place where a band is looked at, in pixels.
SAMPLE_SIDE = 64
OPTIONS: dict[str, str | int] = {
    # In bytes here, unlike in the environment: a row of usual tiles of a scene 20,000 pixels wide.
    "GDAL_CACHEMAX": 64 * 2**20,
    "GDAL_HTTP_CONNECTTIMEOUT": 15,
    "GDAL_HTTP_TIMEOUT": 120,
    "GDAL_HTTP_MAX_RETRY": 3,
    # What a server said of a file, 404 too, holds while the file is open here, not for ever.
    "CPL_VSIL_CURL_NON_CACHED": "/vsi",
    # Python in a VRT file is code of whoever made the file.
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    # A missing part is an error, never black pixels.
    "GTIFF_IGNORE_READ_ERRORS": "NO",
}


def for_gdal(window: Window) -> RasterioWindow:
    """Return a window as GDAL's binding wants it."""
    return RasterioWindow(window.col, window.row, window.width, window.height)


@contextmanager
def opened(path: str) -> Iterator[DatasetReader]:
    """Hand out the open dataset of this process, to one thread at a time.

    One for all threads, so that what one has fetched and unpacked, another need not fetch again.
    """
    with rasterio.Env(**OPTIONS):
        shared = _shared(path, file_stamp(path), os.getpid())
        with shared.lock:
            yield shared.dataset


def close_all() -> None:
    """Forget what is open: where a read has failed, GDAL may give zeros the next time."""
    _shared.cache_clear()


@dataclass(frozen=True)
class _Shared:
    """A dataset, and who may use it: GDAL allows any thread, but one at a time."""

    dataset: DatasetReader
    lock: threading.RLock = field(default_factory=threading.RLock)


@lru_cache(maxsize=8)
def _shared(path: str, stamp: object, process: int) -> _Shared:
    """Open a dataset once, so that GDAL's block cache serves neighbouring tiles of strips.

    A handle belongs to one process: a fork would share its place in the file.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return _Shared(rasterio.open(path))


def reason_of(error: BaseException) -> str:
    """Return GDAL's reason in one line; rasterio's own error often only points to it."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(shown_name(str(error)).split()).rstrip(".")
    return text if len(text) <= 200 else f"{text[:200]}..."


def is_raster(path: str) -> bool:
    """Return whether a file opens as a raster."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            rasterio.open(path).close()
    except READ_ERRORS:
        return False
    return True


def sample_band(
    dataset: DatasetReader, band: int, missing: Sequence[MissingSource]
) -> NDArray[np.generic]:
    """Return values of a band from nine places spread over the scene, as far as they are there."""
    side = SAMPLE_SIDE
    found = [np.zeros(0, dataset.dtypes[band - 1])]
    for share_down, share_across in itertools.product((0.1, 0.5, 0.9), repeat=2):
        row = int(max(0, dataset.height - side) * share_down)
        col = int(max(0, dataset.width - side) * share_across)
        part = Window(row, col, min(side, dataset.height - row), min(side, dataset.width - col))
        if any(source.area.touches(part) for source in missing):
            continue
        try:
            found.append(dataset.read(band, window=for_gdal(part)).ravel())
        except READ_ERRORS:
            # Reading says more of it. A failure leaves zeros behind in what is open.
            close_all()
    return np.concatenate(found)


def check_size(dataset: DatasetReader, name: str) -> None:
    """Refuse what is no image, damaged or too much, before anything is allocated for it."""
    if dataset.driver in REFUSED_DRIVERS:
        raise SceneError(
            f"{name}: is no image, but {dataset.driver}; save the part to label as a GeoTIFF"
        )
    if dataset.count == 0:
        raise SceneError(f"{name}: holds no image; give a raster with pixels")
    if dataset.count > MAX_BANDS:
        raise SceneError(
            f"{name}: claims {dataset.count} bands of {dataset.height} x {dataset.width} pixels,"
            f" more than {MAX_BANDS}; the file is damaged: copy or download it again"
        )
    height, width = dataset.block_shapes[0]
    # An index that points to the ends of the earth cannot be an image either.
    if height * width * np.dtype(_plain(dataset.dtypes[0])).itemsize > MAX_BLOCK_BYTES:
        raise SceneError(
            f"{name}: stores {height} x {width} pixels in one piece, too much for bounded memory;"
            " save it again with TILED=YES (Translate in QGIS, or rio convert)"
        )


def _plain(dtype: str) -> str:
    return "complex64" if dtype.startswith("complex_int") else dtype
