"""The classes of a run: found among the segments of all its scenes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..classes.model import ClassModel
from ..classes.number import FEWEST, choose_number
from ..classes.palette import match_colors
from ..progress import Progress
from ..settings import ClassSettings
from .library import batches, predict
from .run import Run, find_schema


def find_classes(
    run: Run, given: ClassModel | None, settings: ClassSettings, progress: Progress
) -> ClassModel | None:
    """Return the given class model, or one fitted to all segments; None where there are none.

    Parameters
    ----------
    run : Run
        Its scenes are assembled.
    given : ClassModel or None
    settings : ClassSettings
    progress : Progress

    Returns
    -------
    ClassModel or None
        A fitted one has ids by area, and colours like those of the ground.
    """
    segments = [part.load_segments() for part in run.parts]
    if not any(len(part) for part in segments):
        progress.warning("no segment was found: everything stays unlabelled")
        return given
    if given is not None:
        return given
    progress.stage("classes")
    features = [batch for part in segments for batch in batches(part.features)]
    pixels = [batch for part in segments for batch in batches(part.area_px)]
    model = ClassModel(settings.number, settings.seed, schema=find_schema(run, segments))
    model.fit(features, sample_weight=pixels, progress=progress)
    size = settings.number
    areas, colors = np.zeros(size), np.zeros((size, 3))
    for part in segments:
        class_id = predict(model, part).class_id
        areas += np.bincount(class_id, part.area_px, minlength=size)
        for channel in range(3):
            weights = part.area_px * part.colors[:, channel]
            colors[:, channel] += np.bincount(class_id, weights, minlength=size)
    return _color(model.order_by_area(areas), areas, colors)


def settle_number(
    run: Run, given: ClassModel | None, settings: ClassSettings, progress: Progress
) -> tuple[ClassSettings, dict[str, Any] | None]:
    """Find the number of classes where it is to be found.

    Parameters
    ----------
    run : Run
        Its scenes are assembled.
    given : ClassModel or None
        Has its own number.
    settings : ClassSettings
    progress : Progress

    Returns
    -------
    settings : ClassSettings
        With a number.
    curve : dict or None
        How it was found, for the record.
    """
    if given is not None or not settings.is_auto:
        return settings, None
    segments = [part.load_segments() for part in run.parts]
    total = sum(map(len, segments))
    if total < FEWEST:
        number = max(min(settings.number, total // 5), 2)
        progress.message(
            f"{total} segments are too few to find the number of classes: {number} are made"
        )
        facts = {"method": settings.k_method, "chosen": number, "segments": total, "sure": 0.0}
        return replace(settings, n_classes=number), facts
    progress.stage("number of classes")
    features = [batch for part in segments for batch in batches(part.features)]
    pixels = [batch for part in segments for batch in batches(part.area_px)]
    model = ClassModel(2, settings.seed, schema=find_schema(run, segments))
    sample = model.sample(features, sample_weight=pixels)
    choice = choose_number(sample, settings.k_method, settings.seed, progress)
    progress.message(
        f"{choice.number} classes, found by {settings.k_method}; how sure: {choice.sure:.0%}"
    )
    return replace(settings, n_classes=choice.number), choice.to_json()


def _color(model: ClassModel, areas: NDArray[np.float64], sums: NDArray[np.float64]) -> ClassModel:
    """Give classes colours like those of the ground, where these are known."""
    if not np.isfinite(sums).all():
        return model  # tiles of a version that kept no colours
    by_area = np.argsort(-areas, kind="stable")
    used = by_area[areas[by_area] > 0]
    return model.recolor(dict(enumerate(match_colors(sums[used] / areas[used, np.newaxis]))))
