"""The GeoPackage of a scene's results: segments, a layer per class, the classes, and their styles.

Features are written through GDAL; what GDAL has no words for - views and styles - through SQLite.
"""

from __future__ import annotations

import re
import sqlite3
import unicodedata
import warnings
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray

from .grid import Grid
from .legend import Legend
from .polygons import Polygons
from .progress import NoProgress, Progress
from .styles import LayerStyle, class_style, masks_style, segments_style

# Features that are written at once.
_CHUNK = 20_000
_GEOMETRY = "geometry"
_VIEW_COLUMNS = (
    "segment_id",
    "class_id",
    "class_name",
    "area_m2",
    "area_px",
    "predicted_iou",
    "stability",
    "confidence",
)
_LAYER_STYLES = """
CREATE TABLE layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    f_table_catalog TEXT(256), f_table_schema TEXT(256), f_table_name TEXT(256),
    f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT,
    useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30),
    update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
)
"""
_CLASSES = """
CREATE TABLE classes (
    fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, class_id INTEGER NOT NULL UNIQUE,
    name TEXT NOT NULL, color TEXT NOT NULL, segments INTEGER NOT NULL, area_px INTEGER NOT NULL,
    share REAL
)
"""


@dataclass(frozen=True)
class SegmentTable:
    """What is known of segments, a row per segment.

    Attributes
    ----------
    segment_id : ndarray of uint32, shape (n,)
        Ascending.
    class_id : ndarray of int, shape (n,)
    area_px : ndarray of int64, shape (n,)
    predicted_iou, stability, confidence : ndarray of float32, shape (n,)
        From 0 to 1; NaN where not known.
    """

    segment_id: NDArray[np.uint32]
    class_id: NDArray[np.integer]
    area_px: NDArray[np.int64]
    predicted_iou: NDArray[np.float32]
    stability: NDArray[np.float32]
    confidence: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.segment_id)


@dataclass(frozen=True)
class MaskTable:
    """Accepted masks with their whole outlines, overlaps kept, a row per mask.

    Attributes
    ----------
    mask_id, parent_id : ndarray of int64, shape (n,)
        The mask, and the smallest mask it lies in; 0 where there is none.
    area_px : ndarray of int64, shape (n,)
    predicted_iou, stability : ndarray of float32, shape (n,)
    geometry : ndarray of shapely.MultiPolygon, shape (n,)
        In ground coordinates.
    """

    mask_id: NDArray[np.int64]
    parent_id: NDArray[np.int64]
    area_px: NDArray[np.int64]
    predicted_iou: NDArray[np.float32]
    stability: NDArray[np.float32]
    geometry: NDArray[np.object_]


def layer_name(legend: Legend, class_id: int) -> str:
    """Return the name of a class's layer: its id and what is left of its name in plain letters.

    Parameters
    ----------
    legend : Legend
    class_id : int

    Returns
    -------
    str
        Such as `class_03` or `class_03_bare_soil`: lower-case ASCII letters, digits and `_`.
    """
    plain = legend.default_name(class_id)
    if class_id not in legend.own_names:
        return plain
    letters = unicodedata.normalize("NFKD", legend.names[class_id].casefold())
    ascii_only = letters.encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "_", ascii_only).strip("_")[:40].rstrip("_")
    return f"{plain}_{slug}" if slug and slug != plain else plain


