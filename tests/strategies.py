"""Hypothesis strategies that several tests draw from."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage

from alps_geo.settings import TileSettings

sides = st.integers(1, 20)


@st.composite
def bitmaps(draw: st.DrawFn) -> NDArray[np.bool_]:
    """Draw several bitmaps of one shape, shape (n, height, width)."""
    shape = draw(st.tuples(st.integers(0, 4), sides, sides))
    return draw(hnp.arrays(bool, shape))


@st.composite
def tilings(draw: st.DrawFn) -> TileSettings:
    """Draw a tile size and an overlap of at least 32 pixels."""
    size = draw(st.integers(64, 112))
    return TileSettings(size, 2 * draw(st.integers(16, size // 4)))


@st.composite
def object_scenes(draw: st.DrawFn) -> NDArray[np.int64]:
    """Draw a scene of numbered, connected objects, 0 between them, shape (height, width).

    Discs, rings, U-shapes, diagonal strips and bars, of any size, nested and touching.
    """
    height, width = draw(st.tuples(st.integers(20, 160), st.integers(20, 160)))
    scene = np.zeros((height, width), np.int64)
    place = st.tuples(
        st.sampled_from(sorted(_SHAPES)),
        st.integers(0, height - 1),
        st.integers(0, width - 1),
        st.integers(3, 90),
    )
    rows, cols = np.mgrid[:height, :width]
    for number, (shape, row, col, size) in enumerate(draw(st.lists(place, max_size=10)), start=1):
        scene[_SHAPES[shape](rows - row, cols - col, size)] = number
    return number_parts(scene)


_SHAPES = {
    "disc": lambda y, x, size: y**2 + x**2 < size**2,
    "ring": lambda y, x, size: (y**2 + x**2 < size**2) & (y**2 + x**2 > (0.8 * size) ** 2),
    "u": lambda y, x, size: (
        (abs(y) < size) & (abs(x) < size) & ~((abs(x) < size - 4) & (y < size - 4))
    ),
    "strip": lambda y, x, size: abs(y - x) < 2 + size // 30,
    "bar": lambda y, x, size: (abs(y) < size) & (abs(x) < size // 4 + 1),
}


def thicken(scene: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Take from every object what is thinner than `width` pixels, and number its parts anew."""
    thick = np.zeros_like(scene)
    for number in np.unique(scene[scene > 0]):
        thin = ndimage.minimum_filter(scene == number, width, mode="constant")
        thick[ndimage.maximum_filter(thin, width, mode="constant", origin=width % 2 - 1)] = number
    return number_parts(thick)


def number_parts(scene: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give every 8-connected part of every object a number of its own."""
    parts = np.zeros_like(scene)
    count = 0
    for number in np.unique(scene[scene > 0]):
        labels, found = ndimage.label(scene == number, np.ones((3, 3)))
        parts[labels > 0] = labels[labels > 0] + count
        count += found
    return parts
