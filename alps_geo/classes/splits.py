"""Classes split, and merged after that: steps that follow the nearest centre, in their order.

What a class model says without them stays as it is, so splitting a class moves no segment of any
other class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .clustering import margin, nearest
from .sampling import Rows


@dataclass(frozen=True, eq=False)
class Step:
    """One step: a class becomes several, each with a centre, or is merged into another.

    Attributes
    ----------
    of : int
        The class that is split or merged.
    ids : tuple of int
        The classes it becomes: one, where it is merged.
    centers : ndarray of float64, shape (len(ids), n_columns)
        Of the parts, among the model's own centres; empty where it is merged.
    """

    of: int
    ids: tuple[int, ...]
    centers: Rows

    @property
    def is_merge(self) -> bool:
        """The class becomes part of another."""
        return not len(self.centers)


Steps = tuple[Step, ...]


def follow(
    steps: Iterable[Step], rows: Rows, class_id: NDArray[Any], confidence: NDArray[np.float32]
) -> None:
    """Apply steps to what the centres say.

    Parameters
    ----------
    steps : iterable of Step
    rows : ndarray of float64, shape (n, n_columns)
        As the model transforms features.
    class_id, confidence : ndarray, shape (n,)
        Are changed; the confidence of a part is that of the class, or of the part if this is less.
    """
    for step in steps:
        chosen = np.flatnonzero(class_id == step.of)
        if step.is_merge or not len(chosen):
            class_id[chosen] = step.ids[0]
            continue
        few, places = rows[chosen], np.arange(len(step.ids))
        first = nearest(few, step.centers)
        second = nearest(few, step.centers, places, barred=first)
        sure = margin(few, step.centers[first], step.centers[second])
        class_id[chosen] = np.array(step.ids)[first]
        confidence[chosen] = np.minimum(confidence[chosen], sure)


def reach(steps: Iterable[Step], class_ids: Iterable[int]) -> set[int]:
    """Return the classes that there are after some steps."""
    found = set(class_ids)
    for step in steps:
        if step.of not in found:
            raise ValueError(f"class {step.of} is split or merged, but is not there")
        found = (found - {step.of}) | set(step.ids)
    return found


def is_plain(steps: Iterable[Step], class_ids: Sequence[int]) -> bool:
    """Return whether no step has to do with some classes."""
    named = {number for step in steps for number in (step.of, *step.ids)}
    return named.isdisjoint(class_ids)


def to_records(steps: Iterable[Step]) -> list[dict[str, Any]]:
    """Return the steps as JSON values, without their centres, which `stack` gives."""
    return [{"of": step.of, "ids": list(step.ids), "merged": step.is_merge} for step in steps]


def stack(steps: Iterable[Step], n_columns: int) -> Rows:
    """Return the centres of all steps below each other."""
    return np.concatenate([np.zeros((0, n_columns)), *(step.centers for step in steps)])


def restore(records: Iterable[Mapping[str, Any]], centers: Rows) -> Steps:
    """Return the steps of what `to_records` and `stack` gave.

    Raises
    ------
    KeyError, TypeError, ValueError
        If they do not go together.
    """
    steps: list[Step] = []
    if centers.ndim != 2 or centers.dtype != np.float64 or not np.isfinite(centers).all():
        raise ValueError(f"split_centers is {centers.dtype} of shape {centers.shape}")
    start = 0
    for record in records:
        ids = tuple(map(int, record["ids"]))
        number = 0 if record["merged"] else len(ids)
        if len(ids) < (1 if record["merged"] else 2):
            raise ValueError("a class is split into less than two")
        steps.append(Step(int(record["of"]), ids, centers[start : start + number]))
        start += number
        if start > len(centers):
            break
    if start != len(centers):
        raise ValueError("centres and classes of splits do not match")
    return tuple(steps)
