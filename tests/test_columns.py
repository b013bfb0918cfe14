"""Tables of equal columns, whatever their columns are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alps_geo._columns import Columns
from alps_geo.scenes.spans import Spans


@dataclass(frozen=True)
class Things(Columns):
    number: NDArray[np.int64]
    spans: Spans
    place: NDArray[np.float64]


def make_things(count: int) -> Things:
    bitmaps = np.eye(count, dtype=bool)[:, np.newaxis]
    return Things(
        np.arange(count), Spans.from_bitmaps(bitmaps), np.arange(2.0 * count).reshape(-1, 2)
    )


def test_rows_are_chosen_by_number_by_flag_and_by_slice() -> None:
    things = make_things(4)
    for chosen in (np.array([1, 3]), np.array([False, True, False, True]), slice(1, None, 2)):
        taken = things.take(chosen)
        assert len(taken) == 2
        assert taken.number.tolist() == [1, 3]
        assert taken.spans.values[:, 1].tolist() == [1, 3]
        assert taken.place.tolist() == [[2, 3], [6, 7]]


def test_taken_apart_and_put_together_a_table_is_what_it_was() -> None:
    things = make_things(5)
    again = Things.concatenate([things.take(slice(0, 2)), things.take(slice(2, 5))])
    np.testing.assert_array_equal(again.number, things.number)
    np.testing.assert_array_equal(again.spans.values, things.spans.values)
    np.testing.assert_array_equal(again.spans.offsets, things.spans.offsets)
    np.testing.assert_array_equal(again.place, things.place)
