"""Grids: pixels to ground and back, with all six numbers, in any unit."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS

from alps_geo.scenes.grid import Grid, Window

windows = st.builds(Window, *[st.integers(0, 30)] * 2, *[st.integers(1, 20)] * 2)
numbers = st.floats(-1000, 1000)


@given(first=windows, second=windows)
def test_the_intersection_holds_the_pixels_of_both(first: Window, second: Window) -> None:
    pictures = np.zeros((2, 60, 60), bool)
    pictures[0][first.slices], pictures[1][second.slices] = True, True
    common = first.intersect(second)
    both = np.zeros((60, 60), bool)
    if common is not None:
        both[common.slices] = True
    assert (both == pictures.all(axis=0)).all()


@given(window=windows, rows=st.integers(1, 25), cols=st.integers(1, 25))
def test_bands_of_blocks_hold_every_pixel_once_in_order(
    window: Window, rows: int, cols: int
) -> None:
    pictures = np.zeros((60, 60), int)
    bands = list(window.bands(rows, cols))
    for band in bands:
        assert len({(block.row, block.height) for block in band}) == 1
        assert all(block.height <= rows and block.width <= cols for block in band)
        for block in band:
            pictures[block.slices] += 1
    assert (pictures[window.slices] == 1).all()
    assert pictures.sum() == window.height * window.width
    corners = [(block.row, block.col) for band in bands for block in band]
    assert corners == sorted(corners)


@given(st.tuples(*[numbers] * 6))
def test_ground_coordinates_are_those_of_the_affine_transform(six: tuple[float, ...]) -> None:
    grid = Grid(None, Affine(*six), 10, 20)
    corners = np.array([[0.0, 0.0], [3.0, 7.0], [20.0, 10.0]])
    expected = [grid.transform @ tuple(corner) for corner in corners]
    assert grid.to_ground(corners) == pytest.approx(np.array(expected), abs=1e-6)


@pytest.mark.parametrize(
    ("crs", "side", "metres"),
    [
        ("EPSG:32640", 2.0, 2.0),
        ("EPSG:2263", 1.0, 0.3048006),
        ("EPSG:4326", 1e-5, 1.11),
        (None, 1, None),
    ],
    ids=["metres", "feet", "degrees", "none"],
)
def test_pixel_sizes_are_in_metres(crs: str | None, side: float, metres: float | None) -> None:
    known = None if crs is None else CRS.from_user_input(crs)
    grid = Grid(known, Affine(side, 0, 0, 0, -side, 0), 100, 100)
    expected = None if metres is None else pytest.approx(metres, rel=0.01)
    assert grid.pixel_size_m == expected


def test_a_resampled_grid_covers_the_same_ground() -> None:
    turned = Affine.translation(500, 900) @ Affine.rotation(30) @ Affine.scale(2, -2)
    grid = Grid(CRS.from_epsg(32640), turned, 101, 203)
    coarse = grid.resample(5)
    assert coarse.pixel_size_m == pytest.approx(5, rel=0.02)
    far = [[float(grid.width), float(grid.height)], [float(coarse.width), float(coarse.height)]]
    assert grid.to_ground(np.array(far[:1])) == pytest.approx(coarse.to_ground(np.array(far[1:])))
    with pytest.raises(ValueError, match="no pixel size"):
        Grid(None, turned, 5, 5).resample(1)
