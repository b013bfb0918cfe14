"""Spans and masks: the same pixels in every form."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from alps_geo.models.masks import Masks, gate
from alps_geo.scenes.grid import Window
from alps_geo.scenes.spans import Spans
from alps_geo.settings import GateSettings

from ..strategies import bitmaps


def to_bitmaps(spans: Spans, height: int, width: int) -> NDArray[np.bool_]:
    pictures = [spans.bitmap(index, height, width) for index in range(len(spans))]
    return np.array(pictures, bool).reshape(len(spans), height, width)


@given(bitmaps())
def test_runs_give_back_the_bitmaps_they_were_made_from(pictures: NDArray[np.bool_]) -> None:
    spans = Spans.from_bitmaps(pictures)
    assert (to_bitmaps(spans, *pictures.shape[1:]) == pictures).all()
    assert (spans.areas == pictures.sum(axis=(1, 2))).all()
    assert (spans.matrix(*pictures.shape[1:]).toarray().reshape(pictures.shape) == pictures).all()


@given(bitmaps())
def test_boxes_hold_all_pixels_and_touch_them_on_each_side(pictures: NDArray[np.bool_]) -> None:
    for picture, box in zip(pictures, Spans.from_bitmaps(pictures).boxes, strict=True):
        rows, cols = np.nonzero(picture)
        expected = (
            [rows.min(), cols.min(), rows.max() + 1, cols.max() + 1] if len(rows) else [0] * 4
        )
        assert box.tolist() == expected


@given(bitmaps())
def test_connected_parts_are_those_of_scipy_with_corners(pictures: NDArray[np.bool_]) -> None:
    parts, owners = Spans.from_bitmaps(pictures).connected_parts()
    counts = [ndimage.label(picture, np.ones((3, 3)))[1] for picture in pictures]
    assert np.bincount(owners, minlength=len(pictures)).tolist() == counts
    assert (np.diff(owners) >= 0).all()
    for index, owner in enumerate(owners):
        part = parts.bitmap(index, *pictures.shape[1:])
        assert ndimage.label(part, np.ones((3, 3)))[1] == 1
        assert not (part & ~pictures[owner]).any()
    assert parts.areas.sum() == pictures.sum()


windows = st.builds(Window, *[st.integers(0, 12)] * 2, *[st.integers(1, 12)] * 2)


@given(bitmaps(), windows)
def test_what_is_outside_a_window_is_what_clipping_takes_away(
    pictures: NDArray[np.bool_], window: Window
) -> None:
    outside = Spans.from_bitmaps(pictures).outside(window)
    expected = pictures.copy()
    expected[(slice(None), *window.slices)] = False
    assert (to_bitmaps(outside, *pictures.shape[1:]) == expected).all()
    assert (outside.values == Spans.from_bitmaps(expected).values).all()


@given(bitmaps(), st.lists(windows, min_size=4, max_size=4))
def test_every_set_may_be_clipped_to_a_window_of_its_own(
    pictures: NDArray[np.bool_], chosen: list[Window]
) -> None:
    chosen = chosen[: len(pictures)]
    corners = [[some.row, some.col, some.row_stop, some.col_stop] for some in chosen]
    clipped = Spans.from_bitmaps(pictures).clip_each(np.array(corners).reshape(-1, 4))
    for index, window in enumerate(chosen):
        alone = Spans.from_bitmaps(pictures[index : index + 1]).clip(window)
        assert (clipped.take(np.array([index])).values == alone.values).all()


@given(bitmaps(), st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(1, 12)] * 2))
def test_clipping_keeps_what_is_inside_the_window(
    pictures: NDArray[np.bool_], corner: tuple[int, int, int, int]
) -> None:
    window = Window(*corner)
    inside = np.zeros(pictures.shape[1:], bool)
    inside[window.slices] = True
    clipped = Spans.from_bitmaps(pictures).clip(window)
    assert (to_bitmaps(clipped, *inside.shape) == pictures & inside).all()


@given(bitmaps(), st.data())
def test_taking_sets_keeps_order_and_repeats(
    pictures: NDArray[np.bool_], data: st.DataObject
) -> None:
    index = st.integers(0, max(len(pictures) - 1, 0))
    chosen = np.array(data.draw(st.lists(index, max_size=5 if len(pictures) else 0)), np.int64)
    taken = Spans.from_bitmaps(pictures).take(chosen)
    assert (to_bitmaps(taken, *pictures.shape[1:]) == pictures[chosen]).all()


def test_a_label_image_gives_one_set_per_label() -> None:
    labels = np.array([[1, 1, 0], [3, 1, 3]])
    spans = Spans.from_labels(labels, 3)
    assert spans.areas.tolist() == [3, 0, 2]
    assert (spans.bitmap(2, 2, 3) == (labels == 3)).all()


@given(bitmaps(), st.data())
def test_the_gate_keeps_valid_pixels_of_masks_between_its_limits(
    pictures: NDArray[np.bool_], data: st.DataObject
) -> None:
    shape = pictures.shape[1:]
    valid = np.array(data.draw(st.lists(st.booleans(), min_size=1, max_size=400)))
    valid = np.resize(valid, shape)
    settings = GateSettings(area_threshold=0.3, min_area_px=2)
    kept, too_large, counts = gate(Masks.from_spans(Spans.from_bitmaps(pictures)), valid, settings)
    cut = pictures & valid
    areas = cut.sum(axis=(1, 2))
    large = areas > 0.3 * valid.sum()
    assert (to_bitmaps(kept.spans, *shape) == cut[~large & (areas >= 2)]).all()
    assert (too_large == cut[large].any(axis=0)).all()
    assert counts.found == len(pictures) == counts.gated + counts.small + counts.kept


def test_a_mask_of_exactly_the_threshold_passes_the_gate() -> None:
    picture = np.zeros((1, 10, 10), bool)
    picture[0, :3] = True
    masks = Masks.from_spans(Spans.from_bitmaps(picture))
    kept, _, _ = gate(masks, np.ones((10, 10), bool), GateSettings(area_threshold=0.3))
    assert len(kept) == 1


@given(bitmaps())
def test_the_point_of_a_mask_lies_on_it(pictures: NDArray[np.bool_]) -> None:
    masks = Masks.from_spans(Spans.from_bitmaps(pictures))
    for picture, (row, col) in zip(pictures, masks.points, strict=True):
        assert picture[row, col] or not picture.any()


@given(bitmaps())
def test_tables_of_masks_are_put_one_below_another(pictures: NDArray[np.bool_]) -> None:
    masks = Masks.from_spans(Spans.from_bitmaps(pictures))
    both = Masks.concatenate([masks, Masks.empty(), masks])
    assert both.spans.areas.tolist() == 2 * masks.spans.areas.tolist()
    assert len(both.take(np.arange(len(both)) < len(masks))) == len(masks)
