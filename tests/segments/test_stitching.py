"""Stitching: however a scene is cut, its objects come out whole and apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from alps_geo.features.pooling import pool_features
from alps_geo.models.fake import JITTER_PX, FakeModel, draw_objects
from alps_geo.models.masks import GateCounts, Masks
from alps_geo.scenes.grid import Grid, Window
from alps_geo.scenes.spans import Spans
from alps_geo.scenes.tiles import Tile, plan_tiles
from alps_geo.segments.painting import Painting, paint_cores, paint_scene
from alps_geo.segments.stitching import Stitching, _bounds, stitch
from alps_geo.segments.tile_results import TileResult
from alps_geo.settings import TileSettings

from ..strategies import number_parts, object_scenes, thicken, tilings


class StitchedScene:
    """A drawn scene, labelled tile by tile with the fake model and stitched."""

    def __init__(self, scene: NDArray[np.int64], cut: TileSettings, model: FakeModel) -> None:
        self.scene = scene
        self.tiles = plan_tiles(*scene.shape, cut)
        self.records = [label(scene, tile, model) for tile in self.tiles]
        self.stitching: Stitching = stitch(self.tiles, lambda index: self.records[index].masks)

    def image(self) -> NDArray[np.uint32]:
        """Return the segment of every pixel."""
        window = _bounds(self.tiles)
        image = np.zeros((window.height, window.width), np.uint32)
        read = self.records.__getitem__
        for tile, ids, _ in paint_cores(window, self.tiles, read, self.stitching):
            image[tile.core.slices] = ids
        return image

    def paint(self, path: Path, shape: tuple[int, int], fill: int = 0) -> Painting:
        """Paint to a file."""
        grid = Grid(None, None, *shape)
        read = self.records.__getitem__
        return paint_scene(path, grid, self.tiles, read, self.stitching, fill=fill)

    def masks(self) -> Iterator[tuple[int, float, int, Tile]]:
        """Give segment, stability, true object and tile of every mask."""
        for index, tile in enumerate(self.tiles):
            masks = self.records[index].masks
            segments = self.stitching.segment[self.stitching.masks_of(index)]
            truths = self.scene[tile.window.slices][tuple(masks.points.T)]
            for facts in zip(segments, masks.stability, truths, strict=True):
                yield int(facts[0]), float(facts[1]), int(facts[2]), tile


NO_COLORS = np.zeros((0, 3), np.float32)


def label(scene: NDArray[np.int64], tile: Tile, model: FakeModel) -> TileResult:
    pixels = draw_objects(scene[tile.window.slices])
    valid = np.ones(pixels.shape[:2], bool)
    masks, embedding = model.segment(pixels, valid)
    features = pool_features(masks.spans, embedding, valid.shape)
    nothing = Spans.from_bitmaps(np.zeros((1, *valid.shape), bool))
    counts = GateCounts(len(masks), 0, 0, len(masks))
    return TileResult(masks, features, nothing, nothing, counts, {}, NO_COLORS)


def pairs(first: NDArray[np.generic], second: NDArray[np.generic]) -> set[tuple[int, int]]:
    return set(zip(first.ravel().tolist(), second.ravel().tolist(), strict=True))


# Cases of the four together: 2,000 in every run, 10,000 with `--hypothesis-profile many`.
EACH = settings(max_examples=5 * settings().max_examples)


@pytest.mark.slow
@EACH
@given(scene=object_scenes(), cut=tilings(), split=st.booleans())
def test_with_exact_masks_segments_are_the_true_objects_for_every_tiling(
    scene: NDArray[np.int64], cut: TileSettings, split: bool
) -> None:
    image = StitchedScene(scene, cut, FakeModel(split=split)).image()
    both = pairs(scene, image)
    assert len(both) == len(np.unique(scene)) == len(np.unique(image))
    assert ((scene == 0) == (image == 0)).all()


@pytest.mark.slow
@EACH
@given(scene=object_scenes(), cuts=st.tuples(tilings(), tilings()))
def test_segments_have_the_same_numbers_and_areas_for_every_tiling(
    scene: NDArray[np.int64], cuts: tuple[TileSettings, TileSettings]
) -> None:
    first, second = (StitchedScene(scene, cut, FakeModel()) for cut in cuts)
    assert (first.image() == second.image()).all()
    assert (first.stitching.area == second.stitching.area).all()


@pytest.mark.slow
@EACH
@given(scene=object_scenes(), cut=tilings())
def test_with_jittered_masks_two_objects_are_never_joined(
    scene: NDArray[np.int64], cut: TileSettings
) -> None:
    # Two boundaries that move by 2 pixels can make thinner neighbours look like each other.
    thick = thicken(scene, 9)
    objects_of: dict[int, set[int]] = {}
    for segment, _, truth, _ in StitchedScene(thick, cut, FakeModel(jitter=True)).masks():
        objects_of.setdefault(segment, set()).add(truth)
    objects_of.pop(0, None)
    assert [objects for objects in objects_of.values() if len(objects) > 1] == []


@pytest.mark.slow
@EACH
@given(scene=object_scenes(), cut=tilings())
def test_with_jittered_masks_objects_that_fit_the_overlap_come_out_once(
    scene: NDArray[np.int64], cut: TileSettings
) -> None:
    # Of smaller ones, two moved outlines may have less than half their pixels in common.
    thick = thicken(scene, 24)
    stitched = StitchedScene(thick, cut, FakeModel(jitter=True))
    boxes = [
        Window(rows.start, cols.start, rows.stop - rows.start, cols.stop - cols.start)
        for rows, cols in ndimage.find_objects(thick)
    ]
    # The moved outline has to fit as well.
    margin = int(JITTER_PX) + 1
    room = cut.overlap - 2 * margin
    segments_of: dict[int, set[int]] = {number: set() for number in range(1, len(boxes) + 1)}
    found_whole = set()
    for segment, stability, truth, tile in stitched.masks():
        if segment and stability == 1:
            segments_of[truth].add(segment)
        around = boxes[truth - 1].grow(margin, *thick.shape)
        # What all tiles missed that see it whole may be missing: the others see none of their own.
        if tile.window.intersect(around) == around:
            found_whole.add(truth)
    for number, box in enumerate(boxes, start=1):
        if max(box.height, box.width) <= room:
            assert (number in found_whole) <= len(segments_of[number]) <= 1


def test_a_ring_around_the_core_of_the_tile_that_owns_it_comes_out_once() -> None:
    rows, cols = np.mgrid[:96, :96] - 48
    ring = (rows**2 + cols**2 > 24**2) & (rows**2 + cols**2 < 30**2)
    stitching = StitchedScene(ring.astype(np.int64), TileSettings(64, 32), FakeModel()).stitching
    assert stitching.area.tolist() == [0, np.count_nonzero(ring)]


def test_a_mask_that_its_owner_missed_is_taken_from_the_neighbour() -> None:
    tiles = plan_tiles(64, 160, TileSettings(96, 32))
    picture = np.zeros((1, 64, 96), bool)
    picture[0, 20:40, 66:76] = True  # in both windows, its middle in the second core
    seen = Masks.from_spans(Spans.from_bitmaps(picture))
    assert [tile.core.col for tile in tiles] == [0, 64, 128]
    masks = [seen, Masks.empty(), Masks.empty()]
    assert stitch(tiles, masks.__getitem__).area.tolist() == [0, 200]


def test_an_object_seen_whole_by_a_tile_in_whose_core_it_has_no_pixel_is_one_segment() -> None:
    scene = np.zeros((33, 33), np.int64)
    scene[32, :] = scene[:, 32] = 1
    stitched = StitchedScene(scene, TileSettings(64, 32), FakeModel())
    assert stitched.stitching.area.tolist() == [0, 65]
    assert (stitched.image() == scene).all()


def test_counts_tell_stitched_whole_and_cut_segments() -> None:
    scene = np.zeros((64, 300), np.int64)
    scene[10:20, 5:15] = 1  # whole in one tile
    scene[30:40, 20:290] = 2  # across all tiles
    stitched = StitchedScene(number_parts(scene), TileSettings(96, 32), FakeModel()).stitching
    assert (stitched.n_stitched, stitched.n_whole, stitched.n_cut) == (1, 1, 0)
    tiles = plan_tiles(64, 160, TileSettings(96, 32))
    picture = np.zeros((1, 64, 80), bool)
    picture[0, 10:20, 40:80] = True  # leaves the first tile, and no other tile sees it
    cut = [Masks.from_spans(Spans.from_bitmaps(picture)), Masks.empty(), Masks.empty()]
    assert stitch(tiles, cut.__getitem__).n_cut == 1


def paint_rectangles(tmp_path: Path, *seen: list[tuple[int, int, int, int]]) -> Painting:
    """Paint what tiles side by side see: rectangles (row, col, row_stop, col_stop) of the scene."""
    tiles = plan_tiles(64, 160, TileSettings(96, 32))
    masks = []
    for tile, boxes in zip(tiles, [*seen, *[[]] * (len(tiles) - len(seen))], strict=True):
        bitmaps = np.zeros((len(boxes), 64, 160), bool)
        for bitmap, (row, col, row_stop, col_stop) in zip(bitmaps, boxes, strict=True):
            bitmap[row:row_stop, col:col_stop] = True
        clipped = bitmaps[:, :, tile.window.col : tile.window.col_stop]
        masks.append(Masks.from_spans(Spans.from_bitmaps(clipped)))
    nothing = Spans.from_bitmaps(np.zeros((1, 64, 96), bool))
    counts = GateCounts(0, 0, 0, 0)
    records = [TileResult(some, None, nothing, nothing, counts, {}, NO_COLORS) for some in masks]
    stitching = stitch(tiles, masks.__getitem__)
    grid = Grid(None, None, 64, 160)
    return paint_scene(tmp_path / "s.tif", grid, tiles, records.__getitem__, stitching)


def test_a_mask_is_not_cut_where_its_own_tile_sees_its_end(tmp_path) -> None:
    # Its middle is in the second core, from column 64, but the second tile sees another object.
    painting = paint_rectangles(tmp_path, [(20, 54, 40, 78)], [(10, 52, 50, 120)])
    assert painting.visible.tolist() == [0, 40 * 68 - 20 * 24, 20 * 24]


def test_a_mask_that_would_end_in_a_straight_line_is_painted_below(tmp_path) -> None:
    # The first tile sees up to column 80, its core ends at 64.
    painting = paint_rectangles(tmp_path, [(20, 40, 40, 90)], [(10, 52, 50, 120)])
    assert painting.visible.tolist() == [0, 40 * 68, 20 * 12]


def test_labels_end_where_a_tile_saw_a_border_rather_than_at_the_line_between_two() -> None:
    # Both masks run out of their tiles, but not where they meet: the first ends at column 72.
    tiles = plan_tiles(64, 160, TileSettings(96, 32))
    seen = np.zeros((2, 64, 160), bool)
    seen[0, :30, 20:80] = seen[0, 30:, 20:72] = True
    seen[1, 30:, 48:120] = True
    parts = [
        some[:, tile.window.col : tile.window.col_stop]
        for some, tile in zip(seen, tiles[:2], strict=True)
    ]
    masks = [Masks.from_spans(Spans.from_bitmaps(part[np.newaxis])) for part in parts]
    masks.append(Masks.empty())
    nothing = Spans.from_bitmaps(np.zeros((1, 64, 96), bool))
    counts = GateCounts(1, 0, 0, 1)
    records = [TileResult(some, None, nothing, nothing, counts, {}, NO_COLORS) for some in masks]
    stitching = stitch(tiles, masks.__getitem__)
    cores = paint_cores(Window(0, 0, 64, 160), tiles, records.__getitem__, stitching)
    image = np.concatenate([ids for _, ids, _ in cores], axis=1)
    assert (image[30:, 63] == image[30:, 64]).all()
    assert (image[30:, 71] != image[30:, 72]).all()
    assert (image[:30, 64:] == 0).all()  # only the first tile sees something there, not its own


def test_small_segments_are_painted_on_top_of_large_ones(tmp_path) -> None:
    bitmaps = np.zeros((2, 64, 64), bool)
    bitmaps[0, 20:30, 20:30] = True
    bitmaps[1, 10:50, 10:50] = True
    masks = Masks.from_spans(Spans.from_bitmaps(bitmaps))
    tiles = plan_tiles(64, 64, TileSettings(64, 0))
    nothing = Spans.from_bitmaps(np.zeros((1, 64, 64), bool))
    record = TileResult(masks, None, nothing, nothing, GateCounts(2, 0, 0, 2), {}, NO_COLORS)
    stitching = stitch(tiles, lambda index: masks)
    grid = Grid(None, None, 64, 64)
    painting = paint_scene(tmp_path / "s.tif", grid, tiles, lambda index: record, stitching)
    assert painting.visible.tolist() == [0, 1500, 100]
    assert painting.coverage.no_mask == 64 * 64 - 1600


def test_fill_gives_unlabelled_pixels_to_the_nearest_segment_within_reach(tmp_path) -> None:
    scene = np.zeros((64, 200), np.int64)
    scene[:, 90:100] = 1
    stitched = StitchedScene(scene, TileSettings(96, 32), FakeModel())
    painting = stitched.paint(tmp_path / "s.tif", scene.shape, fill=20)
    assert painting.visible.tolist() == [0, 64 * 50]
    assert painting.coverage.filled == 64 * 40
    assert painting.coverage.labelled + painting.coverage.no_mask == scene.size
