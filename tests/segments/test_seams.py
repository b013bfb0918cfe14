"""The lines between tiles' cores: labels end where a tile saw a border, not at the line."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from alps_geo.scenes.grid import Window
from alps_geo.scenes.tiles import plan_tiles
from alps_geo.segments.seams import Ids, Patch, settle, strip_between
from alps_geo.settings import TileSettings

SCENE = Window(0, 0, 24, 112)
#: The second core begins at column 48; the strip that both tiles see goes from 40 to 56.
FIRST, SECOND = plan_tiles(SCENE.height, SCENE.width, TileSettings(64, 16))[:2]
SEEN = Window(0, 39, 24, 18)


class Line:
    """What two tiles see around the line between them, and what is made of it."""

    def __init__(self, one: Ids, two: Ids) -> None:
        columns = np.arange(SEEN.col, SEEN.col_stop)
        # A tile sees nothing outside its window.
        self.one = np.where(columns < FIRST.window.col_stop, one, 0).astype(np.uint32)
        self.two = np.where(columns >= SECOND.window.col, two, 0).astype(np.uint32)
        self.before = np.where(columns < SECOND.core.col, self.one, self.two)
        self.patches = settle((FIRST, SECOND), SEEN, self.before, (self.one, self.two))
        self.after = self.before.copy()
        for patch in self.patches:
            patch.apply(self.after, SEEN)

    def straight_sides(self, image: Ids) -> int:
        """Count sides on the line at which labels change though both tiles see one thing."""
        left, right = SECOND.core.col - SEEN.col - 1, SECOND.core.col - SEEN.col
        goes_on = (self.one[:, left] == self.one[:, right]) & (self.one[:, left] > 0)
        goes_on &= (self.two[:, left] == self.two[:, right]) & (self.two[:, left] > 0)
        return int(np.count_nonzero(goes_on & (image[:, left] != image[:, right])))


def views(most: int) -> st.SearchStrategy[Ids]:
    """Draw what a tile sees: blocks of a few segments, 0 for none."""
    blocks = st.lists(st.integers(0, 3), min_size=54, max_size=54)

    def draw(numbers: list[int]) -> Ids:
        coarse = np.array(numbers).reshape(6, 9)
        fine = coarse.repeat(4, axis=0).repeat(2, axis=1)
        return np.where(fine > 0, fine + most, 0).astype(np.uint32)

    return blocks.map(draw)


@given(one=views(0), two=views(2))
def test_only_what_both_tiles_see_changes_to_what_the_other_sees(one: Ids, two: Ids) -> None:
    line = Line(one, two)
    changed = line.before != line.after
    left = np.arange(SEEN.col, SEEN.col_stop) < SECOND.core.col
    strip = strip_between(FIRST, SECOND)
    assert strip is not None
    outside = np.ones(changed.shape, bool)
    outside[strip.shift(-SEEN.row, -SEEN.col).slices] = False
    assert not (changed & outside).any()
    assert (line.after == np.where(changed ^ left, line.one, line.two)).all()


@given(one=views(0), two=views(2))
def test_there_are_never_more_straight_borders_than_before(one: Ids, two: Ids) -> None:
    line = Line(one, two)
    assert line.straight_sides(line.after) <= line.straight_sides(line.before)


@given(one=views(0))
def test_nothing_changes_where_both_tiles_see_the_same(one: Ids) -> None:
    assert not any(len(patch.rows) for patch in Line(one, one).patches)


def test_a_piece_that_ends_beyond_the_line_stays_whole() -> None:
    one, two = np.ones((2, 24, 18), np.uint32)
    one[:, 12:] = 3  # the first tile sees a border at column 51
    two[:] = 2
    after = Line(one, two).after
    assert (after[:, :12] == 1).all()
    assert (after[:, 12:] == 2).all()


def test_a_piece_that_neither_tile_sees_end_keeps_its_line() -> None:
    one, two = np.ones((2, 24, 18), np.uint32)
    two[:] = 2
    line = Line(one, two)
    assert (line.after == line.before).all()


def test_what_has_changed_already_stays() -> None:
    ids = np.array([[1, 2]], np.uint32)
    rows, cols = np.zeros(2, np.int64), np.arange(2)
    patch = Patch(rows, cols, np.array([1, 1], np.uint32), np.array([5, 5], np.uint32))
    patch.apply(ids, Window(0, 0, 1, 2))
    assert ids.tolist() == [[5, 2]]


def test_tiles_that_share_no_pixel_have_no_strip() -> None:
    first, second = plan_tiles(10, 140, TileSettings(64, 0))[:2]
    assert strip_between(first, second) is None


def test_a_strip_ends_with_the_two_cores() -> None:
    tiles = {(tile.row, tile.col): tile for tile in plan_tiles(200, 200, TileSettings(64, 32))}
    assert strip_between(tiles[1, 1], tiles[1, 2]) == Window(32, 48, 32, 32)
    assert strip_between(tiles[1, 1], tiles[2, 1]) == Window(48, 32, 32, 32)
