"""A scene to label: a raster's pixels in 8 bits and their validity, window by window.

Raster file (`raster`) -> another pixel size (`resampling`) -> inside the polygons (`aoi`) ->
8 bits (`radiometry`). Colour in blocks can be smoothed first (`blocks`). A scene holds no open
file: it travels to worker processes as it is.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SceneError
from ..settings import COMPONENTS, SceneSettings
from .aoi import Aoi, read_aoi
from .blocks import MARGIN, Blocks, known_pixels, smooth_colour
from .fingerprint import fingerprint
from .grid import Grid, Window, cut
from .rasters.measured import Measured, describe_bands, read_measured
from .rasters.raster import Raster, open_raster
from .resampling import Axis, resample, source_window
from .stretch import Stretch
from .summary import summarise

#: Pixels read from a file at once where the window asked for needs more.
CHUNK_PX = 2**23
#: Resampling beyond these factors is a slip of the pen, such as degrees taken for metres.
MAX_COARSER, MAX_FINER = 1000, 16
#: Reads pixels, shape (bands, height, width), and validity of a window.
Read = Callable[[Window], tuple[NDArray[Any], NDArray[np.bool_]]]


@dataclass(frozen=True)
class Scene:
    """A raster to label.

    Attributes
    ----------
    raster : Raster
        The file, with its own grid.
    grid : Grid
        The pixels to label: the raster's, or those of the chosen ground sampling distance.
    whole : Grid
        What the grid is a part of: all pixels of the file, at the chosen distance.
    part : Window
        The grid's place in it: around the area of interest, unless all of it is wanted.
    aoi : Aoi or None
        Pixels outside are invalid; in pixel coordinates of the grid.
    settings : SceneSettings
    fingerprint : str
        The same for the same content and settings, wherever the files lie and whenever they were
        copied there.
    stretch : Stretch or None
        None until measured.
    blocks : Blocks or None
        Blocks of colour to smooth away when the scene is read.
    """

    raster: Raster
    grid: Grid
    whole: Grid
    part: Window
    aoi: Aoi | None
    settings: SceneSettings
    fingerprint: str
    stretch: Stretch | None = None
    blocks: Blocks | None = None

    @property
    def path(self) -> str:
        """What GDAL opens."""
        return self.raster.path

    @property
    def name(self) -> str:
        """The path as messages show it: an address without password and query."""
        return self.raster.name

    @property
    def stem(self) -> str:
        """The file's name without folder and ending, fit for names of files."""
        return re.sub(r"[^\w.-]+", "_", self.raster.stem).strip("._") or "scene"

    @property
    def bands(self) -> tuple[int, int, int]:
        """Bands used as red, green and blue, counted from 1."""
        return self.raster.bands

    @property
    def dtype(self) -> str:
        """Type of the file's pixels."""
        return self.raster.dtype

    @property
    def messages(self) -> tuple[str, ...]:
        """What the user may want to know, such as the choice of bands."""
        own = self._on_bands + (() if self.aoi is None else self.aoi.messages)
        scale, crs = self.grid.scale, self.grid.crs
        if crs is None or scale is None or not self.grid.is_stretched:
            return own
        text = (
            f"{self.name}: {crs.name} makes lengths {scale:.3g} times as long here as they are;"
            " areas and pixel sizes are measured on the ellipsoid"
        )
        return (*own, text)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know, such as a missing CRS."""
        return self.raster.warnings + (() if self.aoi is None else self.aoi.warnings)

    @property
    def _on_bands(self) -> tuple[str, ...]:
        if self.settings.bands != COMPONENTS:
            return self.raster.messages
        # No three bands are used, whatever is said of them.
        others = [
            text
            for text in self.raster.messages
            if getattr(text, "code", "") != "scene.bands_chosen"
        ]
        text = (
            f"{self.name}: the principal components of {len(self.measured)} bands make the picture"
        )
        return (*others, text)

    @property
    def measured(self) -> tuple[Measured, ...]:
        """The bands that count: those that the user names, if four or more, or all but masks."""
        bands = {band.number: band for band in describe_bands(self.raster)}
        chosen = self.settings.counted_bands
        return tuple(bands[number] for number in chosen) if chosen else tuple(bands.values())

    def require_components(self, count: int) -> None:
        """Refuse a scene without so many bands to make principal components of."""
        found = len(self.measured)
        if found < 3 or found != count:
            text = "three or more" if count < 3 or found < 3 else f"{count}, as the others"
            raise SceneError(
                f"{self.name}: has {found} bands, and the principal components (`bands=pca`) need"
                f" {text}; leave `bands` out, or choose bands with it",
                code="scene.components",
                path=self.name,
                setting="bands",
                found=found,
            )

    def with_stretch(self, stretch: Stretch) -> Scene:
        """Return the scene with the stretch that makes its pixels 8 bits.

        Raises
        ------
        SceneError
            If pixels of another type shall stay as they are, or the stretch is one of principal
            components and the scene has other bands, or is read by three of them.
        """
        made_of, bands = stretch.components, self.settings.bands
        if bands == COMPONENTS if made_of is None else bands not in ((), COMPONENTS):
            there = "three bands" if made_of is None else "principal components of all bands"
            raise SceneError(
                f"{self.name}: the class model was made of {there}, not with"
                f" `bands={bands if bands == COMPONENTS else ','.join(map(str, bands))}`; leave"
                " `bands` out",
                code="scene.components",
                path=self.name,
                setting="bands",
            )
        if made_of is not None:
            self.require_components(len(made_of.mean))
        _check_stretch(self.raster, stretch.kind)
        return dataclasses.replace(self, stretch=stretch)

    def without_blocks(self, blocks: Blocks | None) -> Scene:
        """Return the scene that `read` shows without these blocks of colour."""
        return dataclasses.replace(self, blocks=blocks)

    def anchored(self) -> Scene:
        """Return the scene with a path that holds in any working directory."""
        return dataclasses.replace(self, raster=self.raster.anchored())

    def read(self, window: Window) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Read a window of the grid; the values of a pixel do not depend on the window.

        Parameters
        ----------
        window : Window
            Inside the grid.

        Returns
        -------
        pixels : ndarray of uint8, shape (height, width, 3)
            Red, green and blue; 0 where not valid.
        valid : ndarray of bool, shape (height, width)

        Raises
        ------
        ReadError
            If the file is damaged there.
        """
        if self.stretch is None:
            raise ValueError("a scene needs a stretch before it is read: with_stretch")
        if self.stretch.components is not None:
            valid = self.valid(window)
            values = self.read_bands(window, self.measured)
            return self.stretch.apply(self.stretch.components.project(values), valid), valid
        read = self.raster.read if self.blocks is None else self._read_smooth
        pixels, valid = self._read_grid(window, read)
        return self.stretch.apply(pixels, valid), valid

    def read_values(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a window of the grid in the file's own numbers, blocks of colour and all.

        Returns
        -------
        pixels : ndarray, shape (3, height, width)
        valid : ndarray of bool, shape (height, width)
        """
        return self._read_grid(window, self.raster.read)

    def read_bands(self, window: Window, bands: Sequence[Measured]) -> NDArray[np.float64]:
        """Read bands of a window of the grid as measurements.

        Parameters
        ----------
        window : Window
            Inside the grid.
        bands : sequence of Measured
            Of the scene's file.

        Returns
        -------
        ndarray of float64, shape (n_bands, height, width)
            NaN where a band was not measured, and outside of the area of interest.
        """
        values = np.full((len(bands), window.height, window.width), np.nan)
        wanted, axes = self.wanted(window), self._axes
        if wanted is None:
            return values
        place = wanted.shift(self.part.row, self.part.col)
        corner = window.shift(self.part.row, self.part.col)
        for part in cut(place, *[_side(axes)] * 2):
            rows, cols = part.shift(-corner.row, -corner.col).slices
            if axes is None:
                values[:, rows, cols] = read_measured(self.raster, bands, part)
                continue
            found = read_measured(self.raster, bands, source_window(part, *axes))
            for index, band in enumerate(found):
                (fine,), known = resample(band[np.newaxis], np.isfinite(band), part, axes)
                values[index, rows, cols] = np.where(known, fine, np.nan)
        return values

    def _read_grid(self, window: Window, read: Read) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        axes, wanted = self._axes, self.wanted(window)
        if wanted is None:
            kind = self.dtype if axes is None else np.float64
            shape = window.height, window.width
            return np.zeros((3, *shape), kind), np.zeros(shape, bool)
        place = wanted.shift(self.part.row, self.part.col)
        pixels, valid = read(place) if axes is None else self._read_resampled(place, axes, read)
        if self.aoi is not None:
            valid &= self.aoi.inside(wanted)
        if wanted != window:
            rows = wanted.row - window.row, window.row_stop - wanted.row_stop
            cols = wanted.col - window.col, window.col_stop - wanted.col_stop
            pixels, valid = np.pad(pixels, ((0, 0), rows, cols)), np.pad(valid, (rows, cols))
        return pixels, valid

    @property
    def region(self) -> Window:
        """The part of the grid around the area of interest; all of it where there is none."""
        return self.wanted(self.grid.window) or self.grid.window

    @property
    def is_resampled(self) -> bool:
        """True where a pixel of the grid is not one of the file."""
        return self._axes is not None

    def source_of(self, window: Window) -> Window:
        """Return the pixels of the file that a window of the grid is made of."""
        place, axes = window.shift(self.part.row, self.part.col), self._axes
        return place if axes is None else source_window(place, *axes)

    def wanted(self, window: Window) -> Window | None:
        """Return the part of a window of the grid that must be read, None where nothing is."""
        return window if self.aoi is None else self.aoi.touched(window)

    def valid(self, window: Window) -> NDArray[np.bool_]:
        """Return which pixels of a window hold data, shape (height, width)."""
        return self.read_values(window)[1]

    def summary(self) -> dict[str, object]:
        """Return what a person wants to know of a scene, without reading pixels."""
        return summarise(self)

    @property
    def _axes(self) -> tuple[Axis, Axis] | None:
        """What turns the file's rows and columns into the grid's, None where they agree."""
        source, grid = self.raster.grid, self.whole
        if (source.height, source.width) == (grid.height, grid.width):
            return None
        return Axis(source.height, grid.height), Axis(source.width, grid.width)

    def _read_smooth(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a window of the file's own grid without blocks of colour."""
        if self.blocks is None or self.stretch is None:
            return self.raster.read(window)
        grid = self.raster.grid
        seen = window.grow(MARGIN, grid.height, grid.width)
        pixels, valid = self.raster.read(seen)
        levels = zip(self.stretch.low, self.stretch.high, strict=True)
        scale = sum(high - low for low, high in levels) / (3 * 255)
        known = known_pixels(pixels, valid, self.raster.nodata)
        pixels = smooth_colour(pixels, known, self.blocks, seen, scale)
        rows, cols = window.shift(-seen.row, -seen.col).slices
        return pixels[:, rows, cols], valid[rows, cols]

    def _read_resampled(
        self, window: Window, axes: tuple[Axis, Axis], read: Read
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        pixels = np.zeros((3, window.height, window.width))
        valid = np.zeros((window.height, window.width), bool)
        for part in cut(window, *[_side(axes)] * 2):
            values, known = read(source_window(part, *axes))
            rows, cols = part.shift(-window.row, -window.col).slices
            pixels[:, rows, cols], valid[rows, cols] = resample(values, known, part, axes)
        return pixels, valid


def _side(axes: tuple[Axis, Axis] | None) -> int:
    """Return the side of a window of the grid that is read at once."""
    factor = 1.0 if axes is None else max(axis.factor for axis in axes)
    return max(1, int(math.sqrt(CHUNK_PX) / factor))


def open_scene(path: str, settings: SceneSettings) -> Scene:
    """Look at a raster file, and refuse what cannot be labelled.

    Parameters
    ----------
    path : str
        A local file, an address (https://...), or anything else that GDAL opens.
    settings : SceneSettings

    Returns
    -------
    Scene
        Without a stretch.

    Raises
    ------
    SceneError
        In one line: the file, what is wrong with it, and what to do.
    """
    raster = open_raster(path, settings)
    _check_stretch(raster, settings.stretch)
    whole = _resampled_grid(raster, settings.gsd)
    part, aoi = whole.window, None
    if settings.aoi is not None:
        aoi = read_aoi(settings.aoi, whole, raster.name)
        if not settings.full_extent:
            part = aoi.touched(part) or part
            aoi = aoi.shift(-part.row, -part.col)
    scene = Scene(raster, whole.crop(part), whole, part, aoi, settings, "")
    found = fingerprint(raster, scene.grid, aoi, scene.source_of(scene.region))
    return dataclasses.replace(scene, raster=raster.with_collar(), fingerprint=found)


def _check_stretch(raster: Raster, kind: str) -> None:
    if kind == "none" and raster.dtype != "uint8":
        raise SceneError(
            f"{raster.name}: has {raster.dtype} pixels, which `stretch=none` would leave as they"
            " are, but labelling needs 8 bits; use `stretch=percentile` or `stretch=minmax`"
        )


def _resampled_grid(raster: Raster, gsd: float | None) -> Grid:
    if gsd is None:
        return raster.grid
    present = raster.grid.pixel_size_m
    if present is None:
        raise SceneError(
            f"{raster.name}: its pixel size in metres is not known, so that `gsd={gsd:g}`"
            " means nothing; assign it a CRS (Assign projection in QGIS, or rio edit-info)",
            code="scene.no_crs",
            path=raster.name,
            setting="gsd",
        )
    if not present / MAX_FINER <= gsd <= present * MAX_COARSER:
        raise SceneError(
            f"{raster.name}: `gsd={gsd:g}` is too far from its pixel size of {present:g} m; use"
            f" from {present / MAX_FINER:g} to {present * MAX_COARSER:g} metres"
        )
    return raster.grid.resample(gsd)
