"""Class numbers to compare: label rasters and reference rasters, read window by window.

With `scene` and its helpers this is the only place that reads rasters: a scene is imagery, these
are classes. References come on the grid of the labels whatever they are: rasters resampled to the
nearest pixel, polygons rasterised (`reference_polygons`). What was done is said in `notes`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import rasterio
import rasterio.windows
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.vrt import WarpedVRT

from ..errors import ReadError, ReferenceDataError
from ..scenes.grid import Grid, Window
from ..scenes.paths import is_local
from ..scenes.placement import Placement, connect
from ..scenes.vectorfiles import is_vector
from .colours import ColourClasses, Names, read_names
from .polygons import PURPOSE, PolygonClasses, read_polygons

#: Grids are the same if no corner is further off than this, in pixels.
SAME_GRID_PX = 0.01
#: Floats up to here hold every whole number.
EXACT = 2.0**53


class ReferenceClasses(Protocol):
    """Gives class numbers on a grid.

    Attributes
    ----------
    notes : list of str
        What the user should know of how the classes were read.
    has_numbers : bool
        Classes have numbers of their own in the file, not only names.
    """

    notes: list[str]

    @property
    def has_numbers(self) -> bool:
        """Classes have numbers of their own in the file, not only names."""

    def read(self, window: Window) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return class numbers and where there are any, each of shape (height, width)."""

    def class_name(self, number: int) -> str:
        """Return what a class is called."""

    def remarks(self) -> list[str]:
        """Return what the user should know of the pixels, once all have been read."""


@dataclass
class RasterClasses:
    """A raster of class numbers, maybe resampled.

    Attributes
    ----------
    path : str
    datasets : tuple of rasterio datasets
        Open; a `WarpedVRT` where the raster is on another grid, several where it lies across 180
        degrees: the first that has a class counts.
    names : Names
    declares_nodata : bool
        The file says which pixels have no class.
    notes : list of str
    colours : ColourClasses or None
        Where its classes are colours, not numbers.
    """

    path: str
    datasets: tuple[rasterio.DatasetReader | WarpedVRT, ...]
    names: Names
    declares_nodata: bool
    notes: list[str] = field(default_factory=list)
    colours: ColourClasses | None = None

    @property
    def grid(self) -> Grid:
        """The pixel grid of the raster as it is read."""
        return grid_of(self.datasets[0])

    @property
    def has_numbers(self) -> bool:
        """Its classes are the file's own numbers."""
        return self.colours is None

    @property
    def is_plain_uint8(self) -> bool:
        """Its numbers are bytes, none of which is declared to mean no class."""
        plain = str(self.datasets[0].dtypes[0]) == "uint8" and not self.declares_nodata
        return self.has_numbers and plain

    def read(self, window: Window) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return class numbers and where there are any, each of shape (height, width).

        Raises
        ------
        ReadError
            If the file is damaged there.
        ReferenceDataError
            If it holds numbers that are not whole.
        """
        where = rasterio.windows.Window(window.col, window.row, window.width, window.height)
        bands = [1] if self.colours is None else [1, 2, 3]
        try:
            values, known = self._read_first(where, bands)
        except (RasterioError, CPLE_BaseError) as error:
            raise ReadError(f"{self.path} cannot be read at {tuple(window)}: {error}") from error
        if self.colours is not None:
            return self.colours.number(values, known), known
        values = values[0]
        if values.dtype.kind == "f":
            known &= np.isfinite(values)
            values = np.where(known, values, 0)
            odd = (values != np.floor(values)) | (np.abs(values) > EXACT)
            if odd.any():
                raise ReferenceDataError(
                    f"{self.path} holds {values[odd][0]}, which is no class number; give a raster"
                    " of whole numbers, and declare its nodata value (Translate in QGIS, or rio"
                    " edit-info)"
                )
        return values.astype(np.int64), known

    def _read_first(
        self, where: rasterio.windows.Window, bands: list[int]
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return values, shape (bands, height, width), and where the file has any."""
        values = self.datasets[0].read(bands, window=where)
        known = _known(self.datasets[0], where, bands)
        for dataset in self.datasets[1:]:
            here = _known(dataset, where, bands) & ~known
            values = np.where(here, dataset.read(bands, window=where), values)
            known |= here
        return values, known

    def class_name(self, number: int) -> str:
        """Return a category's or a colour's name, else the number or `#rrggbb`."""
        if self.colours is not None:
            return self.colours.class_name(number)
        return self.names.values.get(number, str(number))

    def remarks(self) -> list[str]:
        """Return what the user should know of the pixels, once all have been read."""
        return []


