"""What a report says of a scene, made of the run folder and of the class of each segment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..classes.exemplars import KINDS, Exemplars
from ..classes.model import ClassModel
from ..errors import ModelError
from ..outputs.geopackage import SegmentTable
from ..outputs.reading import read_given_classes
from ..reporting.sources import ClassSize, Exemplar, ReadLabels, SceneSource
from ..scenes.scene import Scene
from .assembly import SceneRun
from .edits import load_edits
from .exemplars import find_exemplars


def describe_scene(
    part: SceneRun, table: SegmentTable, exemplars: Exemplars, scene: Scene | None
) -> SceneSource:
    """Return what a report says of a scene.

    Parameters
    ----------
    part : SceneRun
    table : SegmentTable
        A row for each segment; a negative class for none.
    exemplars : Exemplars
    scene : Scene or None
        With its stretch.
    """
    return SceneSource(
        part.stem,
        part.grid,
        _measure_sizes(part, table),
        _find_outlines(part, table, exemplars),
        _label_reader(part, table),
        scene,
    )


def read_tables(part: SceneRun, package: Path, classes: Path) -> tuple[SegmentTable, Exemplars]:
    """Return the segments of a scene with the classes that its package says, and their exemplars.

    Parameters
    ----------
    part : SceneRun
    package, classes : Path
        GeoPackage and class model among the results.
    """
    segments = part.load_segments()
    segment_id, class_id, confidence = read_given_classes(package)
    rows = np.searchsorted(segments.segment_id, segment_id)
    there = rows < len(segments)
    there[there] = segments.segment_id[rows[there]] == segment_id[there]
    # Segments that somebody deleted have none.
    given, sure = np.full(len(segments), -1, np.int64), np.full(len(segments), np.nan, np.float32)
    # Of a segment that was cut up, the first part counts.
    for column, values in ((given, class_id), (sure, confidence)):
        column[rows[there][::-1]] = values[there][::-1]
    table = SegmentTable(
        segments.segment_id,
        given,
        segments.area_px,
        segments.predicted_iou,
        segments.stability,
        sure,
    )
    try:
        model = ClassModel.load(classes) if len(segments) else None
    except ModelError:
        # Exemplars are what a page can do without.
        return table, Exemplars(*np.zeros((4, 0), np.int64))
    return table, find_exemplars(model, segments, table, load_edits(part.folder))


def _measure_sizes(part: SceneRun, table: SegmentTable) -> list[ClassSize]:
    """Add up the segments of each class."""
    segment_id, area_m2 = part.load_areas()
    areas = np.full(len(table), np.nan)
    rows = np.searchsorted(table.segment_id, segment_id)
    areas[rows] = area_m2
    found, first = np.unique(table.class_id, return_inverse=True)
    segments = np.bincount(first, minlength=len(found))
    pixels = np.bincount(first, table.area_px, len(found))
    ground = np.bincount(first, np.nan_to_num(areas), len(found))
    known = ~np.isnan(table.confidence)
    weights = np.where(known, table.area_px, 0)
    sure = np.bincount(first, weights * np.nan_to_num(table.confidence), len(found))
    total = np.bincount(first, weights, len(found))
    return [
        ClassSize(
            int(number),
            int(segments[at]),
            int(pixels[at]),
            None if part.grid.areas is None else float(ground[at]),
            float(sure[at] / total[at]) if total[at] else None,
        )
        for at, number in enumerate(found)
        if number >= 0
    ]


def _find_outlines(part: SceneRun, table: SegmentTable, exemplars: Exemplars) -> list[Exemplar]:
    outlines = part.load_outlines(exemplars.segment_id)
    sure = table.confidence[np.searchsorted(table.segment_id, exemplars.segment_id)].tolist()
    columns = [column.tolist() for column in vars(exemplars).values()]
    return [
        Exemplar(class_id, KINDS[kind], rank, number, confidence, outlines[number])
        for number, class_id, kind, rank, confidence in zip(*columns, sure, strict=True)
        if number in outlines
    ]


def _label_reader(part: SceneRun, table: SegmentTable) -> ReadLabels:
    lookup = np.full(int(table.segment_id.max(initial=0)) + 1, -1, np.int64)
    lookup[table.segment_id] = table.class_id

    def read(height: int, width: int) -> NDArray[np.int64]:
        """Return class ids of single pixels, evenly spread."""
        return lookup[part.segment_raster.read_thinned(height, width)]

    return read
