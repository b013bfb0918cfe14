"""The exemplars of a scene's classes, of all segments whose class nobody has chosen by hand."""

from __future__ import annotations

import numpy as np

from ..classes.exemplars import Candidates, Exemplars, choose_exemplars
from ..classes.model import ClassModel
from ..outputs.geopackage import SegmentTable
from ..segments.table import Segments
from .edits import Edits
from .library import batches


def find_exemplars(
    model: ClassModel | None, segments: Segments, table: SegmentTable, edits: Edits
) -> Exemplars:
    """Choose the segments that show what each class is.

    Parameters
    ----------
    model : ClassModel or None
        The one whose classes the table has; None where there are no segments.
    segments : Segments
    table : SegmentTable
        A row for each of them, in their order; a negative class for none.
    edits : Edits
        Segments with a class given by hand, which says nothing of their features.
    """
    parts = batches(segments.features) if model is not None and len(segments) else []
    distance = [model.distances(part) for part in parts if model is not None]
    candidates = Candidates(
        table.segment_id,
        table.class_id,
        table.area_px,
        table.confidence,
        np.concatenate([*distance, np.zeros(0, np.float32)]),
    )
    chosen = ~np.isin(table.segment_id, edits.segment_id) & (table.class_id >= 0)
    return choose_exemplars(candidates.take(chosen))
