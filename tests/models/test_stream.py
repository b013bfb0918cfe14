"""Tiles in a stream: in order, in groups, a bounded number ahead."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alps_geo.errors import ReadError
from alps_geo.models.fake import FakeModel, draw_objects
from alps_geo.models.stream import batch_size, read_ahead, segment_all


@given(count=st.integers(0, 20), batch=st.integers(1, 7))
def test_items_come_in_order_in_groups_of_the_wanted_size(count: int, batch: int) -> None:
    groups = list(read_ahead(range(count), batch))
    assert [item for group in groups for item in group] == list(range(count))
    assert all(len(group) == batch for group in groups[:-1])


def test_an_error_while_reading_ahead_is_raised_where_tiles_are_used() -> None:
    def tiles() -> Iterator[int]:
        yield 1
        raise ReadError("scene.tif cannot be read at row 64")

    stream = read_ahead(tiles())
    assert next(stream) == [1]
    with pytest.raises(ReadError, match="cannot be read at row 64"):
        next(stream)


def test_a_stream_that_is_left_early_stops_reading() -> None:
    read: list[int] = []
    stream = read_ahead((read.append(number) for number in range(100)), 2)
    next(stream)
    stream.close()
    assert len(read) <= 6


def test_a_model_that_takes_one_tile_at_a_time_gets_one_after_another() -> None:
    scene = np.zeros((20, 20), np.int64)
    scene[5:10, 5:10] = 7
    tile = draw_objects(scene), np.ones(scene.shape, bool)
    model = FakeModel()
    assert batch_size(model) == 1
    assert [len(masks) for masks, _ in segment_all(model, [tile, tile])] == [1, 1]
