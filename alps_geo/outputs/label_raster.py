"""The label raster: a Cloud-Optimized GeoTIFF with colours, and its sidecars for GDAL and QGIS."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window as RasterWindow

from .._files import replacing
from ..classes.legend import Legend
from ..errors import OutputError
from ..progress import NoProgress, Progress
from ..scenes.crs import require_crs
from ..scenes.grid import Grid
from ..segments.outlines import ReadSegments
from ..segments.painting import bounded_cache
from .files import explaining, set_aside, write_text
from .styles import (
    is_signed,
    merge_sidecars,
    parse_color,
    raster_qml,
    raster_sidecar,
    sign_text,
)

# Side of the raster's own blocks, and of the windows that are written at once.
_BLOCK, _WINDOW = 512, 2048


def unlabelled_value(legend: Legend) -> int:
    """Return the value of pixels without a class: 255, or 65535 where ids need 16 bits."""
    return 255 if legend.size <= 255 else 65535


def write_labels(
    path: Path,
    read: ReadSegments,
    lookup: NDArray[np.integer],
    grid: Grid,
    legend: Legend,
    progress: Progress | None = None,
    *,
    before: Legend | None = None,
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
        Is told the rows that are done, and what of the user's was kept.
    before : Legend, optional
        Of the present style, where an earlier version may have written it.

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
    told = progress or NoProgress()
    sidecar = path.with_name(f"{path.name}.aux.xml")
    with bounded_cache(), explaining(path), replacing(path) as temporary:
        # Names that the cleaner knows, should this be killed.
        source = temporary.with_name(f"{temporary.stem}.source.tif")
        gdal_sidecar = temporary.with_name(f"{temporary.name}.aux.xml")
        try:
            with _without_ground_warnings():
                counts = _write_values(source, read, values, grid, legend, progress)
                _copy_optimized(source, temporary, _block_side(grid.height, grid.width))
                _check_written(temporary, counts, grid)
            sizes = {class_id: int(counts[class_id]) for class_id in legend.ids}
            present = gdal_sidecar.read_text("utf-8") if gdal_sidecar.exists() else None
            _write_sidecar(sidecar, raster_sidecar(legend, sizes, present), told)
            _write_style(path.with_suffix(".qml"), legend, before, told)
        finally:
            for scratch in (source, gdal_sidecar, source.with_name(f"{source.name}.aux.xml")):
                scratch.unlink(missing_ok=True)
    return sizes


@contextmanager
def _without_ground_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        # A scene without georeference gives labels without; that was said when it was opened.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def _write_values(
    path: Path,
    read: ReadSegments,
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


def _check_written(path: Path, expected: NDArray[np.int64], grid: Grid) -> None:
    """Read the raster again: GDAL does not tell of every write that a full disk swallowed."""
    counts = np.zeros_like(expected)
    with rasterio.open(path) as raster:
        require_crs(path, raster.crs.to_wkt() if raster.crs else None, grid)
        for _, window in raster.block_windows(1):
            counts += np.bincount(raster.read(1, window=window).ravel(), minlength=len(counts))
    if not np.array_equal(counts, expected):
        raise OutputError(f"cannot write {path.parent}: the disk lost part of the raster")


def _write_sidecar(path: Path, text: str, told: Progress) -> None:
    """Write a sidecar with what others put into the one that is there."""
    if path.exists():
        text, changed = merge_sidecars(text, path.read_text("utf-8", errors="replace"))
        if changed:
            copy = set_aside(path)
            told.warning(
                f"names or table of the classes in {path.name} were changed by hand: they are"
                f" written anew, and a copy is kept as {copy.name}"
            )
    write_text(path, text)


def _write_style(path: Path, legend: Legend, before: Legend | None, told: Progress) -> None:
    """Write the raster's style, unless somebody has changed the one that is there."""
    if path.exists():
        present = path.read_text("utf-8", errors="replace")
        # Earlier versions did not sign.
        plain = [raster_qml(known) for known in (legend, before) if known is not None]
        if not is_signed(present) and present not in plain:
            told.warning(
                f"{path.name} was changed by hand: it stays as it is, and may not show the present"
                " classes; remove it to have it written anew"
            )
            return
    write_text(path, sign_text(raster_qml(legend)))
