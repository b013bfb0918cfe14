"""Stitching: however a scene is cut, its objects come out whole and apart."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from alps_geo.features import pool_features
from alps_geo.grid import Grid, Window
from alps_geo.labels import LabelMap, Painting, paint_scene
from alps_geo.masks import GateCounts, Masks
from alps_geo.models.fake import FakeModel, draw_objects
from alps_geo.runs import Runs
from alps_geo.settings import TileSettings
from alps_geo.stitch import Stitching, stitch
from alps_geo.store import TileRecord
from alps_geo.tiles import Tile, plan_tiles

from .strategies import number_parts, object_scenes, tilings


class StitchedScene:
    """A drawn scene, labelled tile by tile with the fake model and stitched."""

    def __init__(self, scene: NDArray[np.int64], cut: TileSettings, model: FakeModel) -> None:
        self.tiles = plan_tiles(*scene.shape, cut)
        self.records = [label(scene, tile, model) for tile in self.tiles]
        self.stitching: Stitching = stitch(self.tiles, lambda index: self.records[index].masks)

    def paint(self, folder: object, shape: tuple[int, int], fill: int = 0) -> Painting:
        grid = Grid(None, None, *shape)
        read = self.records.__getitem__
        return paint_scene(folder, grid, self.tiles, read, self.stitching, fill=fill)


def label(scene: NDArray[np.int64], tile: Tile, model: FakeModel) -> TileRecord:
    pixels = draw_objects(scene[tile.window.slices])
    valid = np.ones(pixels.shape[:2], bool)
    masks, embedding = model.segment(pixels, valid)
    features = pool_features(masks.runs, embedding, valid.shape)
    nothing = Runs.from_bitmaps(np.zeros((1, *valid.shape), bool))
    counts = GateCounts(len(masks), 0, 0, len(masks))
    return TileRecord(masks, features, nothing, nothing, counts, {})


def segment_image(
    stitched: StitchedScene, shape: tuple[int, int], tmp: object
) -> NDArray[np.uint32]:
    stitched.paint(tmp, shape)
    with LabelMap(tmp).open() as read:
        return read(Window(0, 0, *shape))


def pairs(first: NDArray[np.generic], second: NDArray[np.generic]) -> set[tuple[int, int]]:
    return set(zip(first.ravel().tolist(), second.ravel().tolist(), strict=True))


@settings(max_examples=100, deadline=None)
@given(scene=object_scenes(), cut=tilings(), split=st.booleans())
def test_with_exact_masks_segments_are_the_true_objects_for_every_tiling(
    scene: NDArray[np.int64], cut: TileSettings, split: bool, tmp_path_factory
) -> None:
    stitched = StitchedScene(scene, cut, FakeModel(split=split))
    image = segment_image(stitched, scene.shape, tmp_path_factory.mktemp("run") / "segments.tif")
    both = pairs(scene, image)
    assert len(both) == len(np.unique(scene)) == len(np.unique(image))
    assert ((scene == 0) == (image == 0)).all()


@settings(max_examples=30, deadline=None)
@given(scene=object_scenes(), cuts=st.tuples(tilings(), tilings()))
def test_segments_have_the_same_numbers_and_areas_for_every_tiling(
    scene: NDArray[np.int64], cuts: tuple[TileSettings, TileSettings], tmp_path_factory
) -> None:
    folder = tmp_path_factory.mktemp("run")
    first, second = (StitchedScene(scene, cut, FakeModel()) for cut in cuts)
    images = [segment_image(run, scene.shape, folder / "s.tif") for run in (first, second)]
    assert (images[0] == images[1]).all()
    assert (first.stitching.area == second.stitching.area).all()


@settings(max_examples=60, deadline=None)
@given(scene=object_scenes(), cut=tilings())
def test_with_jittered_masks_two_objects_are_never_joined(
    scene: NDArray[np.int64], cut: TileSettings
) -> None:
    # Thinner objects have masks that cover as much of their neighbours as of themselves.
    for number in np.unique(scene[scene > 0]):
        if not ndimage.binary_erosion(scene == number, iterations=4).any():
            scene[scene == number] = 0
    stitched = StitchedScene(scene, cut, FakeModel(jitter=True))
    truth_of: dict[int, set[int]] = {}
    for index, tile in enumerate(stitched.tiles):
        inside = scene[tile.window.slices]
        runs = stitched.records[index].masks.runs
        segments = stitched.stitching.segment[stitched.stitching.masks_of(index)]
        for number, segment in enumerate(segments):
            covered = inside[runs.bitmap(number, *inside.shape)]
            counts = np.bincount(covered)
            counts[0] = 0
            if segment and counts.any():
                truth_of.setdefault(int(segment), set()).add(int(counts.argmax()))
    assert all(len(objects) == 1 for objects in truth_of.values())


def test_a_ring_around_the_core_of_the_tile_that_owns_it_comes_out_once() -> None:
    rows, cols = np.mgrid[:96, :96] - 48
    ring = (rows**2 + cols**2 > 24**2) & (rows**2 + cols**2 < 30**2)
    stitching = StitchedScene(ring.astype(np.int64), TileSettings(64, 32), FakeModel()).stitching
    assert stitching.area.tolist() == [0, np.count_nonzero(ring)]


def test_a_mask_that_its_owner_missed_is_taken_from_the_neighbour() -> None:
    tiles = plan_tiles(64, 160, TileSettings(96, 32))
    picture = np.zeros((1, 64, 96), bool)
    picture[0, 20:40, 66:76] = True  # in both windows, its middle in the second core
    seen = Masks.from_runs(Runs.from_bitmaps(picture))
    assert [tile.core.col for tile in tiles] == [0, 64, 128]
    masks = [seen, Masks.empty(), Masks.empty()]
    assert stitch(tiles, masks.__getitem__).area.tolist() == [0, 200]


def test_counts_tell_stitched_whole_and_cut_segments() -> None:
    scene = np.zeros((64, 300), np.int64)
    scene[10:20, 5:15] = 1  # whole in one tile
    scene[30:40, 20:290] = 2  # across all tiles
    stitched = StitchedScene(number_parts(scene), TileSettings(96, 32), FakeModel()).stitching
    assert (stitched.n_stitched, stitched.n_whole, stitched.n_cut) == (1, 1, 0)
    tiles = plan_tiles(64, 160, TileSettings(96, 32))
    picture = np.zeros((1, 64, 80), bool)
    picture[0, 10:20, 40:80] = True  # leaves the first tile, and no other tile sees it
    cut = [Masks.from_runs(Runs.from_bitmaps(picture)), Masks.empty(), Masks.empty()]
    assert stitch(tiles, cut.__getitem__).n_cut == 1


def test_small_segments_are_painted_on_top_of_large_ones(tmp_path) -> None:
    bitmaps = np.zeros((2, 64, 64), bool)
    bitmaps[0, 20:30, 20:30] = True
    bitmaps[1, 10:50, 10:50] = True
    masks = Masks.from_runs(Runs.from_bitmaps(bitmaps))
    tiles = plan_tiles(64, 64, TileSettings(64, 0))
    nothing = Runs.from_bitmaps(np.zeros((1, 64, 64), bool))
    record = TileRecord(masks, None, nothing, nothing, GateCounts(2, 0, 0, 2), {})
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
