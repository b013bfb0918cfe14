"""Names for classes from a reference: what most of the pixels of each are there."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..classes.model import ClassModel
from ..errors import SettingsError
from ..progress import Stopwatch
from ..run.editing import Changes
from ..run.run import Run
from ..settings.options import AnyPath
from .comparison import Evaluation, evaluate


@dataclass(frozen=True)
class FoundName:
    """What a class is in a reference.

    Attributes
    ----------
    name : str
        Of the reference class with most of its pixels; with a number where it is not the first of
        this name.
    share : float
        Of its pixels that have a reference class, those of this one.
    """

    name: str
    share: float


def find_names(
    evaluation: Evaluation,
    merges: Iterable[Sequence[int]] = (),
    others: Mapping[int, str] | None = None,
) -> dict[int, FoundName]:
    """Return what each class is by majority, those of most pixels first.

    Parameters
    ----------
    evaluation : Evaluation
    merges : iterable of sequences of int
        Classes that become one, under the first id.
    others : mapping of int to str, optional
        What all classes are called at present: none takes the name of one that keeps it.

    Returns
    -------
    dict of int to FoundName
        Classes without a pixel that has a reference class are left out.
    """
    counts = dict(
        zip(evaluation.label_ids.tolist(), evaluation.confusion.astype(np.int64), strict=True)
    )
    nothing = np.zeros(len(evaluation.class_names), np.int64)
    for group in merges:
        parts = [counts.pop(class_id, nothing) for class_id in group]
        counts[group[0]] = np.sum(parts, axis=0)
    counts = {class_id: row for class_id, row in counts.items() if row.any()}
    taken = {name for class_id, name in (others or {}).items() if class_id not in counts}
    found: dict[int, FoundName] = {}
    for class_id in sorted(counts, key=lambda one: (-int(counts[one].max()), one)):
        row = counts[class_id]
        plain = evaluation.class_names[int(row.argmax())]
        name, number = plain, 2
        while name in taken:
            name, number = f"{plain} {number}", number + 1
        taken.add(name)
        found[class_id] = FoundName(name, float(row.max() / row.sum()))
    return found


def name_classes(
    run: Run, reference: AnyPath, attribute: str | None, changes: Changes, clock: Stopwatch
) -> Changes:
    """Return changes with names by majority of a reference, where none were chosen.

    Parameters
    ----------
    run : Run
    reference : path
    attribute : str, optional
        Column of a vector reference.
    changes : Changes
    clock : Stopwatch
        Is told each name and its share.

    Raises
    ------
    SettingsError
        If classes are to be split as well.
    """
    if changes.splits:
        raise SettingsError("name classes with `name_from` once they are split: in a second call")
    found = find_names(
        evaluate(run, reference, attribute=attribute, scene=changes.scene, progress=clock),
        changes.merges,
        ClassModel.load(run.class_path).names,
    )
    for class_id, name in found.items():
        clock.message(
            f"class {class_id} is {name.name!r} by {name.share:.0%} of its pixels in the reference"
        )
    names = {class_id: name.name for class_id, name in found.items()}
    return dataclasses.replace(changes, names={**names, **changes.names})
