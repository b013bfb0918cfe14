"""Pictures of a scene for people: any part of it, in as many pixels as are wanted."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .grid import Window
from .rasters.thinned import read_thinned, read_thinned_bands
from .scene import Scene

#: Windows up to this many pixels are read as they are, and resized then.
EXACT_PX = 2**18


def read_picture(
    scene: Scene, window: Window, shape: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Read a part of a scene as a picture, with the stretch that tiles are read with.

    Of a scene with an area of interest only the pixels around the area are read, in full: those
    outside of it show, too. Memory follows the picture, not the part.

    Parameters
    ----------
    scene : Scene
        With a stretch.
    window : Window
        Inside the grid.
    shape : (int, int)
        Height and width of the picture, in pixels.

    Returns
    -------
    pixels : ndarray of uint8, shape (height, width, 3)
        0 where not valid.
    valid : ndarray of bool, shape (height, width)

    Raises
    ------
    AlpsGeoError
        If the file is gone, damaged, or another one.
    """
    inside = window.intersect(scene.region)
    if inside != window:
        return _read_inside(scene, window, inside, shape)
    # Blocks of colour are smoothed for the mask model, not for people.
    whole = dataclasses.replace(scene, aoi=None, blocks=None)
    if window.height * window.width <= EXACT_PX:
        pixels, valid = whole.read(window)
        return _resize(pixels, shape), _thin(valid, shape)
    source = _source_of(scene, window)
    stretch = scene.stretch
    if stretch is None:
        raise ValueError("a scene needs a stretch before it is read: with_stretch")
    if stretch.components is not None:
        bands = read_thinned_bands(scene.raster, scene.measured, source, shape)
        known = np.asarray(np.isfinite(bands).any(axis=0))
        return stretch.apply(stretch.components.project(bands), known), known
    values, known = read_thinned(scene.raster, source, shape)
    return stretch.apply(values, known), known


def _read_inside(
    scene: Scene, window: Window, inside: Window | None, shape: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Read the part of a window that the area of interest touches; the rest is not valid."""
    pixels, valid = np.zeros((*shape, 3), np.uint8), np.zeros(shape, bool)
    if inside is None:
        return pixels, valid
    rows = _places(inside.row - window.row, inside.height, window.height, shape[0])
    cols = _places(inside.col - window.col, inside.width, window.width, shape[1])
    place = slice(*rows), slice(*cols)
    size = rows[1] - rows[0], cols[1] - cols[0]
    pixels[place], valid[place] = read_picture(scene, inside, size)
    return pixels, valid


def _places(start: int, length: int, of: int, wanted: int) -> tuple[int, int]:
    """Return the first pixel of a picture that a part of a side has, and the one after its last."""
    first = min(round(start * wanted / of), wanted - 1)
    return first, max(first + 1, round((start + length) * wanted / of))


def _resize(pixels: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Average pixels where there are too many of them, and smooth them where there are too few."""
    how = Image.Resampling.BOX if shape[0] < pixels.shape[0] else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(pixels).resize(shape[::-1], how))


def _thin(valid: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the nearest pixel of each."""
    rows, cols = (
        (np.arange(wanted) * there // wanted)
        for wanted, there in zip(shape, valid.shape, strict=True)
    )
    return valid[np.ix_(rows, cols)]


def _source_of(scene: Scene, window: Window) -> Window:
    """Return the nearest whole pixels of the file under a window of the grid."""
    place, file = window.shift(scene.part.row, scene.part.col), scene.raster.grid
    down, across = file.height / scene.whole.height, file.width / scene.whole.width
    row, col = round(place.row * down), round(place.col * across)
    row_stop = max(row + 1, min(round(place.row_stop * down), file.height))
    col_stop = max(col + 1, min(round(place.col_stop * across), file.width))
    return Window(row, col, row_stop - row, col_stop - col)
