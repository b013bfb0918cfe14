"""Class numbers to compare: label rasters and reference rasters, read window by window.

With `scene` and its helpers this is the only place that reads rasters: a scene is imagery, these
are classes. References come on the grid of the labels whatever they are: rasters resampled to the
nearest pixel, polygons rasterised (`reference_polygons`). What was done is said in `notes`.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from xml.etree import ElementTree

import numpy as np
import rasterio
import rasterio.windows
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.vrt import WarpedVRT

from .errors import ReadError, ReferenceDataError
from .grid import Grid, Window
from .reference_polygons import PolygonClasses, read_polygons

#: Grids are the same if no corner is further off than this, in pixels.
SAME_GRID_PX = 0.01
#: Floats up to here hold every whole number.
EXACT = 2.0**53


class ClassSource(Protocol):
    """Gives class numbers on a grid.

    Attributes
    ----------
    notes : list of str
        What the user should know of how the classes were read.
    """

    notes: list[str]

    def read(self, window: Window) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return class numbers and where there are any, each of shape (height, width)."""

    def class_name(self, number: int) -> str:
        """Return what a class is called."""


@dataclass
class RasterClasses:
    """A raster of class numbers, maybe resampled.

    Attributes
    ----------
    path : str
    dataset : rasterio dataset
        Open; a `WarpedVRT` where the raster is on another grid.
    names : tuple of str
        Category names from 0 on; may be empty.
    declares_nodata : bool
        The file says which pixels have no class.
    notes : list of str
    """

    path: str
    dataset: rasterio.DatasetReader | WarpedVRT
    names: tuple[str, ...]
    declares_nodata: bool
    notes: list[str] = field(default_factory=list)

    @property
    def grid(self) -> Grid:
        """The pixel grid of the raster as it is read."""
        return grid_of(self.dataset)

    @property
    def dtype(self) -> str:
        """The type of its numbers."""
        return str(self.dataset.dtypes[0])

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
        try:
            values = self.dataset.read(1, window=where)
            known = self.dataset.read_masks(1, window=where) > 0
        except RasterioError as error:
            raise ReadError(f"{self.path} cannot be read at {tuple(window)}: {error}") from error
        if values.dtype.kind == "f":
            known &= np.isfinite(values)
            values = np.where(known, values, 0)
            odd = (values != np.floor(values)) | (np.abs(values) > EXACT)
            if odd.any():
                raise ReferenceDataError(
                    f"{self.path} holds {values[odd][0]}, which is no class number; give a raster"
                    " of whole numbers, and declare its nodata value (gdal_edit.py -a_nodata)"
                )
        return values.astype(np.int64), known

    def class_name(self, number: int) -> str:
        """Return a category's name, else the number."""
        named = 0 <= number < len(self.names) and self.names[number]
        return self.names[number] if named else str(number)


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
    check_exists(path)
    try:
        dataset = _open_raster(path)
    except RasterioError:
        yield read_polygons(path, grid, attribute=attribute, layer=layer)
        return
    with dataset, contextlib.ExitStack() as stack:
        yield _onto_grid(_classes_of(path, dataset), grid, stack)


def check_exists(path: str) -> None:
    """Raise `ReferenceDataError` if a path on this machine leads nowhere."""
    remote = path.startswith("/vsi") or "://" in path
    if not remote and not Path(path).exists():
        raise ReferenceDataError(f"{path} does not exist; check the path")


def _open_raster(path: str) -> rasterio.DatasetReader:
    with warnings.catch_warnings():
        # Masks are often plain PNG files; what that means is said in a note.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path)


def _classes_of(path: str, dataset: rasterio.DatasetReader) -> RasterClasses:
    bands = [kind for kind in dataset.colorinterp if kind != ColorInterp.alpha]
    if len(bands) != 1:
        raise ReferenceDataError(
            f"{path} has {len(bands)} bands; class numbers must come in a raster of one band"
        )
    if dataset.dtypes[0].startswith("complex"):
        raise ReferenceDataError(f"{path} holds complex numbers, not class numbers")
    declared = dataset.nodata is not None or len(dataset.colorinterp) > 1
    return RasterClasses(path, dataset, _category_names(path), declared)


def _category_names(path: str) -> tuple[str, ...]:
    """Read GDAL's category names from the file beside a raster; rasterio has no call for them."""
    try:
        root = ElementTree.parse(f"{path}.aux.xml").getroot()
    except (OSError, ElementTree.ParseError):
        return ()
    return tuple(item.text or "" for item in root.findall("PAMRasterBand[1]/CategoryNames/*"))


def _onto_grid(reference: RasterClasses, grid: Grid, stack: contextlib.ExitStack) -> RasterClasses:
    """Return a reference raster as it is where it fits the labels' grid, else resampled."""
    own, path = reference.grid, reference.path
    same_size = (own.height, own.width) == (grid.height, grid.width)
    if own.crs is None or grid.crs is None:
        if not same_size:
            raise ReferenceDataError(
                f"{path if own.crs is None else 'the label raster'} has no CRS, and the sizes"
                f" differ ({own.width} x {own.height} and {grid.width} x {grid.height} pixels);"
                " give it the right one (gdal_edit.py -a_srs)"
            )
        if own.crs is not grid.crs:
            reference.notes.append(f"no CRS on one side: {path} is compared pixel by pixel")
        return reference
    if same_size and own.crs == grid.crs and _corner_distance_px(own, grid) < SAME_GRID_PX:
        return reference
    dataset = reference.dataset
    # Without a nodata value, pixels outside the reference would read as class 0.
    warped = WarpedVRT(
        dataset,
        crs=grid.crs.to_wkt(),
        transform=grid.transform,
        width=grid.width,
        height=grid.height,
        resampling=Resampling.nearest,
        add_alpha=dataset.nodata is None and dataset.count == 1,
    )
    note = f"{path} was resampled to the grid of the labels (nearest pixel)"
    return RasterClasses(
        path, stack.enter_context(warped), reference.names, reference.declares_nodata, [note]
    )


def _corner_distance_px(first: Grid, second: Grid) -> float:
    """Return how far apart the corners of two grids of one size are, in pixels of the second."""
    corners = np.array([[0, 0], [first.width, 0], [0, first.height]], dtype=float)
    apart = first.to_ground(corners) - second.to_ground(corners)
    pixel = math.sqrt(abs(second.transform.determinant))
    return float(np.hypot(*apart.T).max()) / pixel
