"""The layer `exemplars` of a GeoPackage: the segments that show what each class is.

As the layers of classes it is a view of `segments`, so that geometry, class and name are always
theirs; which segments these are stands in a table of our own.
"""

from __future__ import annotations

import sqlite3

import numpy as np

from ..classes.exemplars import KINDS, Exemplars
from .class_layers import GEOMETRY, free_name, register_view, set_contents
from .marks import EXEMPLARS_TABLE
from .rows import SegmentRows, extents_of

LAYER = "exemplars"
_DESCRIPTION = "Typical, borderline and odd segments of each class"
_TABLE = f"""
CREATE TABLE IF NOT EXISTS {EXEMPLARS_TABLE} (
    fid INTEGER PRIMARY KEY NOT NULL, kind TEXT NOT NULL, rank INTEGER NOT NULL
)
"""


def exemplars_sql(name: str) -> str:
    """Return the statement that makes the layer."""
    own = "segment_id", "class_id", "class_name", "area_m2", "area_px", "confidence"
    # GDAL takes this name for a view's feature ids.
    columns = ["segments.fid AS OGC_FID", *(f"segments.{column}" for column in (GEOMETRY, *own))]
    return (
        f"CREATE VIEW {name} AS SELECT {', '.join(columns)}, chosen.kind, chosen.rank"  # nosec B608
        f" FROM {EXEMPLARS_TABLE} AS chosen JOIN segments ON segments.fid = chosen.fid"
    )


def write_exemplars(
    database: sqlite3.Connection, exemplars: Exemplars | None, rows: SegmentRows
) -> str | None:
    """Make the layer; the one that was there must be gone.

    Parameters
    ----------
    database : sqlite3.Connection
    exemplars : Exemplars or None
    rows : SegmentRows
        Of the layer `segments`.

    Returns
    -------
    str or None
        Its name: another one than `exemplars` where somebody has given that to a layer of theirs.
        None where there are no exemplars.
    """
    if exemplars is None:
        return None
    database.execute(_TABLE)
    database.execute(f"DELETE FROM {EXEMPLARS_TABLE}")  # nosec B608
    first = np.flatnonzero(rows.is_first)
    places = dict(zip(rows.segment_id[first].tolist(), first.tolist(), strict=True))
    chosen = [
        (places[number], KINDS[kind], rank)
        for number, kind, rank in zip(
            *(column.tolist() for column in (exemplars.segment_id, exemplars.kind, exemplars.rank)),
            strict=True,
        )
        if number in places
    ]
    database.executemany(
        f"INSERT INTO {EXEMPLARS_TABLE} (fid, kind, rank) VALUES (?, ?, ?)",  # nosec B608
        [(int(rows.fid[place]), kind, rank) for place, kind, rank in chosen],
    )
    name = free_name(database, LAYER, ())
    database.execute(exemplars_sql(name))
    register_view(database, name)
    bounds = rows.bounds[[place for place, _, _ in chosen]].reshape(-1, 4)
    extents = extents_of(np.zeros(len(bounds), np.int64), bounds)
    set_contents(database, name, _DESCRIPTION, extents.get(0, np.full(4, np.nan)))
    return name
