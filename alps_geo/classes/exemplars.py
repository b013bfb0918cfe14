"""Segments that show what a class is: its most typical ones, its borderline cases, the odd ones.

The rule, which knows nothing of chance: of each class, segments from 64 pixels on are put in order
three times, by how near they are to the centre (`typical`), by how nearly they would be of another
class (`borderline`), and by how far they are from the centre (`odd`). Then the three kinds choose
in turns, each the first of its order that is still free, four times. Of equal ones the larger is
first, then the lower number. Smaller segments come after all others, the largest first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._columns import Columns

#: In the order in which they choose.
KINDS = ("typical", "borderline", "odd")
#: Segments of each kind and class.
PER_KIND = 4
#: Smaller segments, in pixels, show little of what a class is.
LEAST_PX = 64


@dataclass(frozen=True)
class Candidates(Columns):
    """What exemplars are chosen from, a row per segment.

    Attributes
    ----------
    segment_id, class_id : ndarray of int, shape (n,)
    area_px : ndarray of int64, shape (n,)
    confidence : ndarray of float, shape (n,)
        Low where another class is nearly as near.
    distance : ndarray of float, shape (n,)
        To the centre of the class.
    """

    segment_id: NDArray[np.integer]
    class_id: NDArray[np.integer]
    area_px: NDArray[np.int64]
    confidence: NDArray[np.floating]
    distance: NDArray[np.floating]


@dataclass(frozen=True)
class Exemplars(Columns):
    """Segments that show what classes are, by class, kind and rank.

    Attributes
    ----------
    segment_id, class_id : ndarray of int64, shape (n,)
        A segment is there once.
    kind : ndarray of int64, shape (n,)
        Place in `KINDS`.
    rank : ndarray of int64, shape (n,)
        From 1 on, in its kind and class.
    """

    segment_id: NDArray[np.int64]
    class_id: NDArray[np.int64]
    kind: NDArray[np.int64]
    rank: NDArray[np.int64]


def choose_exemplars(candidates: Candidates) -> Exemplars:
    """Choose the exemplars of every class; the same ones in whatever order segments come.

    Parameters
    ----------
    candidates : Candidates
    """
    rows = [
        (int(part.segment_id[at]), int(part.class_id[at]), kind, rank)
        for part in _classes(candidates)
        for kind, rank, at in sorted(_take_turns(_orders(part)))
    ]
    return Exemplars(*np.array(rows, np.int64).reshape(-1, 4).T)


def _classes(candidates: Candidates) -> Iterator[Candidates]:
    """Give the segments of one class after the other."""
    order = np.argsort(candidates.class_id, kind="stable")
    starts = np.flatnonzero(np.diff(candidates.class_id[order], prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(order)], strict=False):
        yield candidates.take(order[start:stop])


def _orders(part: Candidates) -> list[NDArray[np.intp]]:
    """Return the first rows of one class in the order of each kind, as many as can be needed."""
    is_small = part.area_px < LEAST_PX
    orders = []
    for measure in (part.distance, part.confidence, -part.distance):
        # Among small ones, size alone decides.
        keys = part.segment_id, -part.area_px, np.where(is_small, 0, measure), is_small
        orders.append(np.lexsort(keys)[: PER_KIND * len(KINDS)])
    return orders


def _take_turns(orders: list[NDArray[np.intp]]) -> Iterator[tuple[int, int, int]]:
    """Give kind, rank and row of each choice, until nothing is free."""
    taken: set[int] = set()
    for rank in range(1, PER_KIND + 1):
        for kind, order in enumerate(orders):
            row = next((int(row) for row in order if int(row) not in taken), None)
            if row is not None:
                taken.add(row)
                yield kind, rank, row
