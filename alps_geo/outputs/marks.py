"""What in a GeoPackage is this program's own: a note of what it wrote, in tables of the file.

The note is written in the transaction that writes the rest, so it always tells of what is there.
Whatever differs from it was changed by somebody else, and is theirs.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..classes.legend import Legend

MARKS_TABLE, WRITTEN_TABLE = "alps_geo_marks", "alps_geo_segments"
EXEMPLARS_TABLE = "alps_geo_exemplars"
_TABLES = f"""
CREATE TABLE IF NOT EXISTS {MARKS_TABLE} (id INTEGER PRIMARY KEY, content TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS {WRITTEN_TABLE} (
    segment_id INTEGER PRIMARY KEY NOT NULL, class_id INTEGER NOT NULL, outline INTEGER NOT NULL
);
"""


@dataclass(frozen=True)
class Origin:
    """What the segments and the classes in a package come from.

    Attributes
    ----------
    run : str
        Tells these segments from those of another run, or of other tiles.
    model : str
        Checksum of the class model; empty where there is none.
    """

    run: str = ""
    model: str = ""


@dataclass(frozen=True)
class Marks:
    """What this program wrote last, besides features.

    Attributes
    ----------
    origin : Origin
    legend : Legend
    views : mapping of str to str
        The layers of classes and exemplars, and the digests of their views.
    styles : mapping of str to str
        Layers, and the digest of the style of each.
    """

    origin: Origin
    legend: Legend
    views: Mapping[str, str] = field(default_factory=dict)
    styles: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Written:
    """The classes and outlines that this program wrote, a row per segment.

    Attributes
    ----------
    segment_id, class_id : ndarray of int64, shape (n,)
        Segments ascending.
    outline : ndarray of int64, shape (n,)
        Checksum of the geometry; -1 where there is none.
    """

    segment_id: NDArray[np.int64]
    class_id: NDArray[np.int64]
    outline: NDArray[np.int64]


def digest(*texts: str | None) -> str:
    """Return what tells texts from others."""
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:32]


def write_marks(database: sqlite3.Connection, marks: Marks, written: Written) -> None:
    """Note what was written; to be called in the transaction that writes it.

    Parameters
    ----------
    database : sqlite3.Connection
    marks : Marks
    written : Written
    """
    legend = marks.legend
    content: dict[str, Any] = {
        "origin": asdict(marks.origin),
        "size": legend.size,
        "classes": legend.to_records(),
        "views": dict(marks.views),
        "styles": dict(marks.styles),
    }
    for statement in _TABLES.split(";"):
        database.execute(statement)
    database.execute(
        f"INSERT OR REPLACE INTO {MARKS_TABLE} VALUES (1, ?)",  # nosec B608
        (json.dumps(content, ensure_ascii=False),),
    )
    database.execute(f"DELETE FROM {WRITTEN_TABLE}")  # nosec B608
    columns = (written.segment_id, written.class_id, written.outline)
    database.executemany(
        f"INSERT OR IGNORE INTO {WRITTEN_TABLE} VALUES (?, ?, ?)",  # nosec B608
        zip(*(column.tolist() for column in columns), strict=True),
    )


def read_marks(database: sqlite3.Connection) -> Marks | None:
    """Return the note; None where an earlier version, or another program, wrote the file."""
    if not has_table(database, MARKS_TABLE) or not has_table(database, WRITTEN_TABLE):
        return None
    row = database.execute(f"SELECT content FROM {MARKS_TABLE}").fetchone()  # nosec B608
    if row is None:
        return None
    content = json.loads(row[0])
    return Marks(
        Origin(**content["origin"]),
        Legend.restore(content["size"], content["classes"]),
        content["views"],
        content["styles"],
    )


def read_written(database: sqlite3.Connection) -> Written:
    """Return the classes and outlines that were noted."""
    rows = database.execute(
        f"SELECT segment_id, class_id, outline FROM {WRITTEN_TABLE} ORDER BY 1"  # nosec B608
    ).fetchall()
    return Written(*np.array(rows, np.int64).reshape(-1, 3).T)


def has_table(database: sqlite3.Connection, name: str) -> bool:
    """Return whether a table or a view of this name is there, in whatever case."""
    query = "SELECT 1 FROM sqlite_master WHERE lower(name) = lower(?) AND type IN ('table', 'view')"
    return database.execute(query, (name,)).fetchone() is not None