def _known(
    dataset: rasterio.DatasetReader | WarpedVRT, where: rasterio.windows.Window, bands: list[int]
) -> NDArray[np.bool_]:
    known: NDArray[np.bool_] = (dataset.read_masks(bands, window=where) > 0).any(axis=0)
    return known


def grid_of(dataset: rasterio.DatasetReader | WarpedVRT) -> Grid:
    """Return the pixel grid of an open raster."""
    crs = CRS.from_wkt(dataset.crs.to_wkt()) if dataset.crs else None
    return Grid(crs, dataset.transform, dataset.height, dataset.width)


@contextlib.contextmanager
def open_classes(path: str) -> Iterator[RasterClasses]:
    """Open a raster of class numbers as it is.

    Parameters
    ----------
    path : str

    Raises
    ------
    ReferenceDataError
        If it does not exist, cannot be opened, or is no raster of class numbers.
    """
    check_exists(path)
    try:
        dataset = _open_raster(path)
    except RasterioError as error:
        raise ReferenceDataError(f"{path} is not a raster that GDAL reads: {error}") from error
    with dataset:
        yield _classes_of(path, dataset)


@contextlib.contextmanager
def open_reference(
    path: str, grid: Grid, *, attribute: str | None = None, layer: str | None = None
) -> Iterator[RasterClasses | PolygonClasses]:
    """Open a reference, raster or vector, on the grid of the labels.

    Parameters
    ----------
    path : str
    grid : Grid
        Of the labels.
    attribute : str, optional
        Column of a vector layer that holds the classes; not needed where it has only one.
    layer : str, optional
        Layer of a vector file; not needed where it has only one.

    Raises
    ------
    ReferenceDataError
        If it cannot be compared with the labels.
    """
    named = attribute is not None or layer is not None or "|" in path
    if named and is_vector(path):
        yield read_polygons(path, grid, attribute=attribute, layer=layer)
        return
    check_exists(path)
    try:
        dataset = _open_raster(path)
    except RasterioError as error:
        if not is_vector(path):
            raise ReferenceDataError(
                f"{path} is neither a raster nor a vector layer that GDAL reads, nor the folder of"
                f" a run: {error}"
            ) from error
        yield read_polygons(path, grid, attribute=attribute, layer=layer)
        return
    if dataset.count == 0 and is_vector(path):
        dataset.close()
        yield read_polygons(path, grid, attribute=attribute, layer=layer)
        return
    with dataset, contextlib.ExitStack() as stack:
        yield _onto_grid(_classes_of(path, dataset, colours=True), grid, stack)


def check_exists(path: str) -> None:
    """Raise `ReferenceDataError` if a path on this machine leads nowhere."""
    if is_local(path) and not Path(path.split("|")[0]).exists():
        raise ReferenceDataError(f"{path} does not exist; check the path")


def _open_raster(path: str) -> rasterio.DatasetReader:
    with warnings.catch_warnings():
        # Masks are often plain PNG files; what that means is said in a note.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path)


