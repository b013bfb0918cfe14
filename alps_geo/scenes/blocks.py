"""Blocks that lossy compression leaves in colour: found by measuring, and smoothed away.

JPEG stores colour at half the resolution and in blocks of 8 x 8 samples, so that it steps at every
16th pixel (every 8th where colour has full resolution). Whatever goes by colour then ends on those
lines. What a file says of its compression tells little: mosaics are cut and stored anew. So the
steps themselves are measured, at any phase; lightness, whose blocks are weaker, is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .grid import Window

Planes = NDArray[np.floating[Any]]

#: Pixels between the lines on which colour steps, where it is stored at half the resolution.
PERIOD = 16
#: Steps on the lines over those beside them, from which on colour counts as blocky. JPEG of
#: quality 95 has 2 and more, images without blocks have 1.1 and less.
CONTRAST = 1.5
#: What smoothing takes into account: no pixel farther than this matters.
MARGIN = 12
_SIGMA = 2.0  # pixels, for blocks of 16
_BESIDE = 3  # pixels to either side of a line; with fewer, new steps come where smoothing ends
_EDGE = 7.0  # of 256 levels; a standard deviation of lightness that colour follows
_LIGHTNESS = (0.299, 0.587, 0.114)
_MIN_LINES = 12  # of one phase; fewer can step by chance
_MIN_LENGTH = 32  # pixels of a line


def known_pixels(
    pixels: NDArray[Any], valid: NDArray[np.bool_], nodata: Sequence[float | None]
) -> NDArray[np.bool_]:
    """Return where pixels are valid and no band holds its nodata value.

    Parameters
    ----------
    pixels : ndarray, shape (3, height, width)
    valid : ndarray of bool, shape (height, width)
        True where one band has data.
    nodata : sequence of three (float or None)

    Returns
    -------
    ndarray of bool, shape (height, width)
    """
    known: NDArray[np.bool_] = valid.copy()
    for band, value in zip(pixels, nodata, strict=True):
        if value is not None and not np.isnan(value):
            with np.errstate(over="ignore"):  # a nodata value may be out of the band's range
                known &= np.asarray(band != value)
    return known


@dataclass(frozen=True)
class Blocks:
    """Where the colour of a raster steps.

    Attributes
    ----------
    height, width : int
        Of a block, in the raster's pixels: 8 or 16.
    row, col : int
        The first row and the first column that begin a block.
    contrast : float
        Steps on the lines between blocks over those beside them, of rows or columns, whichever is
        less.
    """

    height: int
    width: int
    row: int
    col: int
    contrast: float

    def beside_lines(self, window: Window) -> NDArray[np.bool_]:
        """Return which pixels of a window lie within `_BESIDE` of a line, shape (height, width)."""
        down = (np.arange(window.row, window.row_stop) - self.row + _BESIDE) % self.height
        across = (np.arange(window.col, window.col_stop) - self.col + _BESIDE) % self.width
        beside: NDArray[np.bool_] = (down[:, np.newaxis] < 2 * _BESIDE) | (across < 2 * _BESIDE)
        return beside

    def __str__(self) -> str:
        """Return what a person wants to know."""
        return f"blocks of {self.width} x {self.height} pixels in its colour"

    def to_dict(self) -> dict[str, float]:
        """Return plain values for JSON."""
        size = {"height": self.height, "width": self.width}
        return {**size, "row": self.row, "col": self.col, "contrast": round(self.contrast, 2)}


@dataclass
class BlockGauge:
    """Looks for blocks in windows of a raster, one after the other."""

    _rows: list[list[float]] = field(default_factory=lambda: [[] for _ in range(PERIOD)])
    _cols: list[list[float]] = field(default_factory=lambda: [[] for _ in range(PERIOD)])

    def add(self, pixels: NDArray[Any], known: NDArray[np.bool_], window: Window) -> None:
        """Look at a window.

        Parameters
        ----------
        pixels : ndarray, shape (3, height, width)
            Red, green and blue.
        known : ndarray of bool, shape (height, width)
            Pixels that hold data.
        window : Window
            Where they are in the raster.
        """
        light, colours = _split(pixels, known)
        for lines, start, axis in ((self._rows, window.row, 0), (self._cols, window.col, 1)):
            seen = np.moveaxis(known, axis, 0)
            steps = _relative_steps(np.moveaxis(colours, 1 + axis, 1), seen)
            # Edges of things step in lightness too, those of blocks of colour hardly do.
            usual = _relative_steps(np.moveaxis(light, axis, 0)[np.newaxis], seen)
            steps = np.divide(steps, usual, out=np.full(len(steps), np.nan), where=usual > 0)
            for line in np.flatnonzero(np.isfinite(steps)):
                lines[(start + line) % PERIOD].append(float(steps[line]))

    def measure(self) -> Blocks | None:
        """Return the blocks of all windows together, None where there are none."""
        found = [_find_lines(lines) for lines in (self._rows, self._cols)]
        if found[0] is None or found[1] is None:
            return None
        (height, row, down), (width, col, across) = found[0], found[1]
        return Blocks(height, width, row, col, min(down, across))


def smooth_colour(
    pixels: NDArray[Any],
    known: NDArray[np.bool_],
    blocks: Blocks,
    window: Window,
    scale: float = 1.0,
) -> NDArray[np.floating[Any]]:
    """Smooth colour beside the lines between blocks, along edges of lightness, which stays.

    Parameters
    ----------
    pixels : ndarray, shape (3, height, width)
        Red, green and blue.
    known : ndarray of bool, shape (height, width)
        The others count for nothing, and stay as they are.
    blocks : Blocks
        Of the raster.
    window : Window
        Where the pixels are in it.
    scale : float
        What one of 256 levels of brightness is in the pixels' numbers.

    Returns
    -------
    ndarray of float, shape (3, height, width)
        Values depend on pixels within `MARGIN` only, and not on what else is given.
    """
    light, colours = _split(pixels, known)
    size = max(blocks.height, blocks.width)
    area = _Area(known.astype(light.dtype), _SIGMA * size / PERIOD)
    blueness, redness = area.follow(light, colours, _EDGE * scale)
    blue, red = light + blueness, light + redness
    green = (light - _LIGHTNESS[0] * red - _LIGHTNESS[2] * blue) / _LIGHTNESS[1]
    return np.where(known & blocks.beside_lines(window), np.stack([red, green, blue]), pixels)


class _Area:
    """Means of known pixels around each pixel.

    Parameters
    ----------
    share : ndarray of float, shape (height, width)
        1 where known, else 0.
    sigma : float
        Of a Gaussian, in pixels.
    """

    def __init__(self, share: Planes, sigma: float) -> None:
        self.share, self.sigma = share, sigma
        self.total = np.maximum(self._blur(share), np.finfo(share.dtype).tiny)

    def mean(self, plane: Planes) -> Planes:
        """Return the mean around each pixel."""
        mean: Planes = self._blur(plane * self.share) / self.total
        return mean

    def follow(self, guide: Planes, planes: Planes, edge: float) -> list[Planes]:
        """Return planes as linear functions of a guide, fitted around each pixel.

        That is the guided filter (He, Sun, Tang 2010): it smooths what the guide does not show,
        and keeps edges that both have. Steps of the guide below `edge` are taken for noise.
        """
        light = self.mean(guide)
        spread = np.maximum(self.mean(np.square(guide)) - np.square(light), 0) + edge**2
        found: list[Planes] = []
        for plane in planes:
            usual = self.mean(plane)
            slope = (self.mean(guide * plane) - light * usual) / spread
            found.append(self.mean(slope) * guide + self.mean(usual - slope * light))
        return found

    def _blur(self, plane: Planes) -> Planes:
        smooth: Planes = ndimage.gaussian_filter(
            plane, self.sigma, mode="constant", radius=MARGIN // 2
        )
        return smooth


def _split(pixels: NDArray[Any], known: NDArray[np.bool_]) -> tuple[Planes, Planes]:
    """Return lightness, and how blue and how red pixels are beside it; 0 where not known."""
    # 24 bits of mantissa are enough for squares of 8-bit integers, at half the memory.
    number = np.float32 if pixels.dtype == np.uint8 else np.float64
    bands = np.where(known, pixels, 0).astype(number)
    red, green, blue = _LIGHTNESS
    light = red * bands[0] + green * bands[1] + blue * bands[2]
    return light, np.stack([bands[2] - light, bands[0] - light])


def _relative_steps(planes: Planes, known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the steps from each row to the next, over those of two rows on either side.

    Returns
    -------
    ndarray of float64, shape (height,)
        For the first pixel after each line; NaN where not enough pixels are known.
    """
    both = known[1:] & known[:-1]
    length = both.sum(axis=1)
    differences = np.where(both, np.abs(np.diff(planes, axis=1)).sum(axis=0), 0)
    sums = differences.sum(axis=1, dtype=np.float64)
    steps = np.full(len(known) + 4, np.nan)
    steps[3:-2] = np.where(length >= _MIN_LENGTH, sums / np.maximum(length, 1), np.nan)
    middle = steps[2:-2]
    beside = (steps[:-4] + steps[1:-3] + steps[3:-1] + steps[4:]) / 4
    relative: NDArray[np.float64] = np.divide(
        middle, beside, out=np.full(len(known), np.nan), where=beside > 0
    )
    return relative


def _find_lines(lines: Iterable[list[float]]) -> tuple[int, int, float] | None:
    """Return size, phase and contrast of blocks along one axis, None where there are none."""
    phases = [np.median(each) if len(each) >= _MIN_LINES else np.nan for each in lines]
    medians = np.array(phases)
    if np.isnan(medians).any():
        return None
    half = PERIOD // 2
    phase = int(medians.argmax())
    # Pixels that were doubled step on every other line: compared are lines of the same parity.
    others = [(phase + step) % PERIOD for step in range(2, PERIOD, 2) if step != half]
    usual = np.median(medians[others])
    if not medians[phase] > CONTRAST * usual:
        return None
    opposite = (phase + half) % PERIOD
    if medians[opposite] > CONTRAST * usual:
        pair = (medians[phase] + medians[opposite]) / 2
        return half, min(phase, opposite), float(pair / usual)
    return PERIOD, phase, float(medians[phase] / usual)
