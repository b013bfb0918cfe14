"""Where patches lie, and that no ground is in two splits."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS

from alps_geo.exports.patches import TRAIN, VAL, BlockSplit, axis_starts, plan_patches
from alps_geo.scenes.grid import Grid

SIZE, OVERLAP = 896, 384


@pytest.mark.parametrize(
    ("side", "starts"),
    [
        (800, [0]),
        (896, [0]),
        (1000, [0, 104]),
        (3000, [0, 512, 1024, 1536, 2048, 2104]),
        (4000, [0, 512, 1024, 1536, 2048, 2560, 3072, 3104]),
    ],
)
def test_patches_begin_where_mmsegmentations_do(side: int, starts: list[int]) -> None:
    assert axis_starts(side, SIZE, OVERLAP) == starts


def by_the_rule(side: int, size: int, overlap: int) -> list[int]:
    """As the converter says it: one by one, the last ones moved back, doubles dropped."""
    found = []
    for start in range(0, max(side, size), size - overlap):
        moved = start if start + size <= max(side, size) else max(side, size) - size
        if moved not in found:
            found.append(moved)
    return found


@given(st.integers(1, 20000), st.integers(32, 1500), st.data())
def test_patches_follow_the_rule_and_leave_no_pixel_out(
    side: int, size: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(0, size - 1).filter(lambda part: size - part > 8))
    starts = axis_starts(side, size, overlap)
    assert starts == by_the_rule(side, size, overlap)
    assert starts[0] == 0
    assert starts[-1] + size >= side
    assert all(two - one <= size for one, two in pairwise(starts))


def grid(height: int, width: int, x: float = 320000.0, code: int | None = 32640) -> Grid:
    crs = None if code is None else CRS.from_epsg(code)
    return Grid(crs, Affine(0.5, 0.1, x, 0.1, -0.5, 2780000.0), height, width)


@settings(max_examples=12)
@given(
    st.integers(100, 900), st.integers(100, 900), st.integers(0, 400),
    st.floats(0.05, 0.6), st.integers(0, 3),
)  # fmt: skip
def test_no_ground_is_in_two_splits(
    height: int, width: int, shift: int, share: float, seed: int
) -> None:
    grids = {"one": grid(height, width), "two": grid(300, 500, 320000.0 + shift)}
    patches = [patch for name in grids for patch in plan_patches(name, grids[name], 96, 32)]
    split = BlockSplit(grids, patches, 128, share, seed)
    covered: dict[str, set[tuple[int, int]]] = {TRAIN: set(), VAL: set(), "": set()}
    for patch in patches:
        place, window = grids[patch.scene], patch.window
        rows = np.arange(window.row, min(window.row_stop, place.height), 7)
        cols = np.arange(window.col, min(window.col_stop, place.width), 7)
        corners = np.array([(col + 0.5, row + 0.5) for row in rows for col in cols])
        # Squares of 1 m: pixels are half of that.
        ground = np.floor(place.to_ground(corners)).astype(int)
        covered[split.split(patch)] |= {(x, y) for x, y in ground.tolist()}
    assert not covered[TRAIN] & covered[VAL]


def test_a_scene_of_one_block_is_for_training() -> None:
    patches = list(plan_patches("one", grid(90, 90), 64, 0))
    split = BlockSplit({"one": grid(90, 90)}, patches, 100000, 0.2)
    assert {split.split(patch) for patch in patches} == {TRAIN}


def test_two_blocks_give_one_for_validation() -> None:
    grids = {"one": grid(100, 100, code=None), "two": grid(100, 100, code=None)}
    patches = [next(plan_patches(name, place, 64, 0)) for name, place in grids.items()]
    split = BlockSplit(grids, patches, 100000, 0.1)
    assert sorted(split.split(patch) for patch in patches) == [TRAIN, VAL]