def _classes_of(
    path: str, dataset: rasterio.DatasetReader, *, colours: bool = False
) -> RasterClasses:
    bands = [kind for kind in dataset.colorinterp if kind != ColorInterp.alpha]
    if dataset.dtypes[0].startswith("complex"):
        raise ReferenceDataError(f"{path} holds complex numbers, not class numbers")
    declared = dataset.nodata is not None or len(dataset.colorinterp) > len(bands)
    names = read_names(path)
    if len(bands) == 1:
        return RasterClasses(path, (dataset,), names, declared)
    if not colours or len(bands) != 3 or set(dataset.dtypes[:3]) != {"uint8"}:
        raise ReferenceDataError(
            f"{path} has {len(bands)} bands of {dataset.dtypes[0]}; class numbers must come in a"
            " raster of one band" + ", colours in three of uint8" * colours
        )
    found = ColourClasses(path, names.colours)
    return RasterClasses(path, (dataset,), names, declared, colours=found)


def _onto_grid(reference: RasterClasses, grid: Grid, stack: contextlib.ExitStack) -> RasterClasses:
    """Return a reference raster as it is where it fits the labels' grid, else resampled."""
    own, path = reference.grid, reference.path
    same_size = (own.height, own.width) == (grid.height, grid.width)
    if own.crs is None or grid.crs is None:
        if not same_size:
            raise ReferenceDataError(
                f"{path if own.crs is None else 'the label raster'} has no CRS, and the sizes"
                f" differ ({own.width} x {own.height} and {grid.width} x {grid.height} pixels);"
                " assign the right one (Assign projection in QGIS, or rio edit-info)"
            )
        if own.crs is not grid.crs:
            reference.notes.append(f"no CRS on one side: {path} is compared pixel by pixel")
        return reference
    way = connect(path, own.crs, grid, PURPOSE, "the label raster")
    if same_size and way.transformer is None and _corner_distance_px(own, grid) < SAME_GRID_PX:
        return reference
    notes = [f"{path} was resampled to the grid of the labels (nearest pixel)"]
    caveat = way.caveat("the label raster") if way.transformer is not None else ""
    notes += [f"{path}: {caveat}"] if caveat else []
    (dataset,) = reference.datasets
    warped = [stack.enter_context(_warped(dataset, way, shift)) for shift in _shifts(own, way)]
    return dataclasses.replace(reference, datasets=tuple(warped), notes=notes)


def _warped(dataset: rasterio.DatasetReader, way: Placement, shift: float) -> WarpedVRT:
    grid = way.grid
    target = grid.crs.to_wkt() if grid.crs is not None else None
    return WarpedVRT(
        dataset,
        # Local CRSs of one name need no transformation, and GDAL would know none.
        src_crs=target if way.transformer is None else dataset.crs,
        src_transform=Affine.translation(shift, 0) @ dataset.transform,
        crs=target,
        transform=grid.transform,
        width=grid.width,
        height=grid.height,
        resampling=Resampling.nearest,
        # Without a nodata value, pixels outside the reference would read as class 0.
        add_alpha=dataset.nodata is None and ColorInterp.alpha not in dataset.colorinterp,
    )


def _shifts(own: Grid, way: Placement) -> list[float]:
    """Return by how much the reference is moved: turns of the globe that bring it to the labels.

    GDAL takes x as it is: what lies at 181 degrees would be missed at -179.
    """
    period = way.source_period
    if period is None:
        return [0.0]
    corners = np.array(
        [[0, 0], [own.width, 0], [0, own.height], [own.width, own.height]], dtype=float
    )
    x = own.to_ground(corners)[:, 0]
    # Coordinates that were transformed are within half a turn of the CRS' middle.
    west, east = (-period / 2, period / 2) if way.transformer else way.box[::2]
    turns = [shift for shift in (period, -period) if x.min() + shift < east < np.inf]
    return [0.0, *(shift for shift in turns if x.max() + shift > west)]


def _corner_distance_px(first: Grid, second: Grid) -> float:
    """Return how far apart the corners of two grids of one size are, in pixels of the second."""
    corners = np.array([[0, 0], [first.width, 0], [0, first.height]], dtype=float)
    apart = first.to_ground(corners) - second.to_ground(corners)
    pixel = math.sqrt(abs(second.transform.determinant))
    return float(np.hypot(*apart.T).max()) / pixel
