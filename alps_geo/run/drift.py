"""How unlike the training scene a scene is that a saved class model is applied to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..classes.model import ClassModel
from ..classes.novelty import DRIFT, Drift
from ..progress import Progress
from ..segments.table import Segments
from .library import batches, predict
from .run import Run


def describe_drift(run: Run, model: ClassModel, progress: Progress) -> dict[str, Any]:
    """Measure how far a run is from the one a class model was made in, and warn where it is far.

    Parameters
    ----------
    run : Run
    model : ClassModel
    progress : Progress

    Returns
    -------
    dict
        For the record: `drift` for each block of features, in standard deviations; of labelled
        pixels and of segments the shares that are unknown (`unknown_share`, `unknown_segments`),
        and that lie beyond the spread of the training scene (`beyond_share`, `beyond_segments`;
        None where the model does not know it).
    """
    segments = [part.load_segments() for part in run.parts]
    drift = Drift(model.spread_)
    for part in segments:
        for batch in batches(part.features):
            drift.add(model.standardise(batch))
    found = drift.by_block(model.schema.names, model.schema.blocks)
    far = [f"{name} {value:.2g}" for name, value in found.items() if value > DRIFT]
    if far:
        progress.warning(
            "this scene does not look like the training scene of the class model: its features are"
            f" {', '.join(far)} standard deviations off (usual is {DRIFT:g} at most); make new"
            " classes, add examples from this scene, or use `reject`"
        )
    return {"drift": found, **_shares(segments, model)}


def _shares(segments: Sequence[Segments], model: ClassModel) -> dict[str, float | None]:
    """Return how much is unknown, and beyond the spread, of the pixels and of the segments."""
    counts = np.zeros((3, 2), np.int64)
    for part in segments:
        class_id = predict(model, part).class_id
        for rows, area_px, classes in zip(
            batches(part.features), batches(part.area_px), batches(class_id), strict=True
        ):
            beyond = model.spread_.is_beyond(model.whiten(rows))
            # No id is as low.
            unknown = classes == (-1 if model.unknown_ is None else model.unknown_)
            for row, chosen in enumerate((np.ones(len(rows), bool), unknown, beyond)):
                counts[row] += int(area_px[chosen].sum()), int(chosen.sum())
    shares = (counts[1:] / np.maximum(counts[0], 1)).round(5)
    (unknown_px, unknown_n), (beyond_px, beyond_n) = shares.tolist()
    is_known = model.spread_.is_known
    return {
        "unknown_share": unknown_px,
        "unknown_segments": unknown_n,
        "beyond_share": beyond_px if is_known else None,
        "beyond_segments": beyond_n if is_known else None,
    }
