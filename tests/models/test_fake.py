"""The fake model: drawn objects come back, exactly or jittered."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from numpy.typing import NDArray

from alps_geo.models.fake import FakeModel, draw_objects

from ..strategies import object_scenes


@settings(max_examples=25)
@given(object_scenes())
def test_every_object_comes_back_as_it_was_drawn(scene: NDArray[np.int64]) -> None:
    masks, embedding = FakeModel().segment(draw_objects(scene), np.ones(scene.shape, bool))
    numbers = np.unique(scene[scene > 0])
    assert masks.spans.areas.tolist() == [np.count_nonzero(scene == number) for number in numbers]
    assert embedding.values.shape == (3, *scene.shape)


def test_split_objects_come_as_connected_parts() -> None:
    scene = np.zeros((20, 20), np.int64)
    scene[2:5, 2:5] = scene[10:15, 10:15] = 7
    valid = np.ones(scene.shape, bool)
    assert len(FakeModel().segment(draw_objects(scene), valid)[0]) == 1
    assert len(FakeModel(split=True).segment(draw_objects(scene), valid)[0]) == 2


def test_jitter_is_the_same_for_the_same_pixels_and_stays_near_the_truth() -> None:
    scene = np.zeros((80, 80), np.int64)
    scene[20:60, 20:60] = 9
    valid = np.ones(scene.shape, bool)
    model = FakeModel(jitter=True)
    first, second = (model.segment(draw_objects(scene), valid)[0] for _ in range(2))
    assert (first.spans.values == second.spans.values).all()
    assert 36**2 <= first.spans.areas.max(initial=1600) <= 44**2
