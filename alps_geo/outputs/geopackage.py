"""The GeoPackage of a scene's results: segments, a layer per class, the classes, and their styles.

Features are written through GDAL; what GDAL has no words for - views and styles - through SQLite.
"""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray

from .._columns import Columns
from ..classes.exemplars import Exemplars
from ..classes.legend import Legend
from ..progress import NoProgress, Progress
from ..scenes.grid import Grid
from ..segments.polygons import Polygons
from .class_layers import (
    GEOMETRY,
    make_styles,
    style_digests,
    view_sql,
    write_classes,
    write_styles,
    write_views,
)
from .exemplar_layer import exemplars_sql, write_exemplars
from .marks import Marks, Origin, Written, digest, write_marks
from .rows import extents_of, read_rows

# Features that are written at once.
_CHUNK = 20_000


@dataclass(frozen=True)
class SegmentTable(Columns):
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


def write_layers(
    path: Path,
    polygons: Iterable[Polygons],
    table: SegmentTable,
    legend: Legend,
    grid: Grid,
    *,
    origin: Origin | None = None,
    masks: Iterable[MaskTable] | None = None,
    exemplars: Exemplars | None = None,
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
    origin : Origin, optional
        Noted in the file.
    masks : iterable of MaskTable, optional
        Makes the layer `masks`.
    exemplars : Exemplars, optional
        Makes the layer `exemplars`.
    progress : Progress, optional
        Is told the segments that are done.
    """
    progress = progress or NoProgress()
    done = 0
    for part in _cut(polygons):
        rows = np.searchsorted(table.segment_id, part.segment_id)
        _append(path, "segments", part.geometry, _segment_columns(part, table, rows, legend), grid)
        done += len(part)
        progress.step(done, len(table))
    if masks is not None:
        _write_masks(path, masks, grid)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE INDEX segments_class_id ON segments (class_id)")
        known = origin or Origin()
        _write_classes(database, table, legend, known, exemplars, masks=masks is not None)


def _write_classes(
    database: sqlite3.Connection,
    table: SegmentTable,
    legend: Legend,
    origin: Origin,
    exemplars: Exemplars | None,
    *,
    masks: bool,
) -> None:
    rows = read_rows(database)
    layers = write_views(database, legend, {}, extents_of(rows.class_id, rows.bounds))
    shown = write_exemplars(database, exemplars, rows)
    write_classes(database, legend, table.class_id, table.area_px)
    styles = make_styles(legend, layers, masks=masks, exemplars=shown)
    write_styles(database, styles, {})
    views = view_digests(layers, shown)
    marks = Marks(origin, legend, views, style_digests(styles))
    write_marks(database, marks, Written(rows.segment_id, rows.class_id, rows.outline))


def view_digests(layers: Mapping[int, str], exemplars: str | None) -> dict[str, str]:
    """Return what tells our views from those that somebody has changed, by their names.

    Parameters
    ----------
    layers : mapping of int to str
        The layer of each class.
    exemplars : str or None
        The layer of exemplars.
    """
    views = {name: digest(view_sql(name, number)) for number, name in layers.items()}
    return views if exemplars is None else {**views, exemplars: digest(exemplars_sql(exemplars))}


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
        options["layer_options"] = {"GEOMETRY_NAME": GEOMETRY, "SPATIAL_INDEX": "YES"}
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
