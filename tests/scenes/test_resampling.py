"""Resampling: right values, and the same for every window."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from alps_geo.scenes.grid import Window
from alps_geo.scenes.resampling import Axis, resample, source_window

sizes = st.integers(1, 60)


def read(
    pixels: np.ndarray, valid: np.ndarray, window: Window, axes: tuple[Axis, Axis]
) -> tuple[np.ndarray, np.ndarray]:
    rows, cols = source_window(window, *axes).slices
    return resample(pixels[:, rows, cols], valid[rows, cols], window, axes)


@given(source=sizes, target=sizes)
def test_weights_of_a_pixel_add_up_to_its_extent(source: int, target: int) -> None:
    axis = Axis(source, target)
    sums = axis.weights(0, target).sum(axis=1)
    np.testing.assert_allclose(sums, max(1.0, source / target), rtol=1e-6)


@given(
    source=st.tuples(sizes, sizes),
    target=st.tuples(sizes, sizes),
    data=st.data(),
    seed=st.integers(0, 99),
)
def test_values_do_not_depend_on_the_window(
    source: tuple[int, int], target: tuple[int, int], data: st.DataObject, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    pixels, valid = rng.normal(size=(3, *source)), rng.random(source) < 0.8
    axes = Axis(source[0], target[0]), Axis(source[1], target[1])
    whole, whole_valid = read(pixels, valid, Window(0, 0, *target), axes)
    row = data.draw(st.integers(0, target[0] - 1))
    col = data.draw(st.integers(0, target[1] - 1))
    height = data.draw(st.integers(1, target[0] - row))
    width = data.draw(st.integers(1, target[1] - col))
    window = Window(row, col, height, width)
    part, part_valid = read(pixels, valid, window, axes)
    rows, cols = window.slices
    assert (part == whole[:, rows, cols]).all()
    assert (part_valid == whole_valid[rows, cols]).all()


def test_coarser_pixels_are_means_over_valid_pixels() -> None:
    pixels = np.array([[[1, 3, 10, 999], [5, 7, 20, 999]]] * 3, np.uint16)
    valid = np.array([[True, True, True, False], [True, True, True, False]])
    means, known = read(pixels, valid, Window(0, 0, 1, 2), (Axis(2, 1), Axis(4, 2)))
    assert means[0].tolist() == [[4, 15]]
    assert known.tolist() == [[True, True]]


def test_a_pixel_with_less_than_half_of_its_extent_valid_is_invalid() -> None:
    valid = np.zeros((2, 2), bool)
    valid[0, 0] = True
    means, known = read(np.ones((3, 2, 2)), valid, Window(0, 0, 1, 1), (Axis(2, 1), Axis(2, 1)))
    assert not known.any()
    assert (means == 0).all()


def test_finer_pixels_follow_a_ramp() -> None:
    ramp = np.broadcast_to(np.arange(8.0), (3, 8, 8))
    fine, _ = read(ramp, np.ones((8, 8), bool), Window(0, 0, 16, 16), (Axis(8, 16), Axis(8, 16)))
    np.testing.assert_allclose(fine[0, 0, 1:-1], np.arange(0.25, 7, 0.5))
    assert fine[0, 0, 0] == 0
    assert fine[0, 0, -1] == 7


def test_nan_under_an_invalid_pixel_does_not_spread() -> None:
    pixels, valid = np.ones((3, 4, 4)), np.ones((4, 4), bool)
    pixels[:, 0, 0], valid[0, 0] = np.nan, False
    means, known = read(pixels, valid, Window(0, 0, 2, 2), (Axis(4, 2), Axis(4, 2)))
    assert known.all()
    assert (means == 1).all()
