"""Results read back as they lie there: segments, labels, and how much classes cover."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyogrio.errors
import rasterio
import rasterio.errors
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from ..errors import RunError
from ..scenes.paths import sqlite_uri

if TYPE_CHECKING:
    from geopandas import GeoDataFrame


def read_segments(path: Path) -> GeoDataFrame:
    """Return the layer `segments` of a GeoPackage.

    Raises
    ------
    RunError
        If it is missing or damaged.
    """
    # Takes a while to load, and labelling needs none of it.
    import geopandas

    with _explaining(path):
        table = geopandas.read_file(path, layer="segments", engine="pyogrio")
    # What GeoPackages have for no CRS.
    if table.crs is not None and table.crs.name == "Undefined Cartesian SRS":
        return table.set_crs(None, allow_override=True)
    return table


def read_labels(
    path: Path, window: Window | None = None, *, masked: bool = False
) -> tuple[NDArray[Any], Affine, Any]:
    """Return class ids, where they lie, and their CRS.

    Parameters
    ----------
    path : Path
    window : rasterio.windows.Window or pair of (start, stop), optional
        Part of the raster, in pixels; all of it by default.
    masked : bool
        Mask pixels without a label.

    Returns
    -------
    labels : ndarray of uint8 or uint16, shape (height, width)
    transform : affine.Affine
        Of the part.
    crs : rasterio.crs.CRS or None

    Raises
    ------
    RunError
        If the raster is missing or damaged, or the window is not inside of it.
    """
    with _explaining(path), rasterio.open(path) as file:
        part = Window(0, 0, file.width, file.height) if window is None else _to_window(window)
        ends = part.row_off + part.height, part.col_off + part.width
        if min(part.row_off, part.col_off) < 0 or ends[0] > file.height or ends[1] > file.width:
            raise RunError(
                f"the window of rows {part.row_off} to {ends[0]} and columns {part.col_off} to"
                f" {ends[1]} is not inside of {path}, which has {file.height} rows and"
                f" {file.width} columns"
            )
        return file.read(1, window=part, masked=masked), file.window_transform(part), file.crs


def _to_window(window: Any) -> Window:  # noqa: ANN401 - of rasterio, or a pair of pairs
    if isinstance(window, Window):
        return window
    (row, row_stop), (col, col_stop) = window
    return Window(col, row, col_stop - col, row_stop - row)


def read_preview(path: Path, side: int) -> NDArray[Any]:
    """Return class ids thinned to at most `side` pixels a side.

    Raises
    ------
    RunError
        If the raster is missing or damaged.
    """
    with _explaining(path), rasterio.open(path) as file:
        scale = min(1.0, side / max(file.height, file.width))
        shape = max(1, round(file.height * scale)), max(1, round(file.width * scale))
        labels: NDArray[Any] = file.read(1, out_shape=shape)
        return labels


def read_class_sizes(path: Path) -> list[tuple[int, int, int]]:
    """Return (class id, segments, pixels) of each class in a GeoPackage.

    Raises
    ------
    RunError
        If it is missing or damaged.
    """
    with open_database(path) as database:
        return database.execute("SELECT class_id, segments, area_px FROM classes").fetchall()


def read_given_classes(
    path: Path,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return segment, class and confidence of each row of the layer `segments`, in its order.

    Rows without a segment or a class are left out.

    Raises
    ------
    RunError
        If it is missing or damaged.
    """
    with open_database(path) as database:
        rows = database.execute(
            "SELECT segment_id, class_id, confidence FROM segments"
            " WHERE typeof(segment_id) = 'integer' AND typeof(class_id) = 'integer' ORDER BY fid"
        ).fetchall()
    segment_id, class_id, confidence = zip(*rows, strict=True) if rows else [()] * 3
    return (
        np.array(segment_id, np.int64),
        np.array(class_id, np.int64),
        np.array(confidence, np.float64),
    )


@contextmanager
def open_database(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a GeoPackage to read it; no file is made where there is none.

    Raises
    ------
    RunError
        If it, or what is asked of it, is missing or damaged.
    """
    with (
        _explaining(path),
        closing(sqlite3.connect(sqlite_uri(path.resolve()), uri=True)) as database,
    ):
        yield database


@contextmanager
def _explaining(path: Path) -> Iterator[None]:
    errors = rasterio.errors.RasterioError, pyogrio.errors.DataSourceError
    try:
        yield
    except (*errors, pyogrio.errors.DataLayerError, sqlite3.Error, OSError) as error:
        raise RunError(f"{path} cannot be read: {error}; run `classify()` again") from error
