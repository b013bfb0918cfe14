"""Changes of classes that users ask for, in the order in which they are made.

Classes are merged, then split; named; coloured; then segments are classed by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..classes.legend_tables import LegendEntry, match_legend, read_segment_classes, read_table
from ..classes.model import ClassModel
from ..errors import RunError, SettingsError
from ..progress import Progress
from ..segments.table import Segments
from ..settings.options import AnyPath
from .folder import RunFolder
from .library import batches_of
from .results import Results
from .run import Run
from .state import load_undo


@dataclass(frozen=True)
class Changes:
    """What a user asks for.

    Attributes
    ----------
    names, colors : mapping of int to str
    merges : sequence of sequences of int
    splits : mapping of int to int
        Parts that a class becomes.
    table : path or None
        A CSV file of names, colours, codes and URIs.
    entries : sequence of LegendEntry
        A published legend.
    segments : mapping of int to (int or str)
        Classes of segments, by id or name.
    segments_from : path or None
        A CSV file of such.
    scene : str or None
        Whose segments are meant.
    drop_edits : bool
        Forget what was changed by hand before.
    """

    names: Mapping[int, str] = field(default_factory=dict)
    colors: Mapping[int, str] = field(default_factory=dict)
    merges: Sequence[Sequence[int]] = ()
    splits: Mapping[int, int] = field(default_factory=dict)
    table: AnyPath | None = None
    entries: Sequence[LegendEntry] = ()
    segments: Mapping[int, int | str] = field(default_factory=dict)
    segments_from: AnyPath | None = None
    scene: str | None = None
    drop_edits: bool = False


def take_names(model: ClassModel, results: Results, progress: Progress) -> ClassModel:
    """Return the model with names and colours that were given in the table `classes`."""
    for item in results.changed_classes():
        number, name, color = item["id"], item["name"], item["color"]
        if number not in model.class_ids:
            continue
        try:
            model = model.rename({number: str(name)}).recolor({number: str(color)})
        except SettingsError as error:
            progress.warning(
                f"what the table `classes` says of class {number} is not taken: {error}"
            )
        else:
            progress.message(f"class {number} was named {name!r}, {color}, by hand; kept")
    return model


def make_changes(
    run: Run, results: Results, model: ClassModel, changes: Changes, progress: Progress
) -> ClassModel:
    """Change classes, and class segments by hand; results are not yet written.

    Parameters
    ----------
    run : Run
    results : Results
        Of the run.
    model : ClassModel
    changes : Changes
    progress : Progress

    Returns
    -------
    ClassModel

    Raises
    ------
    SettingsError
        If an id, a name, a colour, a segment or a file cannot be.
    """
    model = model.merge(changes.merges)
    if changes.splits:
        model = _split(run, model, changes.splits, progress)
    if changes.table is not None:
        table = read_table(changes.table)
        model = model.rename({**table.names, **changes.names}).recolor(table.colors)
        model = model.describe(table.codes, table.uris)
    else:
        model = model.rename(changes.names)
    if changes.entries:
        model = _match(model, changes.entries, progress)
    model = model.recolor(changes.colors)
    if changes.drop_edits:
        results.drop_edits()
    _give(run, results, model, changes)
    return model


def undo_change(run: Run, results: Results) -> ClassModel | None:
    """Take the classes and edits from before the last change; results are not yet written.

    Raises
    ------
    RunError
        If there is nothing to undo.
    """
    state = load_undo(RunFolder(run.folder).undo_path)
    if state is None:
        raise RunError(
            f"there is nothing to undo in {run.folder}: classes are as `label()` made them, or were"
            " changed by an earlier version"
        )
    return results.restore(state)


def _split(
    run: Run, model: ClassModel, splits: Mapping[int, int], progress: Progress
) -> ClassModel:
    progress.stage("classes")
    features, pixels = batches_of([part.load_segments() for part in run.parts])
    for class_id, number in splits.items():
        before = model.class_ids
        model = model.split(class_id, number, features, sample_weight=pixels, progress=progress)
        new = ", ".join(str(one) for one in model.class_ids if one not in before)
        progress.message(f"class {class_id} is split: its largest part keeps the id, others: {new}")
    return model


def _match(model: ClassModel, entries: Sequence[LegendEntry], progress: Progress) -> ClassModel:
    found = match_legend(model.legend_, entries)
    total = len(model.class_ids)
    if found:
        progress.message(f"{len(found)} of {total} classes are called as in the legend")
    else:
        progress.warning(
            "no class is called as one of the legend, or as its code: give `names` first"
        )
    model = model.recolor({number: one.color for number, one in found.items() if one.color})
    return model.describe(
        {number: one.code for number, one in found.items()},
        {number: one.uri for number, one in found.items()},
    )


def _give(run: Run, results: Results, model: ClassModel, changes: Changes) -> None:
    """Class segments by hand."""
    given: dict[str, dict[int, int | str]] = {}
    if changes.segments_from is not None:
        for scene, listed in read_segment_classes(changes.segments_from).items():
            given.setdefault(scene or changes.scene or "", {}).update(listed)
    if changes.segments:
        given.setdefault(changes.scene or "", {}).update(changes.segments)
    for scene, classes in given.items():
        part = run.parts[_find_scene(run, scene)]
        segments = part.load_segments()
        ids = np.array(sorted(classes), np.int64)
        _check_segments(ids, segments, part.stem)
        numbers = [_find_class(model, classes[segment]) for segment in ids.tolist()]
        results.give(part.stem, ids, np.array(numbers, np.int64))


def _find_scene(run: Run, scene: str) -> int:
    if not scene and len(run.parts) == 1:
        return 0
    if scene not in run.scenes:
        what = f"{run.folder} has no scene {scene!r}" if scene else "segments are of a scene each"
        raise RunError(
            f"{what}; choose one with `scene`: {', '.join(run.scenes)}",
            code="run.no_such_scene" if scene else "run.several_scenes",
            setting="scene",
            allowed=list(run.scenes),
        )
    return run.scenes.index(scene)


def _check_segments(ids: Iterable[int], segments: Segments, stem: str) -> None:
    known = set(segments.segment_id.tolist())
    unknown = [number for number in map(int, ids) if number not in known]
    if unknown:
        raise SettingsError(
            f"the scene {stem} has no segment {unknown[0]}; segment_id in its GeoPackage tells the"
            " numbers",
            code="settings.segments",
            setting="segments",
            found=unknown[0],
        )


def _find_class(model: ClassModel, text: int | str) -> int:
    """Return the id of a class that is named by its id, or its name."""
    if not isinstance(text, str) or text.strip().isdecimal():
        number = int(text)
        model.legend_.check_ids([number])
        return number
    by_name = {name: number for number, name in model.names.items()}
    if text.strip() not in by_name:
        raise SettingsError(
            f"there is no class called {text!r}; the names are {', '.join(by_name)}",
            code="settings.segments",
            setting="segments",
            found=text,
        )
    return by_name[text.strip()]
