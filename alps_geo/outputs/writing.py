"""What a run leaves for others: label rasters, GeoPackages, the record; the only writer of results.

Every file is written under a temporary name in its own folder and then renamed, so that a result
is either complete or not there.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._files import replacing
from .._redaction import redact
from ..classes.exemplars import Exemplars
from ..classes.legend import Legend
from ..errors import OutputError
from ..progress import Progress
from ..scenes.crs import require_package_crs
from ..scenes.grid import Grid
from ..segments.polygons import Polygons
from .files import explaining, write_text
from .geopackage import MaskTable, SegmentTable, write_layers
from .label_raster import unlabelled_value, write_labels
from .marks import Origin
from .revision import Revision

__all__ = [
    "MaskTable",
    "SegmentTable",
    "commit_package",
    "open_package",
    "revise_package",
    "unlabelled_value",
    "write_labels",
    "write_package",
    "write_record",
]


def write_package(
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
    origin : Origin, optional
        Noted in the file.
    masks : iterable of MaskTable, optional
        In parts; makes the layer `masks`.
    exemplars : Exemplars, optional
        Makes the layer `exemplars`.
    progress : Progress, optional
        Is told the segments that are done.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    with explaining(path), replacing(path) as temporary:
        temporary.unlink(missing_ok=True)
        try:
            write_layers(
                temporary,
                polygons,
                table,
                legend,
                grid,
                origin=origin,
                masks=masks,
                exemplars=exemplars,
                progress=progress,
            )
            require_package_crs(temporary, grid)
        finally:
            _remove_journals(temporary)
        # What a program that has the old file open keeps beside it must not meet the new one.
        _remove_journals(path)


def revise_package(
    revision: Revision,
    table: SegmentTable,
    legend: Legend,
    origin: Origin,
    heirs: Mapping[int, int],
    exemplars: Exemplars | None = None,
) -> list[str]:
    """Bring a GeoPackage up to date; nothing is true before `commit_package`.

    Parameters
    ----------
    revision : Revision
    table : SegmentTable
    legend : Legend
    origin : Origin
    heirs : mapping of int to int
        The new class for each class that there was, for features that users added.
    exemplars : Exemplars, optional

    Returns
    -------
    list of str
        Layers whose styles are the user's, and were left alone.

    Raises
    ------
    OutputError
        If the file cannot be written; it is then as it was.
    """
    try:
        with explaining(revision.path):
            return revision.update(table, legend, origin, heirs, exemplars)
    except OutputError:
        revision.close()
        raise


def commit_package(revision: Revision) -> None:
    """Make all that `revise_package` did true at once; nothing that users made is lost.

    Raises
    ------
    OutputError
        If the file cannot be written; it is then as it was.
    """
    try:
        with explaining(revision.path):
            revision.commit()
    finally:
        revision.close()


def open_package(path: Path) -> Revision | None:
    """Open a GeoPackage to bring it up to date; None where there is no such file, or no database.

    Raises
    ------
    OutputError
        If it cannot be written, as another program is writing to it.
    """
    if not path.exists():
        return None
    with explaining(path):
        try:
            return Revision(path)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            return None


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
    text = json.dumps(to_json(record), indent=2, ensure_ascii=False, allow_nan=False)
    with explaining(path):
        write_text(path, text + "\n")


def _remove_journals(path: Path) -> None:
    for suffix in ("-journal", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def to_json(value: object) -> object:
    """Turn what a record may hold into what JSON has; nothing in it opens doors."""
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return to_json(asdict(value))
    if isinstance(value, list | tuple | np.ndarray):
        return [to_json(item) for item in value]
    if isinstance(value, np.generic):
        return to_json(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str | Path):
        # A name may hold bytes that are no text; nothing in a record may open doors.
        return redact(str(value).encode("utf-8", "backslashreplace").decode())
    return value