def write_layers(
    path: Path,
    polygons: Iterable[Polygons],
    table: SegmentTable,
    legend: Legend,
    grid: Grid,
    *,
    masks: Iterable[MaskTable] | None = None,
    progress: Progress | None = None,
) -> None:
    """Write a new GeoPackage with all layers.

    Parameters
    ----------
    path : Path
        Must not exist.
    polygons : iterable of Polygons
        In parts, so that not all need to be in memory at once.
    table : SegmentTable
        Has a row for every polygon.
    legend : Legend
    grid : Grid
        Tells the CRS.
    masks : iterable of MaskTable, optional
        Makes the layer `masks`.
    progress : Progress, optional
        Is told the segments that are done.
    """
    progress = progress or NoProgress()
    extents: dict[int, NDArray[np.float64]] = {}
    done = 0
    for part in _cut(polygons):
        rows = np.searchsorted(table.segment_id, part.segment_id)
        class_id = table.class_id[rows]
        _append(path, "segments", part.geometry, _segment_columns(part, table, rows, legend), grid)
        _widen(extents, class_id, part.geometry)
        done += len(part)
        progress.step(done, len(table))
    if masks is not None:
        _write_masks(path, masks, grid)
    with closing(sqlite3.connect(path)) as database, database:
        _add_class_layers(database, legend, extents)
        _add_classes(database, legend, table)
        _add_styles(database, legend, with_masks=masks is not None)


def _cut(polygons: Iterable[Polygons]) -> Iterator[Polygons]:
    """Yield non-empty parts of limited size; one empty part where there is nothing at all."""
    empty = True
    for part in polygons:
        for start in range(0, len(part), _CHUNK):
            chosen = slice(start, start + _CHUNK)
            empty = False
            yield Polygons(part.segment_id[chosen], part.geometry[chosen], part.area_m2[chosen])
    if empty:
        # A layer without features is still a layer.
        yield Polygons.concatenate([])


def _segment_columns(
    part: Polygons, table: SegmentTable, rows: NDArray[np.int64], legend: Legend
) -> dict[str, NDArray[Any]]:
    class_id, names = table.class_id[rows], legend.names
    return {
        "segment_id": part.segment_id.astype(np.int64),
        "class_id": class_id.astype(np.int32),
        "class_name": np.array([names[number] for number in class_id.tolist()], object),
        "area_m2": part.area_m2,
        "area_px": table.area_px[rows].astype(np.int64),
        "predicted_iou": table.predicted_iou[rows].astype(np.float64),
        "stability": table.stability[rows].astype(np.float64),
        "confidence": table.confidence[rows].astype(np.float64),
    }


def _write_masks(path: Path, masks: Iterable[MaskTable], grid: Grid) -> None:
    nothing = np.zeros(0, np.int64)
    unknown = np.zeros(0, np.float32)
    empty = MaskTable(nothing, nothing, nothing, unknown, unknown, np.zeros(0, object))
    for part in chain([empty], masks):
        columns = {
            "mask_id": part.mask_id.astype(np.int64),
            "parent_id": part.parent_id.astype(np.int64),
            "area_px": part.area_px.astype(np.int64),
            "predicted_iou": part.predicted_iou.astype(np.float64),
            "stability": part.stability.astype(np.float64),
        }
        _append(path, "masks", part.geometry, columns, grid)


def _append(
    path: Path,
    layer: str,
    geometry: NDArray[np.object_],
    columns: dict[str, NDArray[Any]],
    grid: Grid,
) -> None:
    """Add features to a layer, and the layer and the file where they are missing."""
    missing = not path.exists() or layer not in pyogrio.list_layers(path)[:, 0]
    options: dict[str, Any] = {}
    if missing:
        options["layer_options"] = {"GEOMETRY_NAME": _GEOMETRY, "SPATIAL_INDEX": "YES"}
        if grid.crs is None:
            # The GeoPackage standard's number for planar coordinates of an unknown system.
            options["layer_options"]["SRID"] = "-1"
    if not path.exists():
        # QGIS 3.22 warns of the version that GDAL would take.
        options["dataset_options"] = {"VERSION": "1.3"}
    with warnings.catch_warnings():
        # pyogrio warns of layers without a CRS; so did we, when the scene was opened.
        warnings.filterwarnings("ignore", ".*'crs' was not provided.*", UserWarning)
        pyogrio.raw.write(
            path,
            shapely.to_wkb(geometry),
            list(columns.values()),
            list(columns),
            layer=layer,
            driver="GPKG",
            geometry_type="MultiPolygon",
            crs=None if grid.crs is None else grid.crs.srs,
            append=not missing,
            **options,
        )


