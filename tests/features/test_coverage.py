"""Coverage: the share of each cell that lies under a mask, beside polygons cut by GEOS."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from alps_geo.features.coverage import Points, cover
from alps_geo.scenes.spans import Spans

CELLS = 12, 9


def shares_by_cutting(picture: NDArray[np.bool_], place: Affine) -> NDArray[np.float64]:
    """Cut every pixel with every cell."""
    rows, cols = np.nonzero(picture)
    corners = [(0, 0), (1, 0), (1, 1), (0, 1)]
    rings = [apply(place, np.stack([cols + a, rows + b], axis=1)) for a, b in corners]
    pixels = shapely.polygons(np.stack(rings, axis=1))
    top, left = np.mgrid[: CELLS[0], : CELLS[1]]
    cells = shapely.box(left, top, left + 1, top + 1)
    return shapely.area(shapely.intersection(pixels[:, None, None], cells)).sum(axis=0)


def apply(place: Affine, points: Points) -> Points:
    """Bring points to cells."""
    x, y = points.T.astype(float)
    return np.stack([place.a * x + place.b * y + place.c, place.d * x + place.e * y + place.f], 1)


def dense(strips, count: int) -> NDArray[np.float64]:
    """Return shares as pictures."""
    found = np.zeros((count, *CELLS))
    for window, shares in strips.matrices(count):
        rows, cols = window.slices
        found[:, rows, cols] += shares.toarray().reshape(count, window.height, window.width)
    return found


@settings(max_examples=60)
@example(angle=-71, size=4, mirrored=False, bent=False, seed=0)  # cells cut at a corner only
@given(
    angle=st.sampled_from([0, 0, 90, 180, 270, 33, 45, -71]),
    size=st.sampled_from([1e-3, 0.3, 0.5, 1, 1.7, 4]),
    mirrored=st.booleans(), bent=st.booleans(), seed=st.integers(0, 999),
)  # fmt: skip
def test_shares_are_those_of_polygons_cut_one_by_one(
    angle: int, size: float, mirrored: bool, bent: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    pictures = rng.random((3, 7, 8)) < rng.random((3, 1, 1))
    turned = Affine.rotation(angle) * Affine.scale(size, -size if mirrored else size)
    place = Affine.translation(4.5, 6.25) * turned * Affine.translation(-4, -3.5)
    strips = cover(Spans.from_bitmaps(pictures), lambda p: apply(place, p), CELLS, bent=bent)
    expected = np.array([shares_by_cutting(picture, place) for picture in pictures])
    assert dense(strips, 3) == pytest.approx(expected, abs=2e-8, rel=1e-6)


def test_pixels_that_fall_together_with_cells_cover_no_others() -> None:
    picture = np.ones((1, 4, 4), bool)
    # As coordinates of UTM come out: borders that agree, but for the last digits.
    strips = cover(
        Spans.from_bitmaps(picture), lambda p: p + 3 + 1e-9 * np.sin(p), CELLS, bent=True
    )
    found = dense(strips, 1)[0]
    assert np.count_nonzero(found) == 16
    assert found[3:7, 3:7] == pytest.approx(1)


def test_a_mask_with_a_corner_nowhere_covers_nothing_and_the_others_stay() -> None:
    pictures = np.zeros((2, 4, 8), bool)
    pictures[0, :, :3] = pictures[1, :, 5:] = True

    def to_cells(points: Points) -> Points:
        """Lose what is far right."""
        return np.where(points[:, :1] > 6, np.nan, points)

    strips = cover(Spans.from_bitmaps(pictures), to_cells, CELLS, bent=True)
    assert set(strips.owner) == {0}
    assert dense(strips, 2).sum() == pytest.approx(12)


def test_no_masks_cover_nothing() -> None:
    strips = cover(Spans.concatenate([]), lambda p: p, CELLS, bent=False)
    assert len(strips) == 0
    assert list(strips.matrices(0)) == []
