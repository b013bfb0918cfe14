"""The built-in model: regions at several scales, and what they look like."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from alps_geo.features.pooling import pool_features
from alps_geo.models.builtin import texture
from alps_geo.models.builtin.hierarchy import Hierarchy, MergeRules, _best_matches, build_hierarchy
from alps_geo.models.builtin.model import BuiltinModel
from alps_geo.models.masks import Embedding, Masks
from alps_geo.scenes.spans import Spans
from alps_geo.settings import GateSettings

Pixels = NDArray[np.uint8]
Valid = NDArray[np.bool_]

SIZE = 192
RULES = MergeRules(limit=1e5, max_area=1 << 14, min_area=16)


def draw_fields(size: int = SIZE, seed: int = 0) -> Pixels:
    """Return a textured picture: fields of several colours, a disc, a narrow road, some noise."""
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[:size, :size]
    picture = np.empty((size, size, 3))
    picture[:] = (90, 120, 60)
    picture[cols > 0.45 * size] = (170, 150, 110)
    picture[(rows > 0.6 * size) & (cols > 0.45 * size)] = (60, 80, 130)
    picture[(rows - 0.3 * size) ** 2 + (cols - 0.22 * size) ** 2 < (0.11 * size) ** 2] = (
        200,
        90,
        70,
    )
    picture[abs(rows - 0.55 * size + 0.1 * cols) < 3] = (140, 140, 140)
    stripes = 12 * ((rows // 4) % 2) * (cols < 0.45 * size)
    picture += stripes[:, :, np.newaxis] + rng.normal(0, 4, picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8)


def all_valid(pixels: Pixels) -> Valid:
    """Return a valid mask without a hole."""
    return np.ones(pixels.shape[:2], bool)


def paint(masks: Masks, shape: tuple[int, int]) -> NDArray[np.int64]:
    """Return the number of the smallest mask at each pixel, -1 where there is none."""
    picture = np.full(shape, -1)
    for index in np.argsort(-masks.spans.areas, kind="stable"):
        picture[masks.spans.bitmap(int(index), *shape)] = index
    return picture


def build(pixels: Pixels) -> Hierarchy:
    """Return the hierarchy of a tile without invalid pixels."""
    return build_hierarchy(texture.to_lab(pixels), all_valid(pixels), RULES)


@pytest.fixture(scope="module")
def fields() -> Pixels:
    """Return a textured picture."""
    return draw_fields()


@pytest.fixture(scope="module")
def found(fields: Pixels) -> tuple[Masks, Embedding]:
    """Return what the model finds in a textured picture."""
    return BuiltinModel().segment(fields, all_valid(fields))


@st.composite
def tiles(draw: st.DrawFn) -> tuple[Pixels, Valid]:
    """Draw a small tile of blocks, ramps or noise with a hole in its valid area."""
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    block = draw(st.sampled_from([1, 5, 16]))
    coarse = rng.integers(0, 256, (height // block + 1, width // block + 1, 3))
    pixels = coarse.repeat(block, axis=0).repeat(block, axis=1)[:height, :width].astype(np.uint8)
    if draw(st.booleans()):
        pixels[:] = (np.arange(width) * 3 % 256)[np.newaxis, :, np.newaxis]
    valid = np.ones((height, width), bool)
    valid[draw(st.integers(0, height)) :, : draw(st.integers(0, width))] = False
    return pixels, valid


class TestMasks:
    def test_objects_that_stand_out_are_found_whole(
        self, fields: Pixels, found: tuple[Masks, Embedding]
    ) -> None:
        rows, cols = np.mgrid[:SIZE, :SIZE]
        disc = (rows - 0.3 * SIZE) ** 2 + (cols - 0.22 * SIZE) ** 2 < (0.11 * SIZE) ** 2
        bitmaps = [found[0].spans.bitmap(i, SIZE, SIZE) for i in range(len(found[0]))]
        best = max((disc & some).sum() / (disc | some).sum() for some in bitmaps)
        assert best > 0.9

    def test_all_ground_is_covered(self, found: tuple[Masks, Embedding]) -> None:
        assert (paint(found[0], (SIZE, SIZE)) >= 0).all()

    def test_there_are_parts_and_wholes(self, found: tuple[Masks, Embedding]) -> None:
        assert found[0].spans.areas.sum() > 1.05 * SIZE * SIZE

    def test_two_masks_are_nested_or_apart(self, found: tuple[Masks, Embedding]) -> None:
        matrix = found[0].spans.matrix(SIZE, SIZE).astype(np.int64)
        shared = (matrix @ matrix.T).toarray()
        smaller = np.minimum.outer(found[0].spans.areas, found[0].spans.areas)
        assert ((shared == 0) | (shared == smaller)).all()

    def test_no_mask_comes_twice(self, found: tuple[Masks, Embedding]) -> None:
        spans = found[0].spans
        assert len({spans.take(np.array([i])).values.tobytes() for i in range(len(spans))}) == len(
            spans
        )

    def test_points_lie_inside(self, found: tuple[Masks, Embedding]) -> None:
        for index, (row, col) in enumerate(found[0].points):
            assert found[0].spans.bitmap(index, SIZE, SIZE)[row, col]

    @given(tiles())
    def test_any_tile_is_done_and_scores_are_shares(self, tile: tuple[Pixels, Valid]) -> None:
        masks, embedding = BuiltinModel().segment(*tile)
        for scores in (masks.stability, masks.predicted_iou):
            assert ((scores >= 0) & (scores <= 1)).all()
        assert np.isfinite(embedding.values).all()
        assert len(embedding.values) == len(embedding.names) == len(embedding.weights)

    @given(tiles())
    def test_invalid_pixels_are_never_covered(self, tile: tuple[Pixels, Valid]) -> None:
        masks, _ = BuiltinModel().segment(*tile)
        assert tile[1][masks.spans.pixels()].all()

    @given(tiles(), st.integers(0, 255))
    def test_what_lies_under_invalid_pixels_changes_nothing(
        self, tile: tuple[Pixels, Valid], value: int
    ) -> None:
        pixels, valid = tile
        masks, embedding = BuiltinModel().segment(pixels, valid)
        other = np.where(valid[:, :, np.newaxis], pixels, np.uint8(value))
        masks_again, embedding_again = BuiltinModel().segment(other, valid)
        np.testing.assert_array_equal(masks.spans.values, masks_again.spans.values)
        np.testing.assert_array_equal(embedding.values, embedding_again.values)

    @given(st.tuples(*[st.integers(0, 255)] * 3), st.integers(1, 60), st.integers(1, 60))
    def test_nothing_is_found_where_all_is_alike(
        self, colour: tuple[int, int, int], height: int, width: int
    ) -> None:
        pixels = np.full((height, width, 3), colour, np.uint8)
        valid = all_valid(pixels)
        valid[: height // 3, : width // 2] = False
        assert len(BuiltinModel().segment(pixels, valid)[0]) == 0

    def test_flat_ground_beside_something_is_covered_in_pieces(self) -> None:
        pixels = np.full((300, 300, 3), 20, np.uint8)
        pixels[:, 280:] = 200
        masks, _ = BuiltinModel().segment(pixels, all_valid(pixels))
        assert masks.spans.areas.max() <= 0.3 * pixels.shape[0] * pixels.shape[1]
        assert (paint(masks, (300, 300)) >= 0).all()

    def test_the_same_tile_gives_the_same_result(
        self, fields: Pixels, found: tuple[Masks, Embedding]
    ) -> None:
        masks, embedding = BuiltinModel().segment(fields, all_valid(fields))
        np.testing.assert_array_equal(masks.spans.values, found[0].spans.values)
        np.testing.assert_array_equal(masks.stability, found[0].stability)
        np.testing.assert_array_equal(embedding.values, found[1].values)

    def test_a_shifted_tile_has_the_same_regions_away_from_its_border(self) -> None:
        picture = draw_fields(400, seed=3)
        one = picture[:320, :320]
        two = picture[26:346, 38:358]
        labels_one = paint(BuiltinModel().segment(one, all_valid(one))[0], (320, 320))
        labels_two = paint(BuiltinModel().segment(two, all_valid(two))[0], (320, 320))
        seen_one, seen_two = labels_one[90:270, 102:270], labels_two[64:244, 64:232]
        pairs = np.unique(seen_one * 10**6 + seen_two, return_counts=True)
        best = np.zeros(labels_one.max() + 1)
        np.maximum.at(best, pairs[0] // 10**6, pairs[1])
        assert best.sum() > 0.9 * seen_one.size


class TestFeatures:
    def test_a_place_looks_the_same_in_a_shifted_tile(self) -> None:
        picture = draw_fields(500, seed=1)
        one, two = (
            texture.describe(texture.to_lab(some), all_valid(some))
            for some in (picture[:480, :480], picture[16:496, 16:496])
        )
        np.testing.assert_allclose(one[:, 72:168, 72:168], two[:, 64:160, 64:160], atol=0.02)

    def test_grey_has_no_colour_at_all(self) -> None:
        pixels = np.repeat(draw_fields()[:, :, :1], 3, axis=2)
        _, embedding = BuiltinModel().segment(pixels, all_valid(pixels))
        for name in ("green_red", "blue_yellow", "green_red_around", "blue_yellow_around"):
            assert not embedding.values[embedding.names.index(name)].any()

    def test_texture_separates_what_colour_does_not(self) -> None:
        rng = np.random.default_rng(5)
        pixels = np.full((128, 128, 3), 120, np.uint8)
        pixels[:, 64:] = np.clip(rng.normal(120, 40, (128, 64, 1)), 0, 255).astype(np.uint8)
        planes = texture.describe(texture.to_lab(pixels), all_valid(pixels))
        rough = planes[texture.NAMES.index("roughness")]
        assert rough[:, 40:].min() > rough[:, :24].max() + 1

    def test_a_border_of_no_data_is_no_edge(self) -> None:
        pixels = np.full((96, 96, 3), 200, np.uint8)
        valid = all_valid(pixels)
        valid[:, 50:] = False
        planes = texture.describe(texture.to_lab(pixels), valid)
        rough = planes[texture.NAMES.index("roughness"), :, :25]
        assert np.ptp(rough) < 1e-3

    def test_stripes_have_a_direction_and_noise_has_none(self) -> None:
        rows, _ = np.mgrid[:128, :128]
        stripes = np.repeat((100 + 60 * (rows // 6 % 2))[:, :, np.newaxis], 3, 2).astype(np.uint8)
        noise = np.random.default_rng(2).permutation(stripes.reshape(-1, 3)).reshape(stripes.shape)
        column = texture.NAMES.index("direction_around")
        striped, noisy = (
            texture.describe(texture.to_lab(some), all_valid(some))[column].mean()
            for some in (stripes, noise)
        )
        assert striped > 0.9
        assert noisy < 0.3

    def test_long_narrow_masks_are_stretched_and_narrow(self) -> None:
        pixels = np.full((120, 120, 3), 60, np.uint8)
        pixels[56:62] = 220
        pixels[20:40, 20:40] = 150
        masks, embedding = BuiltinModel().segment(pixels, all_valid(pixels))
        values = pool_features(masks.spans, embedding, (120, 120)).values
        picture = paint(masks, (120, 120))
        road, roof = picture[59, 60], picture[30, 30]
        stretched, narrow = (embedding.names.index(name) for name in ("stretched", "narrow"))
        assert values[road, stretched] > values[roof, stretched] + 1
        assert values[road, narrow] < values[roof, narrow]


class TestHierarchy:
    def test_heights_never_fall_towards_the_top(self, fields: Pixels) -> None:
        tree = build(fields)
        below = np.flatnonzero(tree.parents >= 0)
        assert (tree.parents[below] > below).all()
        assert (tree.heights[tree.parents[below]] >= tree.heights[below]).all()

    def test_regions_of_a_lower_cut_lie_in_those_of_a_higher_one(self, fields: Pixels) -> None:
        tree = build(fields)
        low, high = tree.cut(500), tree.cut(5000)
        assert len(np.unique(low * 10**6 + high)) == len(np.unique(low))

    def test_regions_are_connected_and_within_their_sizes(self, fields: Pixels) -> None:
        tree = build(fields)
        regions = tree.cut(RULES.limit)[tree.leaves - 1]
        areas = np.unique(regions, return_counts=True)[1]
        assert areas.min() >= RULES.min_area
        assert areas.max() < RULES.max_area + 4 * RULES.min_area
        numbers = np.unique(regions, return_inverse=True)[1].reshape(regions.shape)
        parts, _ = Spans.from_labels(numbers + 1, len(areas)).connected_parts()
        assert len(parts) == len(areas)

    def test_long_chains_of_equals_take_few_rounds(self) -> None:
        links = np.arange(1000)
        pairs = np.stack([links, links + 1], axis=1)
        assert len(_best_matches(pairs, np.ones(1000), 1001)) > 200

    def test_the_checksum_names_the_version(self) -> None:
        assert BuiltinModel().checksum == BuiltinModel().checksum
        assert len(BuiltinModel().checksum) == 64


def draw_half_and_dots(size: int = 96) -> Pixels:
    """Return a picture of one large field, and small roofs of 9 pixels on the other ground."""
    rng = np.random.default_rng(5)
    picture = np.full((size, size, 3), (60, 110, 50)) + rng.normal(0, 1, (size, size, 1))
    picture[:, : size // 3] = (170, 150, 110)
    for row in range(8, size - 8, 16):
        for col in range(size // 3 + 8, size - 8, 16):
            picture[row : row + 3, col : col + 3] = (250, 40, 40)
    return np.clip(picture, 0, 255).astype(np.uint8)


def test_a_wider_gate_lets_larger_regions_be_made() -> None:
    pixels = draw_half_and_dots()
    total = pixels.shape[0] * pixels.shape[1]
    shares = {}
    for threshold in (0.1, 0.3, 0.9):
        model = BuiltinModel(GateSettings(area_threshold=threshold))
        shares[threshold] = model.segment(pixels, all_valid(pixels))[0].spans.areas.max() / total
    # What is smaller than any region may be joins a region that is full already.
    assert shares[0.1] == shares[0.3] < 0.3 < shares[0.9] <= 0.9


def test_a_lower_least_area_lets_smaller_regions_be_made() -> None:
    pixels = draw_half_and_dots()
    smallest = {
        least: BuiltinModel(GateSettings(min_area_px=least))
        .segment(pixels, all_valid(pixels))[0]
        .spans.areas.min()
        for least in (4, 16, 40)
    }
    assert smallest[4] < 16 <= smallest[16] == smallest[40]


def test_the_usual_gate_changes_nothing(fields: Pixels, found: tuple[Masks, Embedding]) -> None:
    masks, embedding = BuiltinModel(GateSettings()).segment(fields, all_valid(fields))
    assert np.array_equal(masks.spans.areas, found[0].spans.areas)
    assert np.array_equal(embedding.values, found[1].values)
