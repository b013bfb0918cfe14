"""The classes of a run: found among the segments of all its scenes, or learned from examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..classes.example_model import ExampleModel, learn_classes, pseudo_classes_of
from ..classes.examples import Examples
from ..classes.model import ClassModel
from ..classes.novelty import UNKNOWN
from ..classes.number import FEWEST, choose_number
from ..classes.palette import match_colors
from ..progress import Progress
from ..segments.table import Segments
from ..settings import ClassSettings
from .drift import describe_drift
from .examples import find_examples
from .library import ModelLibrary, batches_of, predict
from .run import Run, find_schema

#: Entries of the record that tell how the classes were found.
FACTS = ("examples", "novelty")
#: Segments that the ground of examples is made of, and that tell how much of it classes cover.
SAMPLE = 20000


def find_classes(
    run: Run,
    given: ClassModel | None,
    settings: ClassSettings,
    progress: Progress,
) -> tuple[ClassModel | None, dict[str, Any]]:
    """Return the given class model, or one made of all segments; None where there are none.

    Parameters
    ----------
    run : Run
        Its scenes are assembled.
    given : ClassModel or None
        With examples, what it knows already.
    settings : ClassSettings
    progress : Progress

    Returns
    -------
    model : ClassModel or None
        A fitted one has ids by area, and colours like those of the ground.
    facts : dict
        What the record has of it: some of `FACTS`.
    """
    segments = [part.load_segments() for part in run.parts]
    if not any(len(part) for part in segments):
        progress.warning("no segment was found: everything stays unlabelled")
        return given, {}
    examples = find_examples(run, segments, settings, progress)
    if given is None or examples is not None:
        progress.stage("classes")
    model = given
    if model is None:
        drawn = None if examples is None else _draw(segments, settings.seed)
        model = _cluster(run, segments, drawn, settings, progress)
    if examples is not None:
        model = _learn(run, segments, model, examples.examples, settings)
    if settings.reject is not None:
        model = model.rejecting(settings.reject)
    told = {} if examples is None else {"examples": examples.facts}
    if given is None:
        return model, told
    return model, {**told, "novelty": describe_drift(run, model, progress)}


def _cluster(
    run: Run,
    segments: Sequence[Segments],
    drawn: Examples | None,
    settings: ClassSettings,
    progress: Progress,
) -> ClassModel:
    """Find pseudo-classes, with ids by area and colours like those of the ground.

    What was drawn is enough where they are only the ground that examples are learned on.
    """
    features, pixels = batches_of(segments)
    if drawn is not None:
        features, pixels = [drawn.features], [drawn.area_px]
    model = ClassModel(settings.number, settings.seed, schema=find_schema(run, segments))
    model.fit(features, sample_weight=pixels, progress=progress)
    areas, colors = _measure(model, segments)
    return _color(model.order_by_area(areas), areas, colors)


def _learn(
    run: Run,
    segments: Sequence[Segments],
    ground: ClassModel,
    examples: Examples,
    settings: ClassSettings,
) -> ClassModel:
    """Learn classes from examples; those with the names of present ones keep ids and colours."""
    before = ground if isinstance(ground, ExampleModel) else ModelLibrary(run).current
    ids: dict[str, int] = {}
    if isinstance(before, ExampleModel):
        ids = {name: number for number, name in before.names.items() if name != UNKNOWN}
    if isinstance(ground, ExampleModel):
        examples = ground.named_examples().join(examples)
    if isinstance(ground, ExampleModel) or ground.steps_ or ground.unknown_ is not None:
        ground = pseudo_classes_of(ground)
    sample = _draw(segments, settings.seed)
    learned = learn_classes(ground, examples, sample, keep_rest=settings.keep_rest, ids=ids)
    areas, colors = _measure(learned, segments)
    model = _color(learned, areas, colors)
    present = {} if before is None else before.colors
    kept = {number: present[ids[name]] for number, name in model.names.items() if name in ids}
    return model.recolor(_without_twins(model.colors, kept))


def _without_twins(colors: Mapping[int, str], kept: Mapping[int, str]) -> dict[int, str]:
    """Return colours of some classes; who had one of these already gets what is then free."""
    free = [color for number, color in colors.items() if number in kept]
    free = [color for color in free if color not in kept.values()]
    others = [n for n, color in colors.items() if n not in kept and color in kept.values()]
    return {**kept, **dict(zip(others, free, strict=False))}


def _draw(segments: Sequence[Segments], seed: int) -> Examples:
    """Draw some segments with equal chances; their names are empty."""
    total = sum(map(len, segments))
    chosen = np.random.default_rng(seed).permutation(total)[:SAMPLE]
    starts = np.cumsum([0, *map(len, segments)])
    parts = []
    for start, stop, part in zip(starts[:-1], starts[1:], segments, strict=True):
        rows = np.sort(chosen[(chosen >= start) & (chosen < stop)] - start)
        nameless = np.full(len(rows), "", np.str_)
        parts.append(Examples(np.asarray(part.features[rows]), part.area_px[rows], nameless))
    return Examples.concatenate(parts)


def _measure(
    model: ClassModel, segments: Sequence[Segments]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the pixels of each class, and the sums of their colours, (n, 3), by id."""
    size = model.legend_.size
    areas, colors = np.zeros(size), np.zeros((size, 3))
    for part in segments:
        class_id = predict(model, part).class_id
        areas += np.bincount(class_id, part.area_px, minlength=size)
        for channel in range(3):
            weights = part.area_px * part.colors[:, channel]
            colors[:, channel] += np.bincount(class_id, weights, minlength=size)
    return areas, colors


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
    features, pixels = batches_of(segments)
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
    chosen = match_colors(sums[used] / areas[used, np.newaxis])
    return model.recolor(dict(zip(used.tolist(), chosen, strict=True)))
