"""What a GeoPackage says of its classes and exemplars, read back for those who describe a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import shapely

from .marks import EXEMPLARS_TABLE, has_table
from .reading import open_database
from .rows import geometry_of

_SIZES = """
SELECT class_id, count(*), sum(area_px), sum(area_m2), sum(confidence * area_px)
 FROM segments WHERE class_id IS NOT NULL AND area_px > 0 GROUP BY class_id ORDER BY class_id
"""
_EXEMPLARS = f"""
SELECT class_id, kind, rank, segment_id, confidence, area_px, area_m2, geometry
 FROM {EXEMPLARS_TABLE} AS chosen JOIN segments ON segments.fid = chosen.fid
 WHERE geometry IS NOT NULL AND class_id IS NOT NULL
 ORDER BY class_id, kind, rank
"""  # nosec B608


@dataclass(frozen=True)
class ClassSize:
    """What the segments of a class are together.

    Attributes
    ----------
    class_id, segments, area_px : int
    area_m2 : float or None
        None where areas are not known.
    confidence : float or None
        Mean over the pixels; None where not known.
    """

    class_id: int
    segments: int
    area_px: int
    area_m2: float | None
    confidence: float | None


@dataclass(frozen=True)
class Exemplar:
    """A segment that shows what its class is.

    Attributes
    ----------
    class_id : int
    kind : str
        See `alps_geo.classes.exemplars`.
    rank, segment_id : int
    confidence : float or None
    area_px : int
    area_m2 : float or None
    outline : shapely.Polygon or shapely.MultiPolygon
        In ground coordinates.
    """

    class_id: int
    kind: str
    rank: int
    segment_id: int
    confidence: float | None
    area_px: int
    area_m2: float | None
    outline: shapely.Geometry


def read_sizes(path: Path) -> list[ClassSize]:
    """Return the sizes of the classes that have segments, by id.

    Raises
    ------
    RunError
        If the package is missing or damaged.
    """
    with open_database(path) as database:
        rows = database.execute(_SIZES).fetchall()
    return [
        ClassSize(number, segments, area_px, area_m2, None if sure is None else sure / area_px)
        for number, segments, area_px, area_m2, sure in rows
    ]


def read_exemplars(path: Path) -> list[Exemplar] | None:
    """Return the exemplars by class, kind and rank; None in packages that know of none.

    Raises
    ------
    RunError
        If the package is missing or damaged.
    """
    with open_database(path) as database:
        if not has_table(database, EXEMPLARS_TABLE):
            return None
        rows = database.execute(_EXEMPLARS).fetchall()
    outlines = shapely.from_wkb([geometry_of(row[-1]) for row in rows], on_invalid="ignore")
    # Users may have given a segment any shape.
    return [
        Exemplar(*(*row[:-1], outline))
        for row, outline in zip(rows, outlines, strict=True)
        if isinstance(outline, shapely.Polygon | shapely.MultiPolygon) and not outline.is_empty
    ]
