"""A raster file that can be labelled: what it holds, what is refused, and its pixels as they are.

Together with `scene` the only place that opens rasters. GDAL's own words reach the user only as
the reason at the end of one of our messages.
"""

from __future__ import annotations

import dataclasses
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterioWindow

from .errors import ReadError, SceneError
from .grid import Grid, Window
from .paths import check_file, file_stamp, is_local, shown_name
from .progress import Notice

#: What opens as rasters but is no image: maps drawn by a server without end, catalogues, pages.
REFUSED_DRIVERS = frozenset(
    ["WMS", "WMTS", "WCS", "EEDAI", "PLMOSAIC", "STACIT", "STACTA", "GTI", "PDF", "DERIVED"]
)
#: Beyond this a header is damaged; imaging spectrometers have some hundred bands.
MAX_BANDS = 4096
#: A block is read whole: one above this cannot be read in bounded memory.
MAX_BLOCK_BYTES = 2**30
OPTIONS: dict[str, str | int] = {
    "GDAL_CACHEMAX": 192,
    "GDAL_HTTP_CONNECTTIMEOUT": 15,
    "GDAL_HTTP_TIMEOUT": 120,
    "GDAL_HTTP_MAX_RETRY": 3,
    # Python in a VRT file is code of whoever made the file.
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    # A missing part is an error, never black pixels.
    "GTIFF_IGNORE_READ_ERRORS": "NO",
}
COLOURS = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


