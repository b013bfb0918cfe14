"""How scenes are cut: every pixel once, every small object whole somewhere."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from alps_geo.scenes.tiles import plan_tiles
from alps_geo.settings import TileSettings

from ..strategies import tilings

lengths = st.integers(1, 700)


@given(height=lengths, width=lengths, settings=tilings())
def test_cores_cover_each_pixel_once(height: int, width: int, settings: TileSettings) -> None:
    owners = np.zeros((height, width), int)
    for tile in plan_tiles(height, width, settings):
        assert owners[tile.core.slices].shape == tile.core[2:]
        owners[tile.core.slices] += 1
    assert (owners == 1).all()


@given(height=lengths, width=lengths, settings=tilings())
def test_windows_stay_inside_the_scene_and_within_the_tile_size(
    height: int, width: int, settings: TileSettings
) -> None:
    for tile in plan_tiles(height, width, settings):
        assert tile.window.intersect(tile.core) == tile.core
        assert 0 <= tile.window.row <= tile.window.row_stop <= height
        assert 0 <= tile.window.col <= tile.window.col_stop <= width
        assert max(tile.window.height, tile.window.width) <= settings.size


@given(length=lengths, settings=tilings(), place=st.floats(0, 1), share=st.floats(0, 1))
def test_the_tile_that_holds_the_middle_of_a_small_object_sees_all_of_it(
    length: int, settings: TileSettings, place: float, share: float
) -> None:
    extent = max(1, int(share * (min(settings.overlap, length) - 1)))
    start = int(place * (length - extent))
    middle = (start + start + extent) // 2
    owner = plan_tiles(1, length, settings)[middle // (settings.size - settings.overlap)]
    assert owner.core.col <= middle < owner.core.col_stop
    assert owner.window.col <= start
    assert start + extent <= owner.window.col_stop