def _widen(
    extents: dict[int, NDArray[np.float64]],
    class_id: NDArray[np.integer],
    geometry: NDArray[np.object_],
) -> None:
    """Stretch the extent (min x, min y, max x, max y) of each class over more features."""
    bounds = shapely.bounds(geometry)
    for number in np.unique(class_id).tolist():
        chosen = bounds[class_id == number]
        if number in extents:
            chosen = np.vstack([chosen, extents[number]])
        extents[number] = np.append(chosen[:, :2].min(axis=0), chosen[:, 2:].max(axis=0))


def _add_class_layers(
    database: sqlite3.Connection, legend: Legend, extents: dict[int, NDArray[np.float64]]
) -> None:
    """Register a view on `segments` for each class, as GeoPackage allows for layers."""
    database.execute("CREATE INDEX segments_class_id ON segments (class_id)")
    (srs_id,) = database.execute(
        "SELECT srs_id FROM gpkg_contents WHERE table_name = 'segments'"
    ).fetchone()
    for class_id in legend.ids:
        name = layer_name(legend, class_id)
        # GDAL takes this name for a view's feature ids.
        columns = ", ".join(("fid AS OGC_FID", _GEOMETRY, *_VIEW_COLUMNS))
        database.execute(
            # All parts are ours: the name has no other letters than a-z, 0-9 and _.
            f"CREATE VIEW {name} AS SELECT {columns} FROM segments"  # nosec B608
            f" WHERE class_id = {class_id:d}"
        )
        extent = extents.get(class_id, np.full(4, np.nan)).tolist()
        database.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, min_x,"
            " min_y, max_x, max_y, srs_id) VALUES (?, 'features', ?, ?, ?, ?, ?, ?, ?)",
            (name, name, legend.names[class_id], *extent, srs_id),
        )
        database.execute(
            "INSERT INTO gpkg_geometry_columns VALUES (?, ?, 'MULTIPOLYGON', ?, 0, 0)",
            (name, _GEOMETRY, srs_id),
        )


def _add_classes(database: sqlite3.Connection, legend: Legend, table: SegmentTable) -> None:
    size = legend.size
    segments = np.bincount(table.class_id, minlength=size)
    pixels = np.zeros(size, np.int64)
    np.add.at(pixels, table.class_id, table.area_px)
    total = int(pixels.sum())
    database.execute(_CLASSES)
    database.executemany(
        "INSERT INTO classes (class_id, name, color, segments, area_px, share)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        [
            (
                number,
                legend.names[number],
                legend.colors[number],
                int(segments[number]),
                int(pixels[number]),
                int(pixels[number]) / total if total else None,
            )
            for number in legend.ids
        ],
    )
    _register_attributes(database, "classes", "Names, colours and sizes of the classes")


def _add_styles(database: sqlite3.Connection, legend: Legend, *, with_masks: bool) -> None:
    styles = {"segments": segments_style(legend)}
    styles |= {layer_name(legend, number): class_style(legend, number) for number in legend.ids}
    if with_masks:
        styles["masks"] = masks_style()
    database.execute(_LAYER_STYLES)
    database.executemany(
        "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name,"
        " f_geometry_column, styleName, styleQML, styleSLD, useAsDefault, description, owner)"
        " VALUES ('', '', ?, ?, 'classes', ?, ?, 1, 'Class colours of alps-geo', '')",
        [_style_row(layer, style) for layer, style in styles.items()],
    )
    _register_attributes(database, "layer_styles", "Styles for QGIS")


def _style_row(layer: str, style: LayerStyle) -> tuple[str, str, str, str]:
    return layer, _GEOMETRY, style.qml, style.sld


def _register_attributes(database: sqlite3.Connection, table: str, description: str) -> None:
    database.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, srs_id)"
        " VALUES (?, 'attributes', ?, ?, 0)",
        (table, table, description),
    )
