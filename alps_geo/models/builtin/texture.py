"""What each place of a tile looks like: colour, texture and surroundings as planes of numbers.

Every number depends on the pixels within about 100 pixels and on nothing else of the tile, so
that a place has the same numbers in every tile that shows it, and pixels without data count
nowhere: all means are weighted with the share of valid pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.color import rgb2lab

Plane = NDArray[np.float32]
Planes = NDArray[np.float32]

#: Tile pixels per cell of the planes.
STRIDE = 2
#: Names of the planes.
NAMES = (
    *("lightness", "green_red", "blue_yellow"),
    *("lightness_around", "green_red_around", "blue_yellow_around"),
    *("roughness", "roughness_around", "colour_roughness"),
    *("direction", "direction_around"),
)
_OCTAVES = 4  # periods of texture from 2 to 32 pixels
_OBJECT, _SURROUNDINGS = 4, 16  # pixels; radii over which texture is averaged
_CONTEXT = 16  # pixels; radius over which colour is averaged
_NOISE = 0.25  # squared Lab units; texture below it is noise and rounding
_TRUNCATE = 3.0  # standard deviations at which a Gaussian ends
_TINY = np.float32(1e-6)


def to_lab(pixels: NDArray[np.uint8]) -> Planes:
    """Return CIE L*a*b* colour, shape (3, height, width), of red, green and blue.

    Rounded to a hundredth, so that grey is exactly without colour.
    """
    lab = np.moveaxis(rgb2lab(pixels.astype(np.float32) / 255), 2, 0)
    return np.ascontiguousarray(np.round(lab, 2), np.float32)


def blur(planes: Planes, share: Plane, sigma: float) -> Iterator[Plane]:
    """Smooth planes one by one with a Gaussian that counts valid pixels only.

    Parameters
    ----------
    planes : ndarray of float32, shape (n, height, width)
    share : ndarray of float32, shape (height, width)
        Valid share of each pixel.
    sigma : float
        Standard deviation in pixels.
    """
    total = np.maximum(_gaussian(share, sigma), _TINY)
    for plane in planes:
        yield _gaussian(plane * share, sigma) / total


def describe(lab: Planes, valid: NDArray[np.bool_]) -> Planes:
    """Return what every place looks like, one plane per name in `NAMES`.

    Parameters
    ----------
    lab : ndarray of float32, shape (3, height, width)
    valid : ndarray of bool, shape (height, width)

    Returns
    -------
    ndarray of float32, shape (n_planes, ceil(height / STRIDE), ceil(width / STRIDE))
    """
    levels = [Level(lab, valid.astype(np.float32), 1)]
    while len(levels) < _OCTAVES:
        levels.append(levels[-1].halve())
    grid = levels[1]
    shape = grid.share.shape
    rough, colour_rough = _roughness(levels, _OBJECT, shape)
    rough_around, _ = _roughness(levels, _SURROUNDINGS, shape)
    planes = [
        *np.where(grid.share > 0, grid.planes, grid.smooth(2 * grid.cell)),
        *levels[-1].pool(_CONTEXT).spread(shape),
        *(rough, rough_around, colour_rough - rough),
        *(_direction(grid, radius, shape) for radius in (_OBJECT, _SURROUNDINGS)),
    ]
    return np.stack(planes)


@dataclass(frozen=True)
class Level:
    """Planes at one level of a pyramid.

    Attributes
    ----------
    planes : ndarray of float32, shape (n, rows, cols)
    share : ndarray of float32, shape (rows, cols)
        How much of each cell is valid.
    cell : int
        Side of a cell in tile pixels.
    """

    planes: Planes
    share: Plane
    cell: int

    def halve(self) -> Level:
        """Return the level with cells of twice the side."""
        pad = [(0, size % 2) for size in self.share.shape]
        share = np.pad(self.share, pad)
        total = _sum_fours(share)
        sums = _sum_fours(np.pad(self.planes, [(0, 0), *pad]) * share)
        return Level(sums / np.maximum(total, _TINY), total * np.float32(0.25), 2 * self.cell)

    def smooth(self, radius: float) -> Planes:
        """Return the planes averaged with a Gaussian of a radius in tile pixels."""
        return np.stack(list(blur(self.planes, self.share, radius / self.cell)))

    def pool(self, radius: float) -> Level:
        """Return the level averaged with a Gaussian, on cells of half its radius or more."""
        level = self
        while level.cell < radius / 2:
            level = level.halve()
        return replace(level, planes=level.smooth(max(radius, level.cell)))

    def spread(self, shape: tuple[int, int]) -> Planes:
        """Return the planes interpolated to cells of `STRIDE` pixels, of which `shape` is kept."""
        zoom = (1, self.cell / STRIDE, self.cell / STRIDE)
        finer: Planes = ndimage.zoom(self.planes, zoom, order=1, mode="nearest", grid_mode=True)
        return finer[:, : shape[0], : shape[1]]


def _sum_fours(planes: Planes) -> Planes:
    rows: Planes = planes[..., ::2, :] + planes[..., 1::2, :]
    sums: Planes = rows[..., ::2] + rows[..., 1::2]
    return sums


def _roughness(levels: Sequence[Level], radius: float, shape: tuple[int, int]) -> list[Plane]:
    """Return the mean log energy of the octaves, of lightness and of colour.

    The logarithm makes the contrast of a texture count as its ratio to others. Octaves go
    together up and down; their mean is steadier than any of them, and does not change when the
    same ground is seen with pixels of another size.
    """
    sums = [np.zeros(shape, np.float32), np.zeros(shape, np.float32)]
    for level in levels:
        squares = np.square(level.planes - level.smooth(level.cell))
        energies = np.stack([squares[0], squares[1] + squares[2]])
        pooled = replace(level, planes=energies).pool(radius)
        logs = replace(pooled, planes=np.log(pooled.planes + _NOISE)).spread(shape)
        for total, log in zip(sums, logs, strict=True):
            total += log / len(levels)
    return sums


def _direction(level: Level, radius: float, shape: tuple[int, int]) -> Plane:
    """Return how much edges run one way, from 0 to 1: rows and roofs do, trees do not."""
    (smooth,) = blur(level.planes[:1], level.share, 1)
    down, across = (ndimage.sobel(smooth, axis, mode="nearest") / 8 for axis in (0, 1))
    tensor = np.stack([down * down, across * across, down * across])
    pooled = replace(level, planes=tensor).pool(radius)
    rows, cols, mixed = pooled.planes
    strength = np.sqrt(np.square(rows - cols) + 4 * np.square(mixed))
    share = (strength / (rows + cols + 2 * _NOISE))[np.newaxis]
    plane: Plane = replace(pooled, planes=share).spread(shape)[0]
    return plane


def _gaussian(plane: Plane, sigma: float) -> Plane:
    smooth: Plane = ndimage.gaussian_filter(plane, sigma, mode="constant", truncate=_TRUNCATE)
    return smooth