@dataclass(frozen=True)
class Raster:
    """A raster file that can be labelled.

    Attributes
    ----------
    path, name : str
        What GDAL opens, and what messages show: without passwords and tokens of an address.
    driver : str
        GDAL's name of the format.
    grid : Grid
        Of the file; without a CRS where the file is not georeferenced.
    count : int
        Number of bands, alpha included.
    bands : tuple of three int
        Used as red, green and blue, counted from 1.
    dtype : str
        Of the pixels that `read` returns.
    alpha : int or None
        The band that masks.
    nodata : tuple of three (float or None)
        Declared for each of `bands`.
    mask : str
        What else masks: `none`, `dataset` (a mask of the file's own) or `nodata`.
    block : (int, int)
        Height and width of what the file stores together.
    files : tuple of str
        All files the raster consists of.
    stamp : tuple of int, or None
        Time and size of the file when it was opened; None for an address.
    messages, warnings : tuple of str
        What the user may want to, and should, know.
    """

    path: str
    name: str
    driver: str
    grid: Grid
    count: int
    bands: tuple[int, int, int]
    dtype: str
    alpha: int | None
    nodata: tuple[float | None, ...]
    mask: str
    block: tuple[int, int]
    files: tuple[str, ...]
    stamp: tuple[int, int] | None
    messages: tuple[str, ...]
    warnings: tuple[str, ...]

    def anchored(self) -> Raster:
        """Return the raster with a path that holds in any working directory."""
        if not Path(self.path).exists():
            return self  # an address, or a part of another file
        return dataclasses.replace(self, path=str(Path(self.path).absolute()))

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a window.

        Returns
        -------
        pixels : ndarray of `dtype`, shape (3, height, width)
        valid : ndarray of bool, shape (height, width)
            False where the mask, alpha or all bands' nodata say so, and where a band is NaN or
            infinite; never because a pixel is black.

        Raises
        ------
        ReadError
            Naming the file, the window and GDAL's reason.
        SceneError
            If the file is gone, or another one than was opened.
        """
        part = RasterioWindow(window.col, window.row, window.width, window.height)
        different = sorted(set(self.bands))
        try:
            with _opened(self.path) as dataset:
                pixels = dataset.read(different, window=part, out_dtype=self.dtype)
                valid = self._read_valid(dataset, part)
        except (RasterioError, CPLE_BaseError, OSError) as error:
            self._check_unchanged()
            raise ReadError(
                f"{self.name}: cannot read {window.height} x {window.width} pixels from row"
                f" {window.row}, column {window.col} ({_reason(error)}); the file is damaged or cut"
                " off: copy or download it again"
            ) from error
        self._check_unchanged()
        if pixels.dtype.kind == "f":
            valid &= np.isfinite(pixels).all(axis=0)
        if self.bands != tuple(different):
            pixels = pixels[[different.index(band) for band in self.bands]]
        return pixels, valid

    def _check_unchanged(self) -> None:
        """Refuse to go on with another file: half of the tiles would show one, half the other."""
        now = file_stamp(self.path)
        if now is None and is_local(self.path):
            raise SceneError(
                f"{self.name}: is not there (any more); put it back where every worker sees it, and"
                " give the same command again"
            )
        if now != self.stamp:
            raise SceneError(
                f"{self.name}: has changed since the run began; give the same command again, which"
                " goes on if the content is the same"
            )

    def _read_valid(self, dataset: DatasetReader, part: RasterioWindow) -> NDArray[np.bool_]:
        valid = np.full((int(part.height), int(part.width)), self.mask != "nodata")
        if self.mask == "dataset":
            valid = dataset.read_masks(self.bands[0], window=part) > 0
        elif self.mask == "nodata":
            # One band with a value is enough: deep shadow is 0 in some bands, seldom in all.
            others = [band for band in range(1, self.count + 1) if band != self.alpha]
            for band in sorted(others, key=lambda band: band not in self.bands):
                valid |= dataset.read_masks(band, window=part) > 0
                if valid.all():
                    break
        if self.alpha is not None:
            valid &= dataset.read(self.alpha, window=part) > 0
        return valid


def open_raster(path: str, chosen: tuple[int, ...] = ()) -> Raster:
    """Look at a file, and refuse what cannot be labelled.

    Parameters
    ----------
    path : str
        A local file, an address, or anything else that GDAL opens.
    chosen : tuple of int
        Bands to use as red, green and blue, or one for grey; the file decides where empty.

    Raises
    ------
    SceneError
        In one line: the file, what is wrong with it, and what to do.
    """
    name = shown_name(path)
    check_file(path, name)
    try:
        with _opened(path) as dataset:
            return _describe(dataset, path, name, chosen)
    except (RasterioError, CPLE_BaseError, OSError) as error:
        raise SceneError(
            f"{name}: cannot be opened as a raster ({_reason(error)});"
            " give a GeoTIFF or another image that GDAL reads"
        ) from error


def _describe(dataset: DatasetReader, path: str, name: str, chosen: tuple[int, ...]) -> Raster:
    """Make a Raster of an open dataset."""
    _check_size(dataset, name)
    alpha = _alpha_band(dataset)
    bands, messages = _choose_bands(dataset, name, alpha, chosen)
    _check_bands(dataset, name, bands)
    if len(dataset.subdatasets) > 1:
        messages.append(f"{name}: has {len(dataset.subdatasets)} pages; the first is used")
    grid, caveats = _find_grid(dataset, name)
    return Raster(
        path=path,
        name=name,
        driver=dataset.driver,
        grid=grid,
        count=dataset.count,
        bands=bands,
        dtype=str(np.result_type(*(dataset.dtypes[band - 1] for band in bands))),
        alpha=alpha,
        nodata=tuple(dataset.nodatavals[band - 1] for band in bands),
        mask=_mask_kind(dataset, alpha),
        block=dataset.block_shapes[bands[0] - 1],
        files=tuple(dataset.files),
        stamp=file_stamp(path),
        messages=tuple(messages),
        warnings=tuple(caveats),
    )


def _check_size(dataset: DatasetReader, name: str) -> None:
    """Refuse what is no image, damaged or too much, before anything is allocated for it."""
    if dataset.driver in REFUSED_DRIVERS:
        raise SceneError(
            f"{name}: is no image, but {dataset.driver}; save the part to label as a GeoTIFF"
        )
    if dataset.count == 0:
        parts = ", ".join(dataset.subdatasets[:3]) or "none"
        raise SceneError(f"{name}: holds no image of its own; give one of its parts: {parts}")
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
            f" save it again with TILED=YES (Translate in QGIS, or rio convert)"
        )


def _plain(dtype: str) -> str:
    return "complex64" if dtype.startswith("complex_int") else dtype


def _check_bands(dataset: DatasetReader, name: str, bands: tuple[int, ...]) -> None:
    """Refuse pixels that are no measurements of light."""
    for band in bands:
        if dataset.dtypes[band - 1].startswith("complex"):
            raise SceneError(
                f"{name}: band {band} is complex ({dataset.dtypes[band - 1]}), which cannot be"
                " labelled; give its amplitude as a raster of real numbers"
            )
        if dataset.colorinterp[band - 1] == ColorInterp.palette:
            raise SceneError(
                f"{name}: band {band} is paletted, as maps of classes are; if it is an image,"
                f" turn it into red, green and blue (PCT to RGB in QGIS)",
                code="scene.paletted",
                path=name,
                band=band,
            )


def _alpha_band(dataset: DatasetReader) -> int | None:
    kinds = dataset.colorinterp
    return kinds.index(ColorInterp.alpha) + 1 if ColorInterp.alpha in kinds else None


def _choose_bands(
    dataset: DatasetReader, name: str, alpha: int | None, chosen: tuple[int, ...]
) -> tuple[tuple[int, int, int], list[str]]:
    """Return the bands to use as red, green and blue, and what to tell about the choice."""
    available = [band for band in range(1, dataset.count + 1) if band != alpha]
    listed = ", ".join(str(band) for band in available[:12]) + (", ..." * (len(available) > 12))
    for band in chosen:
        if band not in available:
            reason = "is alpha, a mask" if band == alpha else "does not exist"
            raise SceneError(
                f"{name}: band {band} {reason}; `bands` can name {listed}",
                code="scene.no_band",
                path=name,
                setting="bands",
                found=band,
                allowed=available,
            )
    if not available:
        raise SceneError(f"{name}: has an alpha band only; give a raster with a band of values")
    if chosen:
        red, green, blue = chosen if len(chosen) == 3 else chosen * 3
        return (red, green, blue), []
    kinds = dataset.colorinterp
    if all(colour in kinds for colour in COLOURS):
        red, green, blue = (kinds.index(colour) + 1 for colour in COLOURS)
        text = f"{name}: bands {red}, {green}, {blue} are red, green, blue, as the file declares"
        return (red, green, blue), [text] if (red, green, blue) != (1, 2, 3) else []
    if len(available) < 3:
        text = f"{name}: has bands {listed}; band {available[0]} is used as grey, see `bands`"
        return (available[0],) * 3, [text] if len(available) == 2 else []
    red, green, blue = available[:3]
    text = Notice(
        f"{name}: the first three of {len(available)} bands ({red}, {green}, {blue}) are used as"
        " red, green, blue; choose others with `bands`",
        code="scene.bands_chosen",
    )
    return (red, green, blue), [text] if len(available) > 3 else []


def _mask_kind(dataset: DatasetReader, alpha: int | None) -> str:
    """Return what masks beside alpha; a band without any mask makes every pixel valid."""
    flags = [
        set(dataset.mask_flag_enums[band]) for band in range(dataset.count) if band + 1 != alpha
    ]
    if any(MaskFlags.all_valid in kinds for kinds in flags):
        return "none"
    if any(MaskFlags.nodata in kinds for kinds in flags):
        return "nodata"
    return "none" if any(MaskFlags.alpha in kinds for kinds in flags) else "dataset"


def _find_grid(dataset: DatasetReader, name: str) -> tuple[Grid, list[str]]:
    """Return the pixel grid, and what to warn of; pixel numbers never pass for coordinates."""
    placed = not dataset.transform.is_identity
    if not placed and dataset.gcps[0]:
        raise SceneError(
            f"{name}: is georeferenced by ground control points only; warp it to"
            " a CRS first (the Georeferencer or Warp in QGIS)",
            code="scene.gcps_only",
            path=name,
        )
    if not placed and dataset.rpcs is not None:
        raise SceneError(
            f"{name}: has an RPC sensor model and is not orthorectified; orthorectify it"
            " to a CRS first (such as with Warp in QGIS)",
            code="scene.rpc_only",
            path=name,
        )
    if dataset.transform.is_degenerate:
        raise SceneError(
            f"{name}: its geotransform {tuple(dataset.transform)[:6]} gives pixels no area; give"
            " it the right one (rio edit-info)"
        )
    crs, flaw = _find_crs(dataset)
    if not placed:
        flaw, crs = "no geotransform", None
    text = Notice(
        f"{name}: not georeferenced: {flaw}; area_m2 will be empty", code="scene.no_crs", path=name
    )
    grid = Grid(crs, dataset.transform, dataset.height, dataset.width)
    return grid, [text] if crs is None else []


def _find_crs(dataset: DatasetReader) -> tuple[CRS | None, str]:
    if not dataset.crs:
        return None, "no CRS"
    try:
        return CRS.from_wkt(dataset.crs.to_wkt()), ""
    except CRSError:
        return None, "a CRS that PROJ does not understand"


@contextmanager
def _opened(path: str) -> Iterator[DatasetReader]:
    """Hand out the open dataset of this process and thread."""
    with rasterio.Env(**OPTIONS):
        yield _dataset(path, file_stamp(path), os.getpid(), threading.get_ident())


@lru_cache(maxsize=8)
def _dataset(path: str, stamp: object, process: int, thread: int) -> DatasetReader:
    """Open a dataset once, so that GDAL's block cache serves neighbouring tiles of strips.

    A handle belongs to one process (a fork would share its place in the file) and one thread.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path)


def _reason(error: BaseException) -> str:
    """Return GDAL's reason in one line; rasterio's own error often only points to it."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(shown_name(str(error)).split()).rstrip(".")
    return text if len(text) <= 200 else f"{text[:200]}..."
