"""What a run leaves for others: label rasters, GeoPackages, the record; the only writer of results.

Every file is written under a temporary name in its own folder and then renamed, so that a result
is either complete or not there.
"""

from __future__ import annotations

import json
import math
import sqlite3
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterWindow

from .errors import OutputError
from .geopackage import MaskTable, SegmentTable, write_layers
from .grid import Grid
from .labels import bounded_cache
from .legend import Legend
from .outlines import ReadLabels
from .polygons import Polygons
from .progress import NoProgress, Progress
from .store import replacing
from .styles import parse_color, raster_qml, raster_sidecar

__all__ = ["MaskTable", "Outputs", "SegmentTable", "write_labels", "write_package", "write_record"]

# Side of the raster's own blocks, and of the windows that are written at once.
_BLOCK, _WINDOW = 512, 2048
# What rasterio and pyogrio raise when GDAL cannot write.
_GDAL_ERRORS = (
    RasterioError,
    CPLE_BaseError,
    pyogrio.errors.DataSourceError,
    pyogrio.errors.DataLayerError,
    pyogrio.errors.FeatureError,
    pyogrio.errors.GeometryError,
)


@dataclass(frozen=True)
class Outputs:
    """Where the results of a run are.

    Attributes
    ----------
    folder : Path
    labels, packages : tuple of Path
        A label raster and a GeoPackage per scene, in the order of the scenes.
    classes, record : Path
        The class model, and the record of the run.
    """

    folder: Path
    labels: tuple[Path, ...]
    packages: tuple[Path, ...]
    classes: Path
    record: Path


def unlabelled_value(legend: Legend) -> int:
    """Return the value of pixels without a class: 255, or 65535 where ids need 16 bits."""
    return 255 if legend.size <= 255 else 65535


def write_labels(
    path: Path,
    read: ReadLabels,
    lookup: NDArray[np.integer],
    grid: Grid,
    legend: Legend,
    progress: Progress | None = None,
) -> dict[int, int]:
    """Write a label raster as Cloud-Optimized GeoTIFF, with sidecars for GDAL and QGIS.

    Parameters
    ----------
    path : Path
        Ends in `.tif`; `.tif.aux.xml` and `.qml` are written beside it.
    read : callable
        Window to segment ids, ndarray of uint32, shape (window.height, window.width); 0 is none.
    lookup : ndarray of int, shape (at least the largest segment id + 1,)
        Class of each segment; negative for none, as for entry 0.
    grid : Grid
    legend : Legend
    progress : Progress, optional
        Is told the rows that are done.

    Returns
    -------
    dict of int to int
        Pixels of each class, by id.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    dtype = np.uint8 if legend.size <= 255 else np.uint16
    values = np.where(lookup < 0, unlabelled_value(legend), lookup).astype(dtype)
    values[0] = unlabelled_value(legend)
    source = path.with_name(f".{path.stem}.source.tif")
    sidecar = path.with_name(f"{path.name}.aux.xml")
    with bounded_cache(), _explaining(path), replacing(path) as temporary:
        gdal_sidecar = temporary.with_name(f"{temporary.name}.aux.xml")
        try:
            with _without_ground_warnings():
                counts = _write_source(source, read, values, grid, legend, progress)
                _copy_optimized(source, temporary, _block_side(grid.height, grid.width))
                _check_counts(temporary, counts)
            sizes = {class_id: int(counts[class_id]) for class_id in legend.ids}
            present = gdal_sidecar.read_text("utf-8") if gdal_sidecar.exists() else None
            _write_text(sidecar, raster_sidecar(legend, sizes, present))
            _write_text(path.with_suffix(".qml"), raster_qml(legend))
        finally:
            for scratch in (source, gdal_sidecar, source.with_name(f"{source.name}.aux.xml")):
                scratch.unlink(missing_ok=True)
    return sizes


def write_package(
    path: Path,
    polygons: Iterable[Polygons],
    table: SegmentTable,
    legend: Legend,
    grid: Grid,
    *,
    masks: Iterable[MaskTable] | None = None,
    progress: Progress | None = None,
) -> None:
    """Write a GeoPackage: segments, a layer per class, the classes, styles, and masks if given.

    Parameters
    ----------
    path : Path
        Ends in `.gpkg`.
    polygons : iterable of Polygons
        In parts, so that not all need to be in memory at once.
    table : SegmentTable
        Has a row for every polygon.
    legend : Legend
    grid : Grid
    masks : iterable of MaskTable, optional
        In parts; makes the layer `masks`.
    progress : Progress, optional
        Is told the segments that are done.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    with _explaining(path), replacing(path) as temporary:
        temporary.unlink(missing_ok=True)
        try:
            write_layers(temporary, polygons, table, legend, grid, masks=masks, progress=progress)
        finally:
            _remove_journals(temporary)
        # What a program that has the old file open keeps beside it must not meet the new one.
        _remove_journals(path)


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write the record of a run as JSON, in the order given.

    Parameters
    ----------
    path : Path
    record : mapping
        JSON values; also paths, dataclasses, tuples and NumPy's numbers. NaN becomes null.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    text = json.dumps(_to_json(record), indent=2, ensure_ascii=False, allow_nan=False)
    with _explaining(path):
        _write_text(path, text + "\n")


