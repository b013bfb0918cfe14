"""The layer `segments` of a GeoPackage as it is now, read through SQLite without GDAL."""

from __future__ import annotations

import sqlite3
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from .._columns import Columns

# Rows whose geometries are in memory at once.
_CHUNK = 10_000
_QUERY = "SELECT fid, segment_id, class_id, class_name, confidence, geometry FROM segments"
# Numbers that are in an envelope, by the code in a geometry's flags.
_ENVELOPES = {1: 4, 2: 6, 3: 6, 4: 8}
_NOWHERE = (float("nan"),) * 4

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True)
class SegmentRows(Columns):
    """The rows of a layer `segments`, in the order of their feature ids.

    Attributes
    ----------
    fid : ndarray of int64, shape (n,)
    segment_id, class_id : ndarray of int64, shape (n,)
        -1 where there is no whole number.
    name : ndarray of int32, shape (n,)
        Place in `names`.
    names : list of str or None
    confidence : ndarray of float64, shape (n,)
        NaN where not known.
    outline : ndarray of int64, shape (n,)
        Checksum of the geometry; -1 where there is none.
    bounds : ndarray of float64, shape (n, 4)
        Min x, min y, max x, max y; NaN where there is no geometry.
    """

    fid: NDArray[np.int64]
    segment_id: NDArray[np.int64]
    class_id: NDArray[np.int64]
    name: NDArray[np.int32]
    names: list[str | None]
    confidence: NDArray[np.float64]
    outline: NDArray[np.int64]
    bounds: NDArray[np.float64]

    @property
    def is_first(self) -> NDArray[np.bool_]:
        """True where no row before has the same segment: parts that were cut off come later."""
        first = np.zeros(len(self), bool)
        first[np.unique(self.segment_id, return_index=True)[1]] = True
        return first & (self.segment_id >= 0)


def read_rows(database: sqlite3.Connection) -> SegmentRows:
    """Read all rows; their geometries are in memory in parts only.

    Raises
    ------
    sqlite3.Error
        If there is no such layer, or it lacks one of our columns.
    """
    codes: dict[str | None, int] = {}
    parts = [_columns(rows, codes) for rows in _chunks(database)]
    parts = parts or [_columns([], codes)]
    fid, segment_id, class_id, name, confidence, outline, bounds = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    return SegmentRows(fid, segment_id, class_id, name, list(codes), confidence, outline, bounds)


def _chunks(database: sqlite3.Connection) -> Iterator[list[tuple[object, ...]]]:
    cursor = database.execute(f"{_QUERY} ORDER BY fid")
    while rows := cursor.fetchmany(_CHUNK):
        yield rows


def _columns(
    rows: list[tuple[object, ...]], codes: dict[str | None, int]
) -> tuple[NDArray[np.generic], ...]:
    fids, segments, classes, names, confidences, blobs = (
        zip(*rows, strict=True) if rows else [()] * 6
    )
    texts = (name if isinstance(name, str) else None for name in names)
    known = [float(value) if isinstance(value, int | float) else np.nan for value in confidences]
    geometries = [blob if isinstance(blob, bytes) else None for blob in blobs]
    return (
        np.array(fids, np.int64),
        np.array([_whole(value) for value in segments], np.int64),
        np.array([_whole(value) for value in classes], np.int64),
        np.array([codes.setdefault(text, len(codes)) for text in texts], np.int32),
        np.array(known, np.float64),
        np.array([-1 if blob is None else zlib.crc32(blob) for blob in geometries], np.int64),
        np.array([envelope(blob) for blob in geometries], np.float64).reshape(-1, 4),
    )


def _whole(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else -1


def envelope(blob: bytes | None) -> Bounds:
    """Return min x, min y, max x and max y of a geometry in GeoPackage's coding."""
    if blob is None or len(blob) < 8 or blob[3] & 16:
        return _NOWHERE
    numbers = _ENVELOPES.get(blob[3] >> 1 & 7)
    if numbers is None:
        min_x, min_y, max_x, max_y = shapely.from_wkb(blob[8:]).bounds
        return min_x, min_y, max_x, max_y
    order = "<" if blob[3] & 1 else ">"
    min_x, max_x, min_y, max_y = struct.unpack_from(f"{order}4d", blob, 8)
    return min_x, min_y, max_x, max_y


def add_functions(database: sqlite3.Connection) -> None:
    """Give SQLite the functions that the triggers of GDAL's spatial index call."""

    def bound(place: int) -> object:
        return lambda blob: envelope(blob)[place]

    database.create_function(
        "ST_IsEmpty", 1, lambda blob: int(np.isnan(envelope(blob)[0])), deterministic=True
    )
    for place, name in enumerate(("ST_MinX", "ST_MinY", "ST_MaxX", "ST_MaxY")):
        database.create_function(name, 1, bound(place), deterministic=True)  # type: ignore[arg-type]


def extents_of(
    class_id: NDArray[np.integer], bounds: NDArray[np.float64]
) -> dict[int, NDArray[np.float64]]:
    """Return min x, min y, max x, max y over the rows of each class.

    Parameters
    ----------
    class_id : ndarray of int, shape (n,)
    bounds : ndarray of float64, shape (n, 4)
    """
    somewhere = ~np.isnan(bounds).any(axis=1)
    class_id, bounds = class_id[somewhere], bounds[somewhere]
    order = np.argsort(class_id, kind="stable")
    found, starts = np.unique(class_id[order], return_index=True)
    if not len(found):
        return {}
    low = np.minimum.reduceat(bounds[order, :2], starts)
    high = np.maximum.reduceat(bounds[order, 2:], starts)
    return dict(zip(found.tolist(), np.hstack([low, high]), strict=True))
