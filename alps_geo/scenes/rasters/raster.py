"""A raster file that can be labelled: what it holds, what is refused, and its pixels as they are.

Together with `scene` the only place that opens rasters. GDAL's own words reach the user only as
the reason at the end of one of our messages.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterioWindow

from ...errors import ReadError, SceneError
from ...settings import SceneSettings
from ..grid import Grid, Window
from ..paths import check_file, file_stamp, shown_name
from .bands import find_bands
from .collar import Collar, Nearness, check_nodata, find_collar, find_nearness
from .datasets import (
    READ_ERRORS,
    REFUSED_DRIVERS,
    check_size,
    close_all,
    for_gdal,
    is_raster,
    opened,
    reason_of,
    sample_band,
)
from .georeference import find_grid
from .mosaic import MissingSource, Mosaic, inspect_mosaic
from .parts import choose_part, is_part, list_parts, part_stem, plain_part, product_file

#: Sources of mosaics that made a read of this process fail.
_FAILED: dict[str, tuple[MissingSource, ...]] = {}
T = TypeVar("T")


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
        Declared for each of `bands`, or chosen by the user for all.
    chosen_nodata : float or None
        The user's, which counts instead of the file's.
    mask : str
        What else masks: `none`, `dataset` (a mask of the file's own) or `nodata`.
    block : (int, int)
        Height and width of what the file stores together.
    files : tuple of str
        All files the raster consists of.
    stamp : tuple of int, or None
        Time and size of the file when it was opened; None for an address.
    missing : tuple of MissingSource
        Files of a mosaic that are not there.
    messages, warnings : tuple of str
        What the user may want to, and should, know.
    nearness : Nearness or None
        What belongs to a collar, where the user gave a tolerance.
    collar : Collar or None
        None until found: `with_collar`.
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
    chosen_nodata: float | None
    mask: str
    block: tuple[int, int]
    files: tuple[str, ...]
    stamp: tuple[int, int] | None
    missing: tuple[MissingSource, ...]
    messages: tuple[str, ...]
    warnings: tuple[str, ...]
    nearness: Nearness | None = None
    collar: Collar | None = None

    @property
    def stem(self) -> str:
        """What files made of the raster are called after; not yet fit for names of files."""
        if is_part(self.path):
            return part_stem(self.path, self.files)
        # A raster in an archive is scenes.zip!scene.tif, a folder of Windows ends in a backslash.
        return PurePosixPath(re.split(r"[\\!]", self.name)[-1]).stem

    @property
    def is_file(self) -> bool:
        """Whether the raster is a local file, whole, as its bytes are."""
        return Path(self.path).is_file()

    def anchored(self) -> Raster:
        """Return the raster with a path that holds in any working directory."""
        if is_part(self.path) and self.files and Path(self.files[0]).exists():
            path = self.path.replace(self.files[0], str(Path(self.files[0]).absolute()))
            files = (str(Path(self.files[0]).absolute()), *self.files[1:])
            return dataclasses.replace(self, path=path, files=files)
        if not Path(self.path).exists():
            return self  # an address
        return dataclasses.replace(self, path=str(Path(self.path).absolute()))

    def with_collar(self) -> Raster:
        """Return the raster that knows its border of nearly nodata; this reads all of the file."""
        if self.nearness is None:
            return self
        collar = find_collar(self.grid, lambda window: self.guard(window, self._read_marks))
        return dataclasses.replace(self, collar=collar)

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a window.

        Returns
        -------
        pixels : ndarray of `dtype`, shape (3, height, width)
        valid : ndarray of bool, shape (height, width)
            False where the mask, alpha or all bands' nodata say so, and where a band is NaN or
            infinite, and in the collar that the user's tolerance makes; else never because a
            pixel is black.

        Raises
        ------
        ReadError
            Naming the file, the window and GDAL's reason.
        SceneError
            If the file is gone, or another one than was opened.
        """
        seen = None if self.collar is None else self.collar.seen_from(window)
        if self.collar is None or seen is None:
            return self.guard(window, self._read_pixels)
        pixels, valid = self.guard(seen, self._read_pixels)
        near, _ = self.guard(seen, self._read_marks)
        valid &= ~self.collar.find(near, seen)
        rows, cols = window.shift(-seen.row, -seen.col).slices
        return pixels[:, rows, cols], valid[rows, cols]

    def guard(self, window: Window, read: Callable[[DatasetReader, RasterioWindow], T]) -> T:
        """Read something of a window, and refuse what cannot be read, or has changed."""
        self._check_sources(window)
        try:
            with opened(self.path) as dataset:
                found = read(dataset, for_gdal(window))
        except READ_ERRORS as error:
            # Where a read has failed, GDAL may give zeros the next time, without an error.
            close_all()
            self._check_unchanged()
            _remember_failure(self.path, window)
            self._check_sources(window)
            raise ReadError(
                f"{self._place(window)} ({reason_of(error)}); the file is damaged or cut"
                " off: copy or download it again"
            ) from error
        self._check_unchanged()
        return found

    def _read_pixels(
        self, dataset: DatasetReader, part: RasterioWindow
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        different = sorted(set(self.bands))
        pixels = dataset.read(different, window=part, out_dtype=self.dtype)
        valid = self._read_valid(dataset, part)
        if pixels.dtype.kind == "f":
            valid &= np.isfinite(pixels).all(axis=0)
        if self.bands != tuple(different):
            pixels = pixels[[different.index(band) for band in self.bands]]
        return pixels, valid

    def _place(self, window: Window) -> str:
        return (
            f"{self.name}: cannot read {window.height} x {window.width} pixels from row"
            f" {window.row}, column {window.col}"
        )

    def _check_sources(self, window: Window) -> None:
        """Refuse what a missing source should fill, before GDAL fills it with zeros."""
        for source in (*self.missing, *_FAILED.get(self.path, ())):
            if source.area.touches(window):
                state = "is no raster" if Path(source.path).exists() else "is not there"
                raise ReadError(
                    f"{self._place(window)}: {source.path}, which the mosaic is made of, {state};"
                    " put it back, or let `skip_unreadable` leave its part unlabelled"
                )

    def _check_unchanged(self) -> None:
        """Refuse to go on with another file: half of the tiles would show one, half the other."""
        now = file_stamp(_container(self.path, self.files))
        if now is None and self.stamp is not None:
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
        valid = ~self.read_masked(dataset, part)
        if self.mask == "nodata" or self.chosen_nodata is not None:
            valid &= self._read_known(dataset, part)
        return valid

    def read_masked(self, dataset: DatasetReader, part: RasterioWindow) -> NDArray[np.bool_]:
        """Return where the file's own mask, or alpha, hides all bands."""
        masked = np.zeros((int(part.height), int(part.width)), bool)
        if self.mask == "dataset":
            masked |= dataset.read_masks(self.bands[0], window=part) == 0
        if self.alpha is not None:
            masked |= ~(dataset.read(self.alpha, window=part) > 0)
        return masked

    def _read_marks(
        self, dataset: DatasetReader, part: RasterioWindow
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return where pixels are near nodata or masked, and where they are masked."""
        masked = self.read_masked(dataset, part)
        return masked if self.nearness is None else masked | self.nearness.read(
            dataset, part
        ), masked

    def _read_known(self, dataset: DatasetReader, part: RasterioWindow) -> NDArray[np.bool_]:
        """Return where a band has a value: one is enough, deep shadow is 0 in some, not in all."""
        known = np.zeros((int(part.height), int(part.width)), bool)
        others = [band for band in range(1, self.count + 1) if band != self.alpha]
        for band in sorted(others, key=lambda band: band not in self.bands):
            if self.chosen_nodata is None:
                known |= dataset.read_masks(band, window=part) > 0
            else:
                known |= dataset.read(band, window=part) != self.chosen_nodata
            if known.all():
                break
        return known


def open_raster(path: str, settings: SceneSettings) -> Raster:
    """Look at a file, and refuse what cannot be labelled.

    Parameters
    ----------
    path : str
        A local file, an address, a part of a file, or anything else that GDAL opens.
    settings : SceneSettings
        Which of its parts and bands to use.

    Raises
    ------
    SceneError
        In one line: the file, what is wrong with it, and what to do.
    """
    name = shown_name(path)
    check_file(path, name)
    if file_stamp(path) is None:
        close_all()  # what has no time of its own may have changed since
    try:
        with opened(_findable(path)) as dataset:
            part = _find_part(dataset, name, settings)
            if part is None:
                return _describe(dataset, dataset.name, shown_name(dataset.name), settings)
        with opened(part) as dataset:
            return _describe(dataset, part, shown_name(part), settings)
    except READ_ERRORS as error:
        raise _cannot_open(path, name, error) from error


def _findable(path: str) -> str:
    """Return what GDAL opens: of a folder that is a product, its file of metadata."""
    if not Path(path).is_dir():
        return path
    try:
        with opened(path):
            return path
    except READ_ERRORS:
        return product_file(path)


def _find_part(dataset: DatasetReader, name: str, settings: SceneSettings) -> str | None:
    """Return the part to open instead of the file, None for the file itself."""
    parts, wanted = list_parts(dataset), settings.subdataset
    if wanted is not None:
        if not parts:
            raise SceneError(f"{name}: has no parts to choose from; leave out `subdataset`")
        return choose_part(parts, wanted, name).path
    if dataset.count or not parts or dataset.driver in REFUSED_DRIVERS:
        return None
    return plain_part(parts, settings.picture_bands, _count_bands, name).path


def _count_bands(path: str) -> int:
    with opened(path) as dataset:
        return int(dataset.count)


def _cannot_open(path: str, name: str, error: BaseException) -> SceneError:
    reason = reason_of(error)
    if Path(path).is_dir():
        return SceneError(f"{name}: is a folder; give a raster file inside it")
    if "No such file or directory" in reason and file_stamp(path) is None:
        return SceneError(f"{name}: no such file; check the path")
    return SceneError(
        f"{name}: cannot be opened as a raster ({reason});"
        " give a GeoTIFF or another image that GDAL reads"
    )


def _describe(dataset: DatasetReader, path: str, name: str, settings: SceneSettings) -> Raster:
    """Make a Raster of an open dataset."""
    check_size(dataset, name)
    mosaic = _look_at_sources(path) if dataset.driver == "VRT" else Mosaic()
    roles = find_bands(
        dataset,
        name,
        settings.picture_bands,
        lambda band: sample_band(dataset, band, mosaic.missing),
    )
    bands, messages = roles.colours, list(roles.messages)
    if len(dataset.subdatasets) > 1:
        messages.append(
            f"{name}: has {len(dataset.subdatasets)} pages; the first is used, see `subdataset`"
        )
    dtype = str(np.result_type(*(dataset.dtypes[band - 1] for band in bands)))
    check_nodata(settings.nodata, dtype, name)
    grid, caveats = find_grid(dataset, name)
    return Raster(
        path=path,
        name=name,
        driver=dataset.driver,
        grid=grid,
        count=dataset.count,
        bands=bands,
        dtype=dtype,
        alpha=roles.alpha,
        nodata=tuple(
            dataset.nodatavals[band - 1] if settings.nodata is None else settings.nodata
            for band in bands
        ),
        chosen_nodata=settings.nodata,
        mask="nodata" if settings.nodata is not None and roles.mask == "none" else roles.mask,
        block=dataset.block_shapes[bands[0] - 1],
        files=(*dataset.files, *mosaic.nested),
        stamp=file_stamp(_container(path, dataset.files)),
        missing=mosaic.missing,
        messages=tuple(messages),
        warnings=tuple(caveats),
        nearness=find_nearness(
            settings.nodata_tolerance, settings.nodata, dataset.nodatavals, roles.alpha, name
        ),
    )


def _look_at_sources(path: str) -> Mosaic:
    """Look for a mosaic's sources, closely where one was found to be no raster."""
    return inspect_mosaic(path, is_raster) if _FAILED.pop(path, ()) else inspect_mosaic(path)


def _remember_failure(path: str, window: Window) -> None:
    """Find the sources of a mosaic that make a window unreadable: GDAL tells once."""
    found = inspect_mosaic(path, is_raster, window).missing
    if found:
        _FAILED[path] = (*_FAILED.get(path, ()), *found)


def _container(path: str, files: Sequence[str]) -> str:
    """Return the file whose time and size tell whether a raster has changed."""
    return files[0] if files and is_part(path) else path