@contextmanager
def _explaining(path: Path) -> Iterator[None]:
    """Turn what libraries raise when a file cannot be written into one line with the remedy."""
    remedy = (
        "the folder must be there, be writable and have room, and no program have the file open"
    )
    try:
        yield
    except OutputError as error:
        raise OutputError(f"{error}; {remedy}") from error
    except (OSError, sqlite3.Error, *_GDAL_ERRORS) as error:
        reason = " ".join(str(error).split())
        raise OutputError(f"cannot write {path}: {reason}; {remedy}") from error


@contextmanager
def _without_ground_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        # A scene without georeference gives labels without; that was said when it was opened.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def _write_source(
    path: Path,
    read: ReadLabels,
    values: NDArray[np.unsignedinteger],
    grid: Grid,
    legend: Legend,
    progress: Progress | None,
) -> NDArray[np.int64]:
    """Write the plain raster, and return the number of pixels of each value."""
    progress = progress or NoProgress()
    unlabelled = unlabelled_value(legend)
    counts = np.zeros(unlabelled + 1, np.int64)
    place = {} if grid.transform.is_identity else {"transform": grid.transform}
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "count": 1,
        "dtype": values.dtype,
        "nodata": unlabelled,
        "crs": None if grid.crs is None else CRS.from_user_input(grid.crs.srs),
        "tiled": True,
        "blockxsize": _BLOCK,
        "blockysize": _BLOCK,
        "compress": "deflate",
        "zlevel": 1,
        "bigtiff": "if_safer",
        **place,
    }
    with rasterio.open(path, "w", height=grid.height, width=grid.width, **profile) as raster:
        raster.set_band_description(1, "class")
        raster.colorinterp = [ColorInterp.palette]
        colors = legend.colors.items()
        raster.write_colormap(1, {number: (*parse_color(color), 255) for number, color in colors})
        for band in grid.window.bands(_WINDOW, _WINDOW):
            for window in band:
                labels = values[read(window)]
                counts += np.bincount(labels.ravel(), minlength=len(counts))
                where = RasterWindow(window.col, window.row, window.width, window.height)
                raster.write(labels, 1, window=where)
            progress.step(band[0].row_stop, grid.height)
    return counts


def _block_side(height: int, width: int) -> int:
    """Return a block size that no large level's width equals: such a level passes for striped."""
    widths = set()
    while max(height, width) > _BLOCK:
        widths.add(width)
        height, width = -(-height // 2), -(-width // 2)
    return next(
        side for side in (_BLOCK, _BLOCK // 2, _BLOCK // 4, 2 * _BLOCK) if side not in widths
    )


def _copy_optimized(source: Path, path: Path, side: int) -> None:
    # The mode of a neighbourhood is a class that is there; an average of ids would be none.
    rasterio.shutil.copy(
        source,
        path,
        driver="COG",
        blocksize=side,
        compress="DEFLATE",
        overview_resampling="MODE",
        bigtiff="IF_SAFER",
    )


def _check_counts(path: Path, expected: NDArray[np.int64]) -> None:
    """Read the raster again: GDAL does not tell of every write that a full disk swallowed."""
    counts = np.zeros_like(expected)
    with rasterio.open(path) as raster:
        for _, window in raster.block_windows(1):
            counts += np.bincount(raster.read(1, window=window).ravel(), minlength=len(counts))
    if not np.array_equal(counts, expected):
        raise OutputError(f"cannot write {path.parent}: the disk lost part of the raster")


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def _remove_journals(path: Path) -> None:
    for suffix in ("-journal", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _to_json(value: object) -> object:
    """Turn what a record may hold into what JSON has."""
    if isinstance(value, Mapping):
        return {str(key): _to_json(item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return _to_json(asdict(value))
    if isinstance(value, list | tuple | np.ndarray):
        return [_to_json(item) for item in value]
    if isinstance(value, np.generic):
        return _to_json(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value
