"""Pooling: the mean of the interpolated embedding, as torch would make it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from alps_geo.features.pooling import mean_colors, pool_features
from alps_geo.models.masks import Embedding
from alps_geo.scenes.spans import Spans


def pool_by_definition(pictures, values, stride, shape):
    """Upsample the embedding with torch, and average it under each mask."""
    cells = torch.from_numpy(values)[None]
    size = [round(side * stride) for side in values.shape[1:]]
    fine = functional.interpolate(cells, size=size, mode="bilinear", align_corners=False)
    fine = fine[0].numpy()[:, : shape[0], : shape[1]]
    return np.array([fine[:, picture].mean(axis=1) for picture in pictures])


@settings(max_examples=60)
@given(
    rows=st.integers(1, 6), cols=st.integers(1, 6), stride=st.sampled_from([1, 2, 4, 16]),
    seed=st.integers(0, 999),
)  # fmt: skip
def test_features_are_means_of_the_bilinearly_upsampled_embedding(
    rows: int, cols: int, stride: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    shape = rows * stride, cols * stride
    values = rng.normal(size=(3, rows, cols)).astype(np.float32)
    pictures = rng.random((4, *shape)) < 0.4
    pictures[:, 0, 0] = True
    embedding = Embedding(values, stride, ("a", "b", "c"), np.ones(3, np.float32))
    pooled = pool_features(Spans.from_bitmaps(pictures), embedding, shape)
    expected = pool_by_definition(pictures, values, stride, shape)
    assert pooled.values == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_the_mean_of_a_constant_is_that_constant_for_every_mask() -> None:
    rng = np.random.default_rng(0)
    values = np.full((1, 64, 64), 0.1, np.float32)
    embedding = Embedding(values, 16, ("a",), np.ones(1, np.float32))
    spans = Spans.from_bitmaps(rng.random((5, 1024, 1024)) < rng.random((5, 1, 1)))
    assert set(pool_features(spans, embedding, (1024, 1024)).values.ravel()) == {np.float32(0.1)}


def interpolate(pixels: int, cells: int, stride: float) -> np.ndarray:
    """Return how much of each cell a pixel takes: hats around the cells' centres."""
    place = np.clip((np.arange(pixels) + 0.5) / stride - 0.5, 0, cells - 1)
    return np.maximum(1 - np.abs(place[:, None] - np.arange(cells)), 0)


@settings(max_examples=60)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)), stride=st.floats(0.4, 14),
    seed=st.integers(0, 999),
)  # fmt: skip
def test_any_stride_and_tiles_of_broken_cells_give_means_of_interpolated_values(
    shape: tuple[int, int], stride: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(2, *(int(side / stride) + 1 for side in shape))).astype(np.float32)
    pictures = rng.random((3, *shape)) < 0.4
    pictures[:, -1, -1] = True
    down, across = (
        interpolate(side, cells, stride)
        for side, cells in zip(shape, values.shape[1:], strict=True)
    )
    fine = down @ values.astype(np.float64) @ across.T
    expected = np.array([fine[:, picture].mean(axis=1) for picture in pictures])
    embedding = Embedding(values, stride, ("a", "b"), np.ones(2, np.float32))
    pooled = pool_features(Spans.from_bitmaps(pictures), embedding, shape)
    assert pooled.values == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_cells_that_a_mask_does_not_touch_may_hold_no_number() -> None:
    values = np.array([[[1, np.nan], [np.nan, np.nan]]], np.float32)
    spans = Spans.from_bitmaps(np.array([[[True, False], [False, False]]]))
    embedding = Embedding(values, 1, ("a",), np.ones(1, np.float32))
    assert pool_features(spans, embedding, (2, 2)).values.tolist() == [[1.0]]


def test_no_masks_give_no_rows() -> None:
    embedding = Embedding(np.zeros((2, 4, 4), np.float32), 2, ("a", "b"), np.ones(2, np.float32))
    assert pool_features(Spans.concatenate([]), embedding, (8, 8)).values.shape == (0, 2)


def test_the_authors_pooling_divides_by_the_number_of_nonzero_products() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(2, 4, 4)).astype(np.float32)
    pictures = np.zeros((2, 64, 64), bool)
    pictures[0, 10:33, 7:50] = True
    pictures[1] = rng.random((64, 64)) < 0.5
    embedding = Embedding(values, 16, ("a", "b"), np.ones(2, np.float32), as_authors=True)
    pooled = pool_features(Spans.from_bitmaps(pictures), embedding, (64, 64))

    def resize(planes):
        cells = torch.from_numpy(planes)[None]
        return functional.interpolate(cells, size=(16, 16), mode="bilinear", align_corners=False)[0]

    masks = resize(pictures.astype(np.float32))
    products = (masks[:, None] * resize(values)[None]).numpy()
    expected = products.sum(axis=(2, 3)) / np.count_nonzero(products, axis=(2, 3))
    assert pooled.values == pytest.approx(expected, rel=1e-4)


@given(seed=st.integers(0, 2**32 - 1))
def test_a_mask_has_the_mean_colour_of_its_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (6, 9, 3), np.uint8)
    bitmaps = rng.random((4, 6, 9)) < 0.4
    bitmaps[:, 0, 0] = True
    wanted = [pixels[bitmap].mean(axis=0) for bitmap in bitmaps]
    found = mean_colors(Spans.from_bitmaps(bitmaps), pixels)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
